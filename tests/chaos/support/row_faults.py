"""Faults that hit one row: someone holds its lock, or a later release has written it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql

LATER_VALUE = "RESERVED"
"""A billing status that no release knows yet."""

_NOBODY = "00000000-0000-0000-0000-000000000000"
# A wallet that money moves in, or a job that a runner is about to report on or to take.
_ROWS = {
    "wallets": "SELECT id FROM wallets WHERE customer_id <> %s ORDER BY updated_at DESC, id LIMIT 1"
    " FOR UPDATE SKIP LOCKED",
    "jobs": "SELECT id FROM jobs WHERE status IN ('RUNNING', 'PENDING') AND customer_id <> %s"
    " ORDER BY status DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED",
}
_LIVE = (
    "SELECT id, billing_status FROM jobs WHERE status IN ('RUNNING', 'PENDING') AND customer_id <> %s"
    " ORDER BY status DESC, id LIMIT 1"
)
_WRITE = "UPDATE jobs SET billing_status = %s, version = version + 1 WHERE id = %s AND billing_status = %s"
_CHECK = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ck_jobs_billing_status_known'"
_WIDEN = """
ALTER TABLE jobs DROP CONSTRAINT ck_jobs_billing_status_known,
    ADD CONSTRAINT ck_jobs_billing_status_known CHECK ({known} OR billing_status = {later})
"""
_AGAIN_SECONDS = 0.2


def connect(url: str) -> psycopg.Connection:
    """Connect to a database, to write even where sessions are read-only by default."""
    return psycopg.connect(url, connect_timeout=5, options="-c default_transaction_read_only=off")


@asynccontextmanager
async def locked_row(url: str, database: str, *, spared: str = _NOBODY) -> AsyncIterator[None]:
    """Hold the lock of one row, as a transaction does that someone has left open.

    Args:
        url: The database.
        database: Which of them: `wallets` or `jobs`.
        spared: A customer whose rows are left alone.
    """
    connection = await asyncio.to_thread(connect, url)
    try:
        await asyncio.to_thread(connection.execute, _ROWS[database].encode(), [spared])
        yield
    finally:
        await asyncio.to_thread(connection.close)


def allow_later_value(url: str) -> None:
    """Widen the schema as a later release does: it may be in place while this one still runs."""
    with connect(url) as connection:
        [definition] = connection.execute(_CHECK).fetchone() or [""]
        known = sql.SQL(definition.removeprefix("CHECK "))
        connection.execute(sql.SQL(_WIDEN).format(known=known, later=sql.Literal(LATER_VALUE)))


@asynccontextmanager
async def with_later_value(url: str, *, spared: str = _NOBODY) -> AsyncIterator[None]:
    """Write a value of a later release to a live job, and after the block what was there before.

    Args:
        url: The database of jobs.
        spared: A customer whose jobs are left alone.
    """
    row = await asyncio.to_thread(_change, url, spared)
    try:
        yield
    finally:
        # The row must not stay as it is, also when PostgreSQL is down just now.
        while row is not None and not await asyncio.to_thread(_change_back, url, *row):  # noqa: ASYNC110
            await asyncio.sleep(_AGAIN_SECONDS)


def _change(url: str, spared: str) -> tuple[str, str] | None:
    with connect(url) as connection:
        row = connection.execute(_LIVE, [spared]).fetchone()
        if row is None:
            return None
        job_id, billing_status = row
        changed = connection.execute(_WRITE, [LATER_VALUE, job_id, billing_status])
        return (job_id, billing_status) if changed.rowcount else None


def _change_back(url: str, job_id: str, billing_status: str) -> bool:
    try:
        with connect(url) as connection:
            connection.execute(_WRITE, [billing_status, job_id, LATER_VALUE])
    except psycopg.OperationalError:
        return False
    return True
