"""The translation of the driver's errors (D3): what can't be provoked here, and that nothing is forgotten."""

import psycopg
import pytest
from grpc import StatusCode
from psycopg import errors as pg

from services.kit.data.dialects.psycopg_errors import translate
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
    StillReferenced,
    TimedOut,
    TooCostly,
)
from services.kit.errors import DatabaseUnavailable, DomainError, RowLocked
from services.kit.rpc.status import to_status


@pytest.mark.parametrize(
    ("driver", "kind"),
    [
        (pg.UniqueViolation, AlreadyExists),
        (pg.ExclusionViolation, AlreadyExists),
        (pg.ForeignKeyViolation, StillReferenced),
        (pg.RestrictViolation, StillReferenced),
        (pg.CheckViolation, ConstraintViolated),
        (pg.NotNullViolation, ConstraintViolated),
        (pg.SerializationFailure, Conflict),
        (pg.DeadlockDetected, Conflict),
        (pg.QueryCanceled, TooCostly),
        (pg.LockNotAvailable, LockTimedOut),
        (pg.ConnectionTimeout, TimedOut),
        (pg.NumericValueOutOfRange, InvalidData),
        (pg.StringDataRightTruncation, InvalidData),
        (pg.UndefinedTable, SchemaBehind),
        (pg.UndefinedColumn, SchemaBehind),
        (pg.AdminShutdown, ConnectionFailed),
        (pg.CrashShutdown, ConnectionFailed),
        (pg.CannotConnectNow, ConnectionFailed),
        (pg.TooManyConnections, ConnectionFailed),
        (pg.IdleInTransactionSessionTimeout, ConnectionFailed),
        # A standby refuses so after a failover, until the name leads to the new primary.
        (pg.ReadOnlySqlTransaction, DatabaseReadOnly),
        (pg.DiskFull, ConnectionFailed),
        (pg.OutOfMemory, TooCostly),
        # A statement too large for a buffer of the server: the database is there.
        (pg.ProgramLimitExceeded, TooCostly),
        (psycopg.OperationalError, ConnectionFailed),
        (psycopg.InterfaceError, ConnectionFailed),
    ],
)
def test_an_error_of_the_driver_is_translated(driver: type[psycopg.Error], kind: type[DataError]) -> None:
    assert type(translate(driver())) is kind


@pytest.mark.parametrize(
    "driver", [pg.SyntaxError, pg.UndefinedFunction, pg.InsufficientPrivilege, psycopg.NotSupportedError, KeyError]
)
def test_a_defect_of_the_program_stays_what_it_is(driver: type[Exception]) -> None:
    assert translate(driver()) is None


def _kinds(kind: type[DataError]) -> list[type[DataError]]:
    ours = (below for below in kind.__subclasses__() if below.__module__ == DataError.__module__)
    return [kind, *(one for below in ours for one in _kinds(below))]


def test_what_a_caller_may_send_again_has_a_reason() -> None:
    for kind in (Conflict, ConnectionFailed, LockTimedOut, TimedOut):
        assert issubclass(kind, DomainError), kind
        assert kind.reason, kind


def test_an_unavailable_database_is_distinguished_from_one_that_refuses() -> None:
    away = {kind.__name__ for kind in _kinds(DataError) if issubclass(kind, DatabaseUnavailable)}
    lost = {"CommitUnknown", "ConnectionFailed", "DatabaseReadOnly"}
    assert away == {*lost, "PoolExhausted", "SchemaBehind", "TimedOut", "TooCostly"}


def test_a_lock_timeout_is_distinguished_from_an_unavailable_database() -> None:
    locked: Exception | None = translate(pg.LockNotAvailable())
    assert isinstance(locked, RowLocked)
    assert DatabaseUnavailable not in type(locked).__mro__
    assert (locked.reason, to_status(locked).code) == ("ROW_LOCKED", StatusCode.ABORTED.value[0])
