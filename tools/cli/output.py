"""The output of commands: tables for people, JSON for programs."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from rich.console import Console

NOTHING = "-"
_CENTS = "_cents"
# Wide enough for every row, where no terminal limits the width.
_PIPE_WIDTH = 2000
_SECONDS_DECIMALS = 1


def console(file: IO[str] | None = None) -> "Console":
    """Return a console that never truncates its output, on a terminal or in a pipe."""
    from rich.console import Console

    target = file or sys.stdout
    return Console(file=target, width=None if target.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=False)


@contextmanager
def logs_on_stderr() -> Iterator[None]:
    """Send the logs of the services' code in this process to standard error, away from the output of the command."""
    import logging

    import structlog

    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def to_json(value: Any) -> Any:
    """Convert messages, wherever they are in a value, into JSON values with the contract's field names."""
    if isinstance(value, Message):
        return MessageToDict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def print_progress(text: str) -> None:
    """Print a line with the time of day to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON document: an object or a list."""
    print(json.dumps(to_json(value), indent=2, ensure_ascii=False))


def print_messages(messages: Sequence[Message], fields: Sequence[str], *, as_json: bool, nothing: str) -> None:
    """Print messages of one type.

    Args:
        messages: The messages.
        fields: The fields that become columns; JSON has all fields.
        as_json: Whether to print a list of objects instead of a table.
        nothing: The text for people if the list is empty.
    """
    if as_json:
        print_json(list(messages))
    elif messages:
        titles = [_column(messages[0], field) for field in fields]
        print_table(titles, [[cell(each, name) for name in fields] for each in messages])
    else:
        print(nothing)


def print_message(message: Message, *, as_json: bool) -> None:
    """Print one message: all its fields, one per line, or an object."""
    if as_json:
        print_json(message)
    else:
        print_pairs({_column(message, field.name): cell(message, field.name) for field in message.DESCRIPTOR.fields})


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; long values wrap."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text(printable(value)) for value in row))
    console().print(table)


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Print names and values, one pair per line, without values that are not set."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        if value != NOTHING:
            table.add_row(name, Text(printable(value)))
    console().print(table)


def printable(text: str) -> str:
    """Escape control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def cell(message: Message, name: str) -> str:
    """Format the value of a field.

    Args:
        message: Any message of the contract.
        name: The field.
    """
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.has_presence and not message.HasField(name):
        return NOTHING
    value = getattr(message, name)
    if field.is_repeated:
        return _map(value) if isinstance(value, Mapping) else ", ".join(map(str, value)) or NOTHING
    if _is_money(message, name):
        return _money(value, message.currency)  # type: ignore[attr-defined]
    if field.enum_type is not None:
        return _enum_name(field.enum_type.values_by_number, value)
    if field.message_type is not None:
        return _shown_message(value)
    return _SHOWN.get(field.type, str)(value) or NOTHING


def _enum_name(names: Mapping[int, Any], number: int) -> str:
    """Return the name of an enum's value without the prefix of the enum's name; an unknown number stays a number."""
    if number not in names:
        return str(number)
    # The zero value of every enum is this prefix and UNSPECIFIED.
    prefix = names[0].name.removesuffix("UNSPECIFIED")
    return str(names[number].name.removeprefix(prefix))


def _shown_message(value: Message) -> str:
    if isinstance(value, Timestamp):
        return value.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, Duration):
        return f"{round(value.ToNanoseconds() / 1e9, _SECONDS_DECIMALS):g} s"
    set_fields = [field.name for field, _ in value.ListFields()]
    return ", ".join(f"{_title(name)}: {cell(value, name)}" for name in set_fields) or NOTHING


def _map(value: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value[key]}" for key in sorted(value)) or NOTHING


def _is_money(message: Message, name: str) -> bool:
    """Return whether a field is an amount in the currency that its message names."""
    return name.endswith(_CENTS) and "currency" in message.DESCRIPTOR.fields_by_name


def _money(cents: int, currency: str) -> str:
    # A slow import, needed only for amounts.
    from services.kit.currencies import money

    return money(cents, currency)


def _column(message: Message, field: str) -> str:
    return _title(field.removesuffix(_CENTS) if _is_money(message, field) else field)


def _title(field: str) -> str:
    return field.replace("_", " ")


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


_SHOWN: dict[int, Callable[[Any], str]] = {
    FieldDescriptor.TYPE_BOOL: _yes_or_no,
    FieldDescriptor.TYPE_DOUBLE: lambda value: f"{value:.1f}",
}
