"""Write the source text of `.proto` files from their compiled descriptors, with the comments that those carry.

protoc compiles the text into the same descriptor again, which a test compares.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

_INDENT = "  "
_LABELS = {
    FieldDescriptorProto.LABEL_OPTIONAL: "optional ",
    FieldDescriptorProto.LABEL_REQUIRED: "required ",
    FieldDescriptorProto.LABEL_REPEATED: "repeated ",
}
_EXTENSIONS_MAX = 2**29


def proto_text(files: FileDescriptorSet, name: str) -> str:
    """Return the source text of a file.

    Args:
        files: The compiled file and all that it imports; with source locations, if the text is to have comments.
        name: The file's name, such as `innosystem/jobs/v1/job.proto`.

    Raises:
        KeyError: If there is no such file.
    """
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    # Of this pool's own class, so that options which these files declare are known, and not bytes of unknown fields.
    known = message_factory.GetMessageClass(pool.FindMessageTypeByName(FileDescriptorSet.DESCRIPTOR.full_name))
    parsed: Any = known.FromString(files.SerializeToString())
    by_name = {file.name: file for file in parsed.file}
    return "\n".join(_File(by_name[name]).lines()) + "\n"


class _File:
    """The text of one file. Paths are those of `SourceCodeInfo.Location`: numbers of fields, and positions in them."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._proto3 = file.syntax == "proto3"
        self._places = {tuple(place.path): place for place in file.source_code_info.location}

    def lines(self) -> Iterator[str]:
        file = self._file
        yield from self._comment(12)
        yield f'syntax = "{file.syntax or "proto2"}";'
        yield ""
        yield from self._comment(2)
        yield f"package {file.package};"
        yield ""
        yield from (f'import "{name}";' for name in file.dependency)
        if file.dependency:
            yield ""
        yield from (f"option {option};" for option in _options(file.options))
        extensions: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        for index, field in enumerate(file.extension):
            extensions[field.extendee].append((index, field))
        for extendee, fields in extensions.items():
            body = [line for index, field in fields for line in self._field(field, (7, index))]
            yield ""
            yield from self._block(f"extend {self._type(extendee)}", body)
        blocks: tuple[tuple[Sequence[Any], int, Callable[[Any, tuple[int, ...]], Iterable[str]]], ...] = (
            (file.service, 6, self._service),
            (file.message_type, 4, self._message),
            (file.enum_type, 5, self._enum),
        )
        for items, number, write in blocks:
            for index, item in enumerate(items):
                yield ""
                yield from write(item, (number, index))

    def _comment(self, *path: int) -> Iterator[str]:
        place = self._places.get(path)
        if place is None:
            return
        for detached in place.leading_detached_comments:
            yield from (f"//{line}" for line in detached.splitlines())
            yield ""
        # The few comments behind a line move above it.
        for comment in (place.leading_comments, place.trailing_comments):
            yield from (f"//{line}" for line in comment.splitlines())

    def _block(self, head: str, body: Iterable[str]) -> Iterator[str]:
        lines = list(body)
        yield f"{head} {{" if lines else f"{head} {{}}"
        if lines:
            yield from (f"{_INDENT}{line}" if line else "" for line in lines)
            yield "}"

    def _type(self, name: str) -> str:
        return name.removeprefix(f".{self._file.package}.").removeprefix(".")

    def _service(self, service: Any, path: tuple[int, ...]) -> Iterator[str]:
        yield from self._comment(*path)
        body = [f"option {option};" for option in _options(service.options)]
        for index, method in enumerate(service.method):
            body += self._comment(*path, 2, index)
            takes, gives = (
                ("stream " if streams else "") + self._type(name)
                for streams, name in (
                    (method.client_streaming, method.input_type),
                    (method.server_streaming, method.output_type),
                )
            )
            options = "\n".join(f"option {option};" for option in _options(method.options)).splitlines()
            body += self._block(f"rpc {method.name}({takes}) returns ({gives})", options)
        yield from self._block(f"service {service.name}", body)

    def _message(self, message: Any, path: tuple[int, ...]) -> Iterator[str]:
        yield from self._comment(*path)
        yield from self._block(f"message {message.name}", self._members(message, path))

    def _members(self, message: Any, path: tuple[int, ...]) -> Iterator[str]:
        yield from (f"option {option};" for option in _options(message.options))
        maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
        for index, nested in enumerate(message.nested_type):
            if nested.name not in maps:
                yield from self._message(nested, (*path, 3, index))
        for index, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*path, 4, index))
        for oneof, fields in groupby(enumerate(message.field), lambda item: _oneof(item[1])):
            body = [line for index, field in fields for line in self._field(field, (*path, 2, index), maps)]
            if oneof is None:
                yield from body
            else:
                declared = message.oneof_decl[oneof]
                yield from self._comment(*path, 8, oneof)
                options = [f"option {option};" for option in _options(declared.options)]
                yield from self._block(f"oneof {declared.name}", options + body)
        for index, field in enumerate(message.extension):
            body = list(self._field(field, (*path, 6, index)))
            yield from self._block(f"extend {self._type(field.extendee)}", body)
        for numbers in message.extension_range:
            yield f"extensions {_range(numbers.start, numbers.end)};"
        yield from _reserved((_range(one.start, one.end) for one in message.reserved_range), message.reserved_name)

    def _field(self, field: Any, path: tuple[int, ...], maps: dict[str, Any] | None = None) -> Iterator[str]:
        yield from self._comment(*path)
        entry = (maps or {}).get(field.type_name.rpartition(".")[2])
        if entry is not None:
            label, kind = "", f"map<{self._kind(entry.field[0])}, {self._kind(entry.field[1])}>"
        else:
            bare = _oneof(field) is not None or (
                self._proto3 and field.label == FieldDescriptorProto.LABEL_OPTIONAL and not field.proto3_optional
            )
            label, kind = "" if bare else _LABELS[field.label], self._kind(field)
        options = list(_options(field.options))
        if field.HasField("default_value"):
            quoted = field.type == FieldDescriptorProto.TYPE_STRING
            options.insert(0, f"default = {_quoted(field.default_value) if quoted else field.default_value}")
        suffix = f" [{', '.join(options)}]" if options else ""
        yield from f"{label}{kind} {field.name} = {field.number}{suffix};".splitlines()

    def _kind(self, field: Any) -> str:
        if field.type == FieldDescriptorProto.TYPE_GROUP:
            raise NotImplementedError(f"{field.name} is a group")
        return self._type(field.type_name) or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()

    def _enum(self, enum: Any, path: tuple[int, ...]) -> Iterator[str]:
        yield from self._comment(*path)
        body = [f"option {option};" for option in _options(enum.options)]
        for index, value in enumerate(enum.value):
            body += self._comment(*path, 2, index)
            options = list(_options(value.options))
            suffix = f" [{', '.join(options)}]" if options else ""
            body += f"{value.name} = {value.number}{suffix};".splitlines()
        # Both ends of an enum's range are part of it.
        body += _reserved((_range(one.start, one.end + 1) for one in enum.reserved_range), enum.reserved_name)
        yield from self._block(f"enum {enum.name}", body)


def _oneof(field: Any) -> int | None:
    """Return the position of the field's oneof, unless that only stands for `optional`."""
    return field.oneof_index if field.HasField("oneof_index") and not field.proto3_optional else None


def _range(start: int, end: int) -> str:
    if end - start == 1:
        return str(start)
    return f"{start} to {'max' if end == _EXTENSIONS_MAX else end - 1}"


def _reserved(ranges: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    for items in (list(ranges), [_quoted(name) for name in names]):
        if items:
            yield f"reserved {', '.join(items)};"


def _options(options: Any) -> Iterator[str]:
    for field, value in options.ListFields():
        if field.name == "map_entry":
            continue
        name = f"({field.full_name})" if field.is_extension else field.name
        for one in value if field.is_repeated else [value]:
            yield f"{name} = {_value(field, one)}"


def _value(field: Any, value: Any) -> str:
    if field.message_type is not None:
        inner = text_format.MessageToString(value, as_utf8=True)
        return "{\n" + "".join(f"{_INDENT}{line}\n" for line in inner.splitlines()) + "}"
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
