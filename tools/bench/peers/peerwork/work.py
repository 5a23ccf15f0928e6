"""The work of the bench, written by hand around a task queue.

A job row, a claim, a completion, a deduction with a line in a ledger, a settlement; all of it durable in PostgreSQL, by
direct SQL over persistent connections. One database, so that the writes after the handler are one transaction, sent as
one pipeline: the cheapest way that still writes everything. The work lacks holds, leases, retries, batches, foreign
keys, and indexes other than the keys.
"""

import os
import threading
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

SCHEMA = (
    """
    CREATE TABLE wallets (
        id uuid PRIMARY KEY,
        balance bigint NOT NULL CHECK (balance >= 0),
        version bigint NOT NULL DEFAULT 1
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE jobs (
        id uuid PRIMARY KEY,
        wallet_id uuid NOT NULL,
        status text NOT NULL,
        billing text NOT NULL,
        input jsonb NOT NULL,
        output jsonb,
        cost bigint,
        created_at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz,
        completed_at timestamptz
    )
    """,
    """
    CREATE TABLE ledger (
        id uuid PRIMARY KEY,
        wallet_id uuid NOT NULL,
        job_id uuid NOT NULL UNIQUE,
        amount bigint NOT NULL,
        balance_after bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)

INPUT = {"text": "a job input of about fifty bytes in all"}

SUBMIT = "INSERT INTO jobs (id, wallet_id, status, billing, input) VALUES (%s, %s, 'PENDING', 'HELD', %s)"
CLAIM = """
    UPDATE jobs SET status = 'RUNNING', started_at = now() WHERE id = %s AND status = 'PENDING'
    RETURNING wallet_id, input
"""
COMPLETE = """
    UPDATE jobs SET status = 'SUCCEEDED', billing = 'CHARGE_DUE', output = %s, cost = 1, completed_at = now()
    WHERE id = %s AND status = 'RUNNING'
"""
DEDUCT = """
    WITH charged AS (
        UPDATE wallets SET balance = balance - 1, version = version + 1 WHERE id = %s AND balance >= 1
        RETURNING id, balance
    )
    INSERT INTO ledger (id, wallet_id, job_id, amount, balance_after) SELECT %s, id, %s, -1, balance FROM charged
"""
SETTLE = "UPDATE jobs SET billing = 'CHARGED' WHERE id = %s"

_local = threading.local()


def database_url() -> str:
    """Return the address of the database."""
    return os.environ["PEER_DATABASE_URL"]


def redis_url() -> str:
    """Return the address of the broker."""
    return os.environ["PEER_REDIS_URL"]


def handle(job_input: Any) -> dict[str, bool]:
    """Handle a job, by doing nothing."""
    return {"ok": True}


def connection() -> psycopg.Connection:
    """Return this thread's connection."""
    known: psycopg.Connection | None = getattr(_local, "connection", None)
    if known is None:
        known = _local.connection = psycopg.connect(database_url(), autocommit=True)
    return known


def submit(job_id: UUID, wallet_id: str) -> None:
    """Store a job."""
    connection().execute(SUBMIT, (job_id, wallet_id, Jsonb(INPUT)))


def work(job_id: str) -> None:
    """Do a job that has not begun: at most once, because the work has no leases."""
    database = connection()
    claimed = database.execute(CLAIM, (job_id,)).fetchone()
    if claimed is None:
        return
    wallet_id, job_input = claimed
    output = handle(job_input)
    with database.pipeline(), database.transaction():
        database.execute(COMPLETE, (Jsonb(output), job_id))
        database.execute(DEDUCT, (wallet_id, uuid4(), job_id))
        database.execute(SETTLE, (job_id,))


async def submit_async(database: psycopg.AsyncConnection, job_id: UUID, wallet_id: str) -> None:
    """Store a job."""
    await database.execute(SUBMIT, (job_id, wallet_id, Jsonb(INPUT)))


async def work_async(database: psycopg.AsyncConnection, job_id: str) -> None:
    """Do a job that has not begun: at most once, because the work has no leases."""
    claimed = await (await database.execute(CLAIM, (job_id,))).fetchone()
    if claimed is None:
        return
    wallet_id, job_input = claimed
    output = handle(job_input)
    async with database.pipeline(), database.transaction():
        await database.execute(COMPLETE, (Jsonb(output), job_id))
        await database.execute(DEDUCT, (wallet_id, uuid4(), job_id))
        await database.execute(SETTLE, (job_id,))
