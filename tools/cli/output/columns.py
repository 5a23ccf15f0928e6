"""The columns of tables, and which of them fit into a terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tools.cli.output.cells import cell
from tools.cli.output.documents import to_json

GAP: Final = 2
"""The spaces between two columns."""

# As wide as `59 m`.
_AGE: Final = 4


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
        usual: How wide the column usually is, by which the columns of a terminal are chosen whatever is in the list; by
            default as wide as its title, or as it may be cut.
        short: Whether a terminal shows as much of the UUIDs as tells those of the list apart, which commands accept.
        fields: The fields of the document that `-o csv` has for the column, such as `cost_cents` and `currency`; by
            default the title as a field.
        wide: Whether only `-o wide` and `-o csv` have the column.
        right: Whether to align it on the right, for numbers.
        absolute_title: The title where times are absolute, if it is another one.
    """

    title: str
    show: Callable[[Any, datetime | None], str]
    priority: int = 0
    cut: int = 0
    usual: int = 0
    short: bool = False
    fields: tuple[str, ...] = ()
    wide: bool = False
    right: bool = False
    absolute_title: str = ""

    @property
    def reckoned(self) -> int:
        """The width by which the columns of a terminal are chosen."""
        return max(len(self.title), self.usual or self.cut)

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

    def fields(self) -> dict[str, Column]:
        """Return the fields for `-o csv`, each once, with the first column that has it."""
        found: dict[str, Column] = {}
        for column in self.columns:
            for name in column.fields or (column.title.replace(" ", "_"),):
                found.setdefault(name, column)
        return found


def field(
    name: str,
    title: str = "",
    *,
    priority: int = 0,
    cut: int = 0,
    usual: int = 0,
    short: bool = False,
    wide: bool = False,
    right: bool = False,
) -> Column:
    """Return the column of a field of a message.

    Args:
        name: The field.
        title: The title; by default the field's name in words.
        priority: As in `Column`, like the others.
        cut: As in `Column`.
        usual: As in `Column`.
        short: As in `Column`.
        wide: As in `Column`.
        right: As in `Column`.
    """
    return Column(
        title or name.removesuffix("_cents").replace("_", " "),
        lambda message, now: cell(message, name, now),
        priority=priority,
        cut=cut,
        usual=usual,
        short=short,
        fields=(name, "currency") if name.endswith("_cents") else (name,),
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

    return Column(title, show, priority=priority, usual=_AGE, fields=(name,), absolute_title=name.replace("_", " "))


def fitted(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Choose the columns that fit into a terminal, and their widths.

    Columns are taken by their priority, each if it still fits where all are as wide as usual: a list has the same
    columns whatever is in it. Only if its texts are too long, cut as they may be, are the last of them left out.

    Args:
        columns: All columns.
        widths: Their full widths.
        width: The width of the terminal.

    Returns:
        The width of each column; 0 for those that are left out.
    """
    chosen: list[int] = []
    for at in sorted(range(len(columns)), key=lambda at: columns[at].priority):
        usual = sum(columns[one].reckoned + GAP for one in [*chosen, at]) - GAP
        if columns[at].priority == 0 or usual <= width:
            chosen.append(at)
    cut = [min(full, column.cut or full) for column, full in zip(columns, widths, strict=True)]
    while sum(cut[at] + GAP for at in chosen) - GAP > width and columns[chosen[-1]].priority:
        chosen.pop()
    found = [cut[at] if at in chosen else 0 for at in range(len(columns))]
    left = width + GAP - sum(found[at] + GAP for at in chosen)
    for at in chosen:
        more = max(0, min(widths[at] - found[at], left))
        found[at] += more
        left -= more
    return found
