"""Tables and pairs for people."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from tools.cli.output.cells import NOTHING, STYLES, cell, printable, title
from tools.cli.output.columns import GAP, Column, fitted
from tools.cli.output.documents import print_json
from tools.cli.output.terminal import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def print_columns(messages: Sequence[Any], columns: Sequence[Column], *, fit: bool) -> None:
    """Print a table, a line per message.

    Args:
        messages: The messages, at least one.
        columns: The columns.
        fit: Whether to leave out and cut columns so that lines fit into the terminal, with times relative to now. A
            pipe always has all of them, and absolute times.
    """
    on = console()
    for line in table_lines(messages, columns, on, fit=fit and sys.stdout.isatty()):
        on.print(line, no_wrap=True, overflow="ignore", crop=False)


def table_lines(messages: Sequence[Any], columns: Sequence[Column], on: "Console", *, fit: bool) -> "list[Text]":
    """Return the lines of a table: titles, a rule, and a line per message; `fit` as in `print_columns`."""
    from rich.cells import cell_len
    from rich.text import Text

    now = datetime.now(UTC) if fit else None
    rows = [[_one_line(column.show(message, now)) for column in columns] for message in messages]
    widths = [
        max(map(cell_len, [column.title_for(now), *texts]))
        for column, texts in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    if fit:
        # A column that is empty in every row says nothing.
        empty = [column.priority > 0 and all(row[at] == NOTHING for row in rows) for at, column in enumerate(columns)]
        some = [at for at in range(len(columns)) if not empty[at]]
        found = fitted([columns[at] for at in some], [widths[at] for at in some], on.width)
        widths = [0] * len(columns)
        for at, width in zip(some, found, strict=True):
            widths[at] = width
    kept = [(column, width, at) for at, (column, width) in enumerate(zip(columns, widths, strict=True)) if width]
    lines = [_line([(Text(column.title_for(now), "bold"), width, column.right) for column, width, _ in kept])]
    lines.append(Text("─" * (sum(width for _, width, _ in kept) + GAP * (len(kept) - 1))))
    for row in rows:
        cells = [(Text(row[at], STYLES.get(row[at], "")), width, column.right) for column, width, at in kept]
        lines.append(_line(cells))
    return lines


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; long values wrap."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text(printable(value), STYLES.get(value, "")) for value in row))
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
            table.add_row(name, Text(printable(value), STYLES.get(value, "")))
    console().print(table)


def pairs_of(message: Message) -> dict[str, str]:
    """Return the names and values of all fields of a message; on a terminal a time says how long ago it is as well."""
    now = datetime.now(UTC) if sys.stdout.isatty() else None
    return {
        title(message.DESCRIPTOR, each.name): _with_age(message, each.name, now) for each in message.DESCRIPTOR.fields
    }


def print_messages(messages: Sequence[Message], fields: Sequence[str], *, as_json: bool, nothing: str) -> None:
    """Print messages of one type as a table of fields, or as JSON."""
    if as_json:
        print_json(list(messages))
    elif messages:
        titles = [title(messages[0].DESCRIPTOR, name) for name in fields]
        print_table(titles, [[cell(each, name) for name in fields] for each in messages])
    else:
        print(nothing)


def print_message(message: Message, *, as_json: bool) -> None:
    """Print one message: all its fields, one per line, or an object."""
    if as_json:
        print_json(message)
    else:
        print_pairs(pairs_of(message))


def _with_age(message: Message, name: str, now: datetime | None) -> str:
    absolute = cell(message, name)
    relative = cell(message, name, now)
    return absolute if relative == absolute else f"{absolute} ({relative})"


def _one_line(text: str) -> str:
    return printable(text).replace("\n", " ")


def _line(cells: "Sequence[tuple[Text, int, bool]]") -> "Text":
    from rich.text import Text

    line = Text()
    for at, (text, width, right) in enumerate(cells):
        text.truncate(width, overflow="ellipsis")
        padding = " " * (width - text.cell_len)
        line.append(" " * GAP * (at > 0))
        if right:
            line.append(padding)
        line.append_text(text)
        if not right and at < len(cells) - 1:
            line.append(padding)
    return line
