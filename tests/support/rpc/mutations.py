"""Every kind of wrong that a value can be, by the type of its column: from the models, so that none is forgotten."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import uuid4

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, Integer, Interval, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from services.jobs.rules.entities import BillingStatus, JobStatus
from services.jobs.rules.job_types import ProcessorType
from services.kit.data.tables import JsonText
from services.wallets.rules.entities import CounterAccount, HoldState, TransactionKind

Row = dict[str, str | None]

_VALUES: dict[tuple[str, str], type[Enum]] = {
    ("jobs", "status"): JobStatus,
    ("jobs", "billing_status"): BillingStatus,
    ("job_types", "processor_type"): ProcessorType,
    ("wallet_transactions", "kind"): TransactionKind,
    ("wallet_transactions", "counter_account"): CounterAccount,
    ("holds", "state"): HoldState,
}
_CURRENCIES = ("EUR", "USD")
NEVER, LONG_AGO, FAR_AHEAD = "nothing", "long ago", "far ahead"


@dataclass(frozen=True)
class Wrong:
    """A value that should not be there.

    Attributes:
        name: What kind of wrong it is.
        value: The value as text; None for null.
    """

    column: str
    name: str
    value: str | None


def wrongs(table: str, column: Column[Any], row: Row, rows: Sequence[Row]) -> Iterator[Wrong]:
    """All wrongs of a column in a row.

    Args:
        table: Its table.
        column: The column.
        row: The row as it is, all values as text.
        rows: All rows of the table: IDs of others are taken from them.
    """
    now = row[column.name]
    if column.nullable and now is not None:
        yield Wrong(column.name, NEVER, None)
    for name, value in _others(table, column, now, rows):
        if value != now:
            yield Wrong(column.name, name, value)


def _others(table: str, column: Column[Any], now: str | None, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    known = _VALUES.get((table, column.name))
    if known is not None:
        yield from ((str(one.value), str(one.value)) for one in known)
        yield "an unknown value", "WHATEVER"
    elif column.name == "currency":
        yield from (("another currency", one) for one in _CURRENCIES)
        yield "no currency", "eur"
    elif isinstance(column.type, Uuid):
        yield "an unknown ID", str(uuid4())
        if not column.primary_key:
            others = (one[column.name] for one in rows if one[column.name] not in (now, None))
            yield from (("the ID of another", other) for other in [next(others, None)] if other is not None)
    else:
        yield from _by_type(column, now)


def _by_type(column: Column[Any], now: str | None) -> Iterator[tuple[str, str]]:
    kind = column.type
    if isinstance(kind, (Integer, BigInteger)):
        number = int(now or 0)
        yield from (("more", str(number + 1)), ("less", str(number - 1)), ("negative", str(-number - 7)))
    elif isinstance(kind, Double):
        yield from (("more", str(float(now or 0) + 1)), ("negative", "-1"))
    elif isinstance(kind, Boolean):
        yield "the opposite", "f" if now in ("t", "true") else "t"
    elif isinstance(kind, DateTime):
        yield from ((LONG_AGO, "2000-01-01 00:00:00+00"), (FAR_AHEAD, "2100-01-01 00:00:00+00"))
    elif isinstance(kind, Interval):
        yield from (("longer", "1000 days"), ("negative", "-1 s"))
    elif isinstance(kind, (JsonText, JSONB)):
        yield "another value", '{"planted": 1}'
    elif isinstance(kind, LargeBinary):
        yield "other bytes", r"\x00"
    elif isinstance(kind, Text):
        yield from (("another text", "planted"), ("empty", ""))
    else:
        raise TypeError(f"{column} has a type that nobody has thought of: say what can be wrong with it")
