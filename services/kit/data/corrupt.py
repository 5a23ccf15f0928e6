"""Rows that are not understood, such as rows with a value that a later release wrote.

Such a row affects no other row: a read of many rows leaves it out or returns `DataCorrupt` in its place. Each is
counted, and logged with its ID, but not on every read.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TypeVar

import structlog
from prometheus_client import Counter

from services.kit.errors import DataCorrupt

K = TypeVar("K")
T = TypeVar("T")

log = structlog.get_logger(__name__)

_CORRUPT = Counter("innosystem_data_corrupt", "Stored rows that were read and not understood.", ["entity"])
_LOGGED_AGAIN_SECONDS = 600.0
_REMEMBERED_MAX = 10_000
# When each row was last logged, oldest first.
_logged: OrderedDict[tuple[str, str], float] = OrderedDict()


def noted(error: DataCorrupt) -> DataCorrupt:
    """Count a row that is not understood, log it unless it was logged recently, and return the error."""
    _CORRUPT.labels(error.entity).inc()
    key, now = (error.entity, error.entity_id), monotonic()
    if now - _logged.get(key, -_LOGGED_AGAIN_SECONDS) >= _LOGGED_AGAIN_SECONDS:
        _logged[key] = now
        _logged.move_to_end(key)
        if len(_logged) > _REMEMBERED_MAX:
            _logged.popitem(last=False)
        log.error("row_not_understood", **error.metadata)
    return error


def understood(rows: Iterable[T | DataCorrupt]) -> list[T]:
    """Return the rows that are understood."""
    return [row for row in rows if not isinstance(row, DataCorrupt)]


def all_understood(rows: Iterable[T | DataCorrupt]) -> list[T]:
    """Return all rows, for a caller that cannot do without any of them.

    Raises:
        DataCorrupt: If a row is not understood.
    """
    found: list[T] = []
    for row in rows:
        if isinstance(row, DataCorrupt):
            raise row
        found.append(row)
    return found


def understood_by_key(rows: Mapping[K, T | DataCorrupt]) -> dict[K, T]:
    """Return the rows that are understood, by their keys."""
    return {key: row for key, row in rows.items() if not isinstance(row, DataCorrupt)}
