"""Tables and pairs for people."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from tools.cli.output.cells import NOTHING, STYLES, cell, printable, title
from tools.cli.output.columns import GAP, Column, fitted
from tools.cli.output.starts import starts
from tools.cli.output.terminal import console

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


_LINES_OF_TITLES: Final = 2


def print_columns(messages: Sequence[Any], columns: Sequence[Column], *, fit: bool, titles: bool = True) -> None:
    """Print a table, a line per message.

    Args:
        messages: The messages, at least one.
        columns: The columns.
        fit: Whether to leave out and cut columns so that lines fit into the terminal, with times relative to now. A
            pipe always has all of them, and absolute times.
        titles: Whether to print the titles.
    """
    on = console()
    lines = table_lines(messages, columns, on.width if fit and sys.stdout.isatty() else None)
    for line in lines if titles else lines[_LINES_OF_TITLES:]:
        on.print(line, no_wrap=True, overflow="ignore", crop=False)


def table_lines(messages: Sequence[Any], columns: Sequence[Column], fit: int | None) -> "list[Text]":
    """Return the lines of a table: titles, a rule, and a line per message.

    Args:
        messages: The messages.
        columns: The columns.
        fit: The width of the terminal that they have to fit into, with times relative to now; None for any width.
    """
    from rich.cells import cell_len
    from rich.text import Text

    now = None if fit is None else datetime.now(UTC)
    rows = [[_one_line(column.show(message, now)) for column in columns] for message in messages]
    for at, column in enumerate(columns):
        if fit is not None and column.short:
            shown = starts([row[at] for row in rows])
            for row in rows:
                row[at] = shown[row[at]]
    titles = [column.title_for(now) for column in columns]
    widths = [max(map(cell_len, texts)) for texts in zip(titles, *rows, strict=True)]
    if fit is not None:
        widths = fitted(columns, widths, fit)
    kept = [at for at, width in enumerate(widths) if width]

    def line(texts: Sequence[str], styles: Mapping[str, str], style: str = "") -> Text:
        cells = [(Text(texts[at], styles.get(texts[at], style)), widths[at], columns[at].right) for at in kept]
        return _line(cells)

    rule = Text("─" * (sum(widths) + GAP * (len(kept) - 1)))
    return [line(titles, {}, "bold"), rule, *(line(row, STYLES) for row in rows)]


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
    on = console()
    with on.capture() as captured:
        on.print(pairs_grid(pairs))
    # The grid fills its lines with spaces.
    sys.stdout.write("".join(f"{line.rstrip(' ')}\n" for line in captured.get().split("\n")[:-1]))


def pairs_grid(pairs: Mapping[str, str]) -> "Table":
    """Return names and values, one pair per line, without values that are not set."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        if value != NOTHING:
            table.add_row(name, Text(printable(value), STYLES.get(value, "")))
    return table


def pairs_of(message: Message) -> dict[str, str]:
    """Return the names and values of all fields of a message; on a terminal a time says how long ago it is as well."""
    now = datetime.now(UTC) if sys.stdout.isatty() else None
    return {
        title(message.DESCRIPTOR, each.name): _with_age(message, each.name, now) for each in message.DESCRIPTOR.fields
    }


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
