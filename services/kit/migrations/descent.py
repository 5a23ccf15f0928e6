"""The consequences of a downgrade to an earlier revision, determined before any change."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

_COUNTED_MAX = 100_000
_DROPPED_TABLE = re.compile(r"^DROP TABLE (?:IF EXISTS )?\"?(\w+)", re.MULTILINE)
_DROPPED_COLUMN = re.compile(r"^ALTER TABLE \"?(\w+)\"? DROP COLUMN (?:IF EXISTS )?\"?(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Descent:
    """The way back to an earlier revision.

    Attributes:
        revisions: The revisions to roll back, the last first, each with its title.
        losses: The tables and columns that are dropped, with their number of rows.
        refusals: The reasons against the downgrade; empty if it is allowed.
    """

    revisions: Sequence[tuple[str, str]]
    losses: Sequence[str]
    refusals: Sequence[str]


def target_index(known: Sequence[str], current: int, wanted: str) -> int | None:
    """Find the target revision of a downgrade.

    Args:
        known: All revisions, the oldest first.
        current: The index of the database's revision.
        wanted: A revision or its prefix, `-1` and so on for steps, or `base`.

    Returns:
        The index of the target; -1 for the empty database, None if no revision up to the current one matches.
    """
    if wanted == "base":
        return -1
    if re.fullmatch(r"-\d+", wanted):
        index = current + int(wanted)
        return index if index >= -1 else None
    found = [index for index, revision in enumerate(known[: current + 1]) if revision.startswith(wanted)]
    return found[0] if len(found) == 1 else None


def losses(connection: Connection, sql: str) -> Iterator[str]:
    """Yield the tables and columns that statements drop, with their number of rows."""
    dropped = list(dict.fromkeys(_DROPPED_TABLE.findall(sql)))
    for table in dropped:
        yield f"table {table} with {_rows(connection, table)}"
    for table, column in dict.fromkeys(_DROPPED_COLUMN.findall(sql)):
        if table not in dropped and table != "alembic_version":
            yield f"column {column} of {table}, which has {_rows(connection, table)}"


def _rows(connection: Connection, table: str) -> str:
    quoted = connection.dialect.identifier_preparer.quote_identifier(table)
    if connection.scalar(text("SELECT to_regclass(:name)"), {"name": quoted}) is None:
        return "no rows"
    counting = text(f"SELECT count(*) FROM (SELECT FROM {quoted} LIMIT :most) counted")  # noqa: S608 - quoted
    rows = connection.scalar(counting, {"most": _COUNTED_MAX + 1}) or 0
    return f"more than {_COUNTED_MAX:,} rows" if rows > _COUNTED_MAX else f"{rows:,} rows"
