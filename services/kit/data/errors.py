"""The errors of stored data, whatever the database: each dialect translates the errors of its driver into these.

Those that a caller should hear about are domain errors as well, so that they reach it with their reason when nobody in
between knows better. The others mean that the service did not foresee something: they end as INTERNAL.
"""

from typing import ClassVar

from services.kit.errors import ConcurrentUpdate, DatabaseUnavailable, RowLocked


class DataError(Exception):
    """Something went wrong in the data layer."""


class NotFound(DataError):
    """There is no such row."""


class ConstraintViolated(DataError):
    """A constraint of the database refuses the change.

    Attributes:
        constraint: The constraint's name, which tells the service what is wrong; empty if the database did not say.
    """

    summary: ClassVar[str] = "constraint violated"

    def __init__(self, constraint: str) -> None:
        super().__init__(f"{self.summary}: {constraint or 'unnamed'}")
        self.constraint = constraint


class AlreadyExists(ConstraintViolated):
    """A unique or exclusion constraint refuses the row."""

    summary = "already exists"


class StillReferenced(ConstraintViolated):
    """A foreign key refuses the change: a row is still needed, or the row it names is missing."""

    summary = "foreign key violated"


class InvalidData(DataError):
    """The database can't hold the value: wrong type, out of range, too long, not JSON."""


class ConnectionFailed(DatabaseUnavailable, DataError):
    """The database can't be reached or closed the connection: send the request again under the same ID."""


class DatabaseReadOnly(ConnectionFailed):
    """The database takes no changes, as after a failover: send the request again under the same ID."""


class CommitUnknown(ConnectionFailed):
    """The connection was lost in the commit: it may have taken effect. Send the request again under the same ID."""


class PoolExhausted(DatabaseUnavailable, DataError):
    """A second connection is needed for a transaction inside another, and none is free: send the request again."""


class TimedOut(DatabaseUnavailable, DataError):
    """The database or a free connection took too long: send the request again under the same ID."""


class TooCostly(TimedOut):
    """A statement took too long or too much memory, and the database ended it: send the request again, or less at once.

    The database is there: a batch is divided, since one of its items may be what is costly.
    """


class LockTimedOut(RowLocked, DataError):
    """Another transaction kept a lock for too long; nothing was written: send the request again under the same ID."""


class Conflict(ConcurrentUpdate, DataError):
    """Another transaction changed the same data; nothing was written: send the request again."""


class StatementOutdated(Conflict):
    """What the server had prepared does not fit its schema any more; nothing was written: send the request again."""


class SchemaBehind(DatabaseUnavailable, DataError):
    """The database is not ready: it lacks a table or column that this release expects (`innosystem migrate up`).

    Which one it is stays in `__cause__`, for logs.
    """


class UnexpectedRollback(DataError):
    """The changes were taken back although nobody said so at the end: something failed inside and was swallowed."""

    def __init__(self) -> None:
        super().__init__("rolled back because of an earlier error that was swallowed")


class TransactionMisused(DataError):
    """A defect of the program: what it does is not possible with the transaction that is open, or without one."""
