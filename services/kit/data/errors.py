"""Errors of the data layer: each dialect translates the errors of its driver into these.

Errors that concern a caller are domain errors as well: they reach it with their reason unless a use case replaces them.
All others are defects of the service and end as INTERNAL.
"""

from typing import ClassVar

from services.kit.errors import ConcurrentUpdate, DatabaseUnavailable, RowLocked


class DataError(Exception):
    """The base of all errors of the data layer."""


class NotFound(DataError):
    """The row does not exist."""


class ConstraintViolated(DataError):
    """A constraint of the database refuses the change.

    Attributes:
        constraint: The constraint's name, by which the service identifies the problem; empty if not reported.
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
    """The database cannot hold the value: wrong type, out of range, too long, not JSON."""


class ConnectionFailed(DatabaseUnavailable, DataError):
    """The database can't be reached or closed the connection: send the request again under the same ID."""


class DatabaseReadOnly(ConnectionFailed):
    """The database takes no changes, as after a failover: send the request again under the same ID."""


class CommitUnknown(ConnectionFailed):
    """The connection was lost in the commit: it may have taken effect. Send the request again under the same ID."""


class PoolExhausted(DatabaseUnavailable, DataError):
    """A transaction inside another needs a second connection and none is free: send the request again."""


class TimedOut(DatabaseUnavailable, DataError):
    """The database or a free connection took too long: send the request again under the same ID."""


class TooCostly(TimedOut):
    """A statement took too long or too much memory, and the database ended it: send it again, or a smaller one.

    The database is available: a batch is divided, because one of its items may be the costly one.
    """


class LockTimedOut(RowLocked, DataError):
    """Another transaction kept a lock for too long; nothing was written: send the request again under the same ID."""


class Conflict(ConcurrentUpdate, DataError):
    """Another transaction changed the same data; nothing was written: send the request again."""


class StatementOutdated(Conflict):
    """A prepared statement no longer fits the schema; nothing was written: send the request again."""


class SchemaBehind(DatabaseUnavailable, DataError):
    """The database is not ready: it lacks a table or column that this release expects (`innosystem migrate up`).

    `__cause__` has its name, for logs.
    """


class UnexpectedRollback(DataError):
    """The changes were rolled back although the block ended normally: an error inside was swallowed."""

    def __init__(self) -> None:
        super().__init__("rolled back because of an earlier error that was swallowed")


class TransactionMisused(DataError):
    """A defect of the program: the operation is impossible in the open transaction, or without one."""
