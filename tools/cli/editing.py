"""Edit a resource as YAML in the user's editor, until it is accepted or given up."""

import os
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Generic, TypeAlias, TypeVar

from cyclopts import Parameter
from google.protobuf.message import Message

from tools.cli.interrupts import left_to_the_child
from tools.cli.updates import copied
from tools.errors import CommandError

if TYPE_CHECKING:
    import grpc

M = TypeVar("M", bound=Message)
Value: TypeAlias = str | bool | float
KeptText: TypeAlias = Annotated[
    Path | None,
    Parameter(name="--from", show_default=False, help="A file with a text that an earlier edit has kept."),
]
_ERROR_MARK: Final = "#! "
_WIDTH: Final = 78
_HEADER: Final = (
    "Change values, save and close the editor to apply the changes; close it without a change to apply none.",
    "A value whose line is removed stays as it is.",
)


@dataclass(frozen=True)
class EditedField(Generic[M]):
    """A field of a resource, as a line of YAML.

    Attributes:
        name: The key.
        comment: An explanation, printed above the line.
        show: Returns the value of a resource.
        write: Sets the value of a resource from the typed text, and raises ValueError for a wrong one.
    """

    name: str
    comment: str
    show: Callable[[M], Value]
    write: Callable[[M, str], None]


class InvalidDocument(ValueError):
    """A text can't be read as the fields of a resource; the message says where and why."""


async def edit(
    title: str,
    resource: M,
    fields: Sequence[EditedField[M]],
    send: Callable[[M], Awaitable[M | None]],
    *,
    instead: str,
    command: str,
    kept: Path | None = None,
) -> M | None:
    """Open a resource in the user's editor, and send it as it was edited.

    A value that is refused, here or by the service, opens the editor again with the reasons at the top.

    A text that was kept from an earlier edit is opened with what it would change now, and sent even without a further
    change.

    Args:
        title: A comment that names the resource.
        resource: Its present state.
        fields: The fields to edit.
        send: Applies the edited resource, and returns its new state, or None without a difference.
        instead: The command to name where there is no terminal.
        command: This command without `--from`, which continues with a text that is kept.
        kept: The file with such a text.

    Returns:
        The new state, or None if nothing was changed.

    Raises:
        CommandError: There is no terminal or no editor, or the user gave up, as by emptying the file; names the file
            with the text.
    """
    import grpc

    if not sys.stdin.isatty():
        raise CommandError(f"an editor needs a terminal; without one: {instead}")
    original = _document(title, resource, fields)
    problem = ""
    before = read_yaml(original, fields)
    begun = _read(kept) if kept else original
    # A kept text is sent as it is.
    shown = None if kept else original
    with _kept_on_errors(begun, command) as file:
        if kept:
            file.write_text(_errors(_differing(begun, before, fields)) + begun, encoding="utf-8")
        while True:
            _open_editor(file)
            text = _without_errors(file.read_text(encoding="utf-8"))
            if not text.strip():
                raise CommandError("cancelled, nothing was changed: the file was empty")
            if text == shown:
                if not problem:
                    return None
                raise CommandError(f"nothing was changed: {problem}")
            try:
                wanted = _wanted(resource, fields, before, read_yaml(text, fields))
                return await send(wanted)
            except ValueError as error:
                problem = str(error)
            except grpc.RpcError as error:
                problem = _refusal(error)
            shown = text
            file.write_text(_errors(problem) + text, encoding="utf-8")


def read_yaml(text: str, fields: Sequence[EditedField[M]]) -> dict[str, str]:
    """Read the typed texts of fields; null is an empty text.

    Args:
        text: YAML.
        fields: The fields that it may have.

    Raises:
        InvalidDocument: The text is no YAML, or has other fields, or one twice; the message names the line.
    """
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InvalidDocument(f"{line}not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InvalidDocument(f"not YAML: {error}") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise InvalidDocument("line 1: `name: value` is expected")
    known = [field.name for field in fields]
    found: dict[str, str] = {}
    for key, node in root.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name not in known:
            raise InvalidDocument(f"line {line}: unknown field {name!r}: {_nearest(name, known)}")
        if name in found:
            raise InvalidDocument(f"line {line}: {name!r} occurs twice")
        if not isinstance(node, yaml.ScalarNode):
            raise InvalidDocument(f"line {line}: {name!r} must be one value, in quotes or indented below `{name}: |`")
        found[name] = "" if node.tag.endswith(":null") else str(node.value)
    return found


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def _wanted(resource: M, fields: Sequence[EditedField[M]], before: Mapping[str, str], after: Mapping[str, str]) -> M:
    wanted, problems = copied(resource), []
    for field in fields:
        if (typed := after.get(field.name)) is None or typed == before[field.name]:
            continue
        try:
            field.write(wanted, typed)
        except ValueError as error:
            problems.append(f"{field.name}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
    return wanted


def _document(title: str, resource: M, fields: Sequence[EditedField[M]]) -> str:
    head = "".join(_comment(line) for line in (title, *_HEADER))
    return head + "".join(f"\n{_comment(each.comment)}{_line(each.name, each.show(resource))}" for each in fields)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH - 2))


def _line(name: str, value: Value) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as they are."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return str(yaml.dump({name: value}, Dumper=Dumper, allow_unicode=True, width=10_000))


def _read(kept: Path) -> str:
    try:
        return _without_errors(kept.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CommandError(f"--from: {kept} can't be read: {reason}") from None


def _differing(text: str, before: Mapping[str, str], fields: Sequence[EditedField[M]]) -> str:
    """Say what a kept text would change: others may have changed the resource since it was kept."""
    try:
        after = read_yaml(text, fields)
    except InvalidDocument as error:
        return str(error)
    changes = [f"{name}, which is now: {before[name] or '(empty)'}" for name in after if after[name] != before[name]]
    return "\n".join(["This would change", *changes]) if changes else "This would change nothing."


def _errors(problem: str) -> str:
    lines = [part for line in problem.splitlines() for part in textwrap.wrap(line, _WIDTH - len(_ERROR_MARK))]
    return "".join(f"{_ERROR_MARK}{line}\n" for line in lines)


def _without_errors(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(_ERROR_MARK))


def _refusal(error: "grpc.RpcError") -> str:
    """Return why the service refuses the values; other errors are raised again."""
    from innosystem.client import REFUSAL_CODES, error_from

    known = error_from(error)
    if known is None or known.code not in REFUSAL_CODES:
        raise error
    return str(known)


@contextmanager
def _kept_on_errors(text: str, command: str) -> Iterator[Path]:
    """Yield a file with a text. It is removed at the end, but kept and named after an error: it has the user's work.

    Args:
        text: The text.
        command: The command that continues with the file, without `--from`.
    """
    handle, name = tempfile.mkstemp(prefix="innosystem-", suffix=".yaml")
    file = Path(name)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)
    try:
        yield file
    except BaseException:
        now = _without_errors(file.read_text(encoding="utf-8"))
        if now == text or not now.strip():
            file.unlink()
        else:
            sys.stderr.write(f"Your text is in {file}: `{command} --from {shlex.quote(name)}` continues with it\n")
        raise
    file.unlink()


def _open_editor(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        with left_to_the_child():
            status = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
    except OSError as error:
        raise CommandError(f"the editor {editor!r} can't be started ({error.strerror}): set EDITOR") from None
    if status:
        raise CommandError(f"the editor {editor!r} ended with status {status}: nothing was changed")
