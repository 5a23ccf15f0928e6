"""Asks for what is refused, and looks that nothing was written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import psycopg
import pytest
from google.rpc.status_pb2 import Status
from psycopg import sql

from innosystem.client import InnosystemError, error_from, error_from_status

# The table of the documentation of errors, as clients rely on it.
_REASONS = {
    "INVALID_ARGUMENT": (
        "INVALID_FIELD INVALID_INPUT_JSON INVALID_OUTPUT_JSON INPUT_TOO_LARGE OUTPUT_TOO_LARGE BATCH_TOO_LARGE"
        " INVALID_FILTER INVALID_ORDER_BY INVALID_PAGE_TOKEN"
    ),
    "NOT_FOUND": "CUSTOMER_NOT_FOUND WALLET_NOT_FOUND JOB_NOT_FOUND JOB_TYPE_NOT_FOUND TRANSACTION_NOT_FOUND "
    "HOLD_NOT_FOUND API_KEY_NOT_FOUND RUNNER_NOT_FOUND",
    "ALREADY_EXISTS": "EMAIL_TAKEN JOB_TYPE_NAME_TAKEN WALLET_EXISTS IDEMPOTENCY_KEY_REUSED",
    "FAILED_PRECONDITION": (
        "HOLD_NOT_ACTIVE HOLD_MISMATCH HOLD_ACTIVE REFUND_EXCEEDS_CHARGE "
        "INSUFFICIENT_FUNDS PRICE_ABOVE_MAXIMUM CUSTOMER_INACTIVE JOB_TYPE_DISABLED JOB_TYPE_IN_USE BALANCE_OVERFLOW"
        " JOB_NOT_CANCELLABLE JOB_NOT_RETRYABLE NO_WALLET_IN_CURRENCY"
        " ALREADY_CHARGED NOTHING_TO_WRITE_OFF WRITE_OFF_REFUSED"
    ),
    "ABORTED": "ETAG_MISMATCH LEASE_LOST CONCURRENT_UPDATE ROW_LOCKED",
    "UNAUTHENTICATED": "BAD_CREDENTIALS",
    "PERMISSION_DENIED": "NOT_ALLOWED",
    "UNAVAILABLE": "DATABASE_UNAVAILABLE DEPENDENCY_UNAVAILABLE",
    "INTERNAL": "DATA_CORRUPT",
}
CODES = {reason: grpc.StatusCode[code] for code, reasons in _REASONS.items() for reason in reasons.split()}


class Stored:
    """All that a service has stored."""

    def __init__(self, url: str) -> None:
        self._url = url

    def execute(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Do what no RPC does, such as spoiling a row; return the rows, if there are any."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def rows(self) -> dict[str, list[str]]:
        """Every row of every table, as text, without what background work writes beside the calls."""
        with psycopg.connect(self._url) as connection:
            # Runners are noted, and waiting jobs marked as dispatched, whenever it is their turn.
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'runners'"
            ).fetchall()
            assert tables
            read = {
                name: sql.SQL("SELECT (to_jsonb(t) - 'dispatched_at')::text FROM {} t ORDER BY 1").format(
                    sql.Identifier(name)
                )
                for [name] in tables
            }
            return {name: [row for [row] in connection.execute(query)] for name, query in read.items()}

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Check that nothing is written in the block."""
        before = self.rows()
        yield
        assert self.rows() == before


def details(status: Status, reason: str) -> InnosystemError:
    """The error of one item of a batch, which has to be for this reason."""
    error = error_from_status(status)
    assert (error.reason, error.code) == (reason, CODES[reason])
    return error


def fields(error: InnosystemError) -> list[str]:
    """The fields that are at fault."""
    return [violation.field for violation in error.violations]


def reason_of(call: Callable[[], object]) -> str:
    """The reason that a call is refused for; empty if it is not."""
    try:
        call()
    except grpc.RpcError as caught:
        error = error_from(caught)
        return error.reason if error else str(caught)
    return ""


class Refused:
    """Calls methods that have to refuse, and to leave the database as it was."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored

    def __call__(self, method: Callable[[Any], Any], request: Any, reason: str) -> InnosystemError:
        """Call a method; return the error, which has to be for this reason."""
        with self.stored.unchanged(), pytest.raises(grpc.RpcError) as caught:
            method(request)
        error = error_from(caught.value)
        assert error is not None, caught.value
        assert (error.reason, error.code) == (reason, CODES[reason]), error
        assert caught.value.code() is error.code
        assert error.message
        return error

    def field(self, method: Callable[[Any], Any], request: Any, *names: str) -> InnosystemError:
        """Call a method with fields that are at fault, which have to be named."""
        error = self(method, request, "INVALID_FIELD")
        assert fields(error) == list(names)
        assert all(violation.description for violation in error.violations)
        assert error.metadata == {"fields": ",".join(names)}
        return error
