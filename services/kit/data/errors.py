"""What can go wrong with stored data, and how PostgreSQL's driver says it.

Those that a caller should hear about are domain errors as well, so that they reach it with their reason when nobody in
between knows better. The others mean that the service did not foresee something: they end as INTERNAL.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import ClassVar

import psycopg
from psycopg import errors as pg

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


_CONDITIONS: MappingProxyType[tuple[type[psycopg.Error], ...], Callable[[], DataError]] = MappingProxyType(
    {
        (pg.SerializationFailure, pg.DeadlockDetected): Conflict,
        (pg.LockNotAvailable,): LockTimedOut,
        (pg.QueryCanceled, pg.OutOfMemory, pg.ProgramLimitExceeded): TooCostly,
        (pg.ConnectionTimeout,): TimedOut,
        (pg.ReadOnlySqlTransaction,): DatabaseReadOnly,
        (
            pg.AdminShutdown,
            pg.CrashShutdown,
            pg.CannotConnectNow,
            pg.TooManyConnections,
            pg.IdleInTransactionSessionTimeout,
        ): ConnectionFailed,
    }
)


def translate(driver: BaseException) -> DataError | None:
    """Translates an error of PostgreSQL's driver into one of this module; `dialects` has those of the others.

    What is not foreseen (a syntax error, say) is answered None and stays as it is: a defect, not a condition.
    """
    if isinstance(driver, pg.IntegrityError):
        return _integrity(driver)
    for kinds, condition in _CONDITIONS.items():
        if isinstance(driver, kinds):
            return condition()
    if isinstance(driver, pg.UndefinedTable | pg.UndefinedColumn):
        return SchemaBehind()
    if isinstance(driver, pg.InvalidSqlStatementName) or _is_outdated(driver):
        return StatementOutdated()
    if isinstance(driver, psycopg.DataError):
        return InvalidData(str(driver))
    # OperationalError without an SQLSTATE is the driver's own: refused, reset, gone. With one it has a class above or
    # is a condition of the server (disk full), which waiting may cure as well.
    if isinstance(driver, psycopg.OperationalError | psycopg.InterfaceError):
        return ConnectionFailed()
    return None


def _is_outdated(error: BaseException) -> bool:
    # The text ("cached plan must not change result type") depends on the server's language.
    return isinstance(error, pg.FeatureNotSupported) and error.diag.source_function == "RevalidateCachedQuery"


def _integrity(error: psycopg.IntegrityError) -> ConstraintViolated:
    constraint = error.diag.constraint_name or ""
    if isinstance(error, pg.UniqueViolation | pg.ExclusionViolation):
        return AlreadyExists(constraint)
    if isinstance(error, pg.ForeignKeyViolation | pg.RestrictViolation):
        return StillReferenced(constraint)
    return ConstraintViolated(constraint)
