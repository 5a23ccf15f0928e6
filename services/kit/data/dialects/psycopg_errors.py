"""The errors of PostgreSQL's driver, translated into those of the data layer."""

from collections.abc import Callable
from types import MappingProxyType

import psycopg
from psycopg import errors as pg

from services.kit.data.errors import (
    AlreadyExists,
    Conflict,
    ConnectionFailed,
    ConstraintViolated,
    DatabaseReadOnly,
    DataError,
    InvalidData,
    LockTimedOut,
    SchemaBehind,
    StatementOutdated,
    StillReferenced,
    TimedOut,
    TooCostly,
)

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
    """Return the error of the data layer for an error of PostgreSQL's driver.

    None for an unforeseen error, such as a syntax error, which stays as it is: a defect, not a condition.
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
    # OperationalError without an SQLSTATE comes from the driver: refused, reset, closed. With an SQLSTATE it has a
    # class above or is a condition of the server (disk full), which waiting may cure as well.
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
