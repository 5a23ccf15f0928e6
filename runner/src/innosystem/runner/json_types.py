"""Read a handler's input and write its output as its annotations say: dataclasses, models, typed dicts and so on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final, Literal, Never, NoReturn, TypeAlias, get_args

from innosystem.runner.errors import HandlerRegistrationError, JobError
from innosystem.runner.outcome import Failed, Succeeded, parse_input, succeeded

Schema: TypeAlias = dict[str, Any]
Direction: TypeAlias = Literal["input", "output"]

_FAULTS_SHOWN: Final = 5
# Parsed JSON is passed on as it is: no other check is worth a cost in each job.
_ANY_JSON: Final = (
    Parameter.empty,
    Any,
    object,
    dict,
    dict[str, Any],
    dict[str, object],
    Mapping[str, Any],
    Mapping[str, object],
    Never,
    NoReturn,
)


@dataclass(frozen=True, slots=True)
class JsonType:
    """How the values of an annotation are read and written.

    Attributes:
        decode: Converts the JSON of a job's input. Raises a JobError that is not retryable if it does not fit.
        encode: Converts a return value to the outcome of the run. Raises the same.
        schema: Returns the JSON Schema of inputs or outputs; None if any JSON fits.
        name: The name of the type, for people; empty if any JSON fits.
    """

    decode: Callable[[str], Any]
    encode: Callable[[Any], Succeeded | Failed]
    schema: Callable[[Direction], Schema | None]
    name: str = ""


ANY_JSON: Final = JsonType(parse_input, succeeded, lambda _: None)
"""The type of handlers without annotations, or with `dict` or `Any`."""


def json_type(annotation: Any, *, of: str) -> JsonType:
    """Return how values of an annotation are read and written.

    Args:
        annotation: The annotation of a parameter or a return value.
        of: What has the annotation, for the message of an error.

    Raises:
        HandlerRegistrationError: The annotation is no type that JSON can be converted to.
    """
    if annotation in _ANY_JSON:
        return ANY_JSON
    try:
        return _of_msgspec(annotation) if _has_struct(annotation) else _of_pydantic(annotation)
    except Exception as exc:
        # pydantic and msgspec raise errors of several kinds, and authors' types any.
        why = next(iter(str(exc).splitlines()), type(exc).__name__)
        raise HandlerRegistrationError(
            f"{of} is annotated with {annotation!r}, which JSON cannot be converted to and from: {why}"
        ) from exc


def _of_pydantic(annotation: Any) -> JsonType:
    # Imported only here: handlers without types start without it.
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import PydanticSerializationError

    adapter = TypeAdapter[Any](annotation)
    validate_json, validate, dump = adapter.validate_json, adapter.validate_python, adapter.dump_python

    def decode(input_json: str) -> Any:
        try:
            return validate_json(input_json or "null")
        except ValidationError as exc:
            raise _invalid("INVALID_INPUT", "input", _faults(exc)) from exc

    def encode(value: Any) -> Succeeded | Failed:
        try:
            # Strict: what is returned was made by the author, and should be what the annotation says.
            output = dump(validate(value, strict=True), mode="json", by_alias=True, warnings="error")
        except ValidationError as exc:
            raise _invalid("INVALID_OUTPUT", "handler's return value", _faults(exc)) from exc
        except PydanticSerializationError as exc:
            raise _invalid("INVALID_OUTPUT", "handler's return value", str(exc)) from exc
        return succeeded(output)

    def schema(direction: Direction) -> Schema:
        return adapter.json_schema(mode="validation" if direction == "input" else "serialization")

    return JsonType(decode, encode, schema, _name(annotation))


def _of_msgspec(annotation: Any) -> JsonType:
    # An optional library, which a module that defines a Struct has imported already.
    import msgspec

    decoder = msgspec.json.Decoder[Any](annotation)

    def decode(input_json: str) -> Any:
        try:
            return decoder.decode(input_json or "null")
        except msgspec.DecodeError as exc:
            raise _invalid("INVALID_INPUT", "input", str(exc)) from exc

    def encode(value: Any) -> Succeeded | Failed:
        output = msgspec.to_builtins(value)
        try:
            msgspec.convert(output, annotation)
        except msgspec.ValidationError as exc:
            raise _invalid("INVALID_OUTPUT", "handler's return value", str(exc)) from exc
        return succeeded(output)

    return JsonType(decode, encode, lambda _: msgspec.json.schema(annotation), _name(annotation))


def _name(annotation: Any) -> str:
    is_plain = isinstance(annotation, type) and not get_args(annotation)
    return annotation.__qualname__ if is_plain else str(annotation).replace("typing.", "")


def _has_struct(annotation: Any) -> bool:
    """Return whether an annotation is, or contains, a Struct of msgspec."""
    return hasattr(annotation, "__struct_fields__") or any(_has_struct(inner) for inner in get_args(annotation))


def _invalid(type: str, what: str, faults: str) -> JobError:
    return JobError(f"The {what} does not fit: {faults}", type=type, retryable=False)


def _faults(exc: Any) -> str:
    """Return paths and reasons of a pydantic ValidationError, without the values, which may be confidential."""
    faults = exc.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{_path(fault['loc'])}{fault['msg']}" for fault in faults[:_FAULTS_SHOWN]]
    more = len(faults) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _path(parts: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return f"{path.removeprefix('.')}: " if path else ""
