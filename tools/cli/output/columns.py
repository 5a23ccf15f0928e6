"""The columns of tables, and which of them fit into a terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tools.cli.output.cells import cell
from tools.cli.output.documents import to_json

GAP: Final = 2
"""The spaces between two columns."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: The title.
        show: Return the text of a message; the second argument is the present time where times are relative to it, and
            None where they are absolute.
        priority: The columns with the largest numbers are left out first where a terminal is narrow; those with 0 are
            always there.
        cut: To how many characters the column may be cut, with an ellipsis; 0 means never, which is right for IDs.
        wide: Whether only `-o wide` and `-o csv` have the column.
        right: Whether to align it on the right, for numbers.
        absolute_title: The title where times are absolute, if it is another one.
    """

    title: str
    show: Callable[[Any, datetime | None], str]
    priority: int = 0
    cut: int = 0
    wide: bool = False
    right: bool = False
    absolute_title: str = ""

    def title_for(self, now: datetime | None) -> str:
        """Return the title, for the same time as `show`."""
        return self.title if now else self.absolute_title or self.title


@dataclass(frozen=True)
class Columns:
    """The columns of one kind of message.

    Attributes:
        columns: The columns, from left to right.
        name: The field that other commands take for the message, which `-o name` prints.
        document: Return what programs get for a message; by default the message itself.
    """

    columns: tuple[Column, ...]
    name: str = "id"
    document: Callable[[Any], Any] = to_json

    def of_table(self) -> tuple[Column, ...]:
        """Return the columns without those for `-o wide`."""
        return tuple(column for column in self.columns if not column.wide)


def field(
    name: str,
    title: str = "",
    *,
    priority: int = 0,
    cut: int = 0,
    wide: bool = False,
    right: bool = False,
) -> Column:
    """Return the column of a field of a message.

    Args:
        name: The field.
        title: The title; by default the field's name in words.
        priority: As in `Column`, like the others.
        cut: As in `Column`.
        wide: As in `Column`.
        right: As in `Column`.
    """
    return Column(
        title or name.removesuffix("_cents").replace("_", " "),
        lambda message, now: cell(message, name, now),
        priority=priority,
        cut=cut,
        wide=wide,
        right=right,
    )


def age(name: str, *, title: str = "age", priority: int = 0) -> Column:
    """Return the column of the age of a message, whose absolute form is the time itself.

    Args:
        name: The field with the time of its creation, or of another event.
        title: The title of the relative form.
        priority: As in `Column`.
    """

    def show(message: Any, now: datetime | None) -> str:
        return cell(message, name, now).removesuffix(" ago")

    return Column(title, show, priority=priority, absolute_title=name.replace("_", " "))


def fitted(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Choose the columns that fit into a terminal, and their widths.

    Columns are taken by their priority, each if it still fits. Those that may be cut are taken if they fit when all are
    cut as much as they may; the others only if they leave twice as much to those that may be cut.

    Args:
        columns: All columns.
        widths: Their full widths.
        width: The width of the terminal.

    Returns:
        The width of each column; 0 for those that are left out.
    """
    order = sorted(range(len(columns)), key=lambda at: columns[at].priority)
    cut, eased = (
        [min(full, times * column.cut or full) for column, full in zip(columns, widths, strict=True)]
        for times in (1, 2)
    )
    chosen: list[int] = []
    for at in order:
        needed = cut if columns[at].cut else eased
        if columns[at].priority == 0 or sum(needed[one] + GAP for one in [*chosen, at]) - GAP <= width:
            chosen.append(at)
    found = [cut[at] if at in chosen else 0 for at in range(len(columns))]
    left = width + GAP - sum(found[at] + GAP for at in chosen)
    for at in chosen:
        more = max(0, min(widths[at] - found[at], left))
        found[at] += more
        left -= more
    return found
