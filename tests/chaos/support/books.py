"""What the databases and Redis hold, read directly: the oracle trusts no service."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import redis
from psycopg.rows import class_row

_JOBS = """
SELECT id::text AS job_id, customer_id::text, status, billing_status, cost_cents, transaction_id::text,
       attempt, rescue_count, retry_count, snooze_count, error->>'type' AS error_type, output_data::text AS output_json,
       hold_id::text, created_at, run_at, completed_at
FROM jobs ORDER BY created_at, id
"""
_WALLETS = """
SELECT id::text AS wallet_id, customer_id::text, current_balance_cents AS balance_cents,
       pending_charges_cents AS pending_cents
FROM wallets ORDER BY id
"""
_TRANSACTIONS = """
SELECT id::text AS transaction_id, wallet_id::text, sequence, kind, amount_cents, balance_after_cents,
       idempotency_key, job_id::text
FROM wallet_transactions ORDER BY wallet_id, sequence
"""
_HOLDS = """
SELECT id::text AS hold_id, job_id::text, amount_cents, state, resolved_at FROM holds ORDER BY created_at, id
"""
_LISTS = "*:pending"


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A job, as its table has it."""

    job_id: str
    customer_id: str
    status: str
    billing_status: str
    cost_cents: int | None = None
    transaction_id: str | None = None
    attempt: int = 1
    rescue_count: int = 0
    retry_count: int = 0
    snooze_count: int = 0
    error_type: str | None = None
    output_json: str | None = None
    hold_id: str | None = None
    created_at: datetime
    run_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def output(self) -> Any:
        """The output, parsed."""
        return None if self.output_json is None else json.loads(self.output_json)


@dataclass(frozen=True, kw_only=True)
class WalletRow:
    """A wallet, as its table has it."""

    wallet_id: str
    customer_id: str
    balance_cents: int
    pending_cents: int = 0


@dataclass(frozen=True, kw_only=True)
class TransactionRow:
    """A line of a wallet's statement."""

    transaction_id: str
    wallet_id: str
    sequence: int
    kind: str
    amount_cents: int
    balance_after_cents: int
    idempotency_key: str
    job_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class HoldRow:
    """Money that was reserved for a job. One that was released before it was placed names no job."""

    hold_id: str
    job_id: str | None
    amount_cents: int
    state: str
    resolved_at: datetime | None = None


@dataclass(frozen=True)
class BooksSnapshot:
    """All of it, read one after the other: only at rest does it fit together."""

    jobs: Mapping[str, JobRow]
    wallets: Mapping[str, WalletRow]
    transactions: tuple[TransactionRow, ...]
    lists: Mapping[str, int] = field(default_factory=dict)
    holds: tuple[HoldRow, ...] = ()


def read_books(database_urls: Mapping[str, str], redis_url: str) -> BooksSnapshot:
    """Read everything."""
    with psycopg.connect(database_urls["jobs"]) as connection:
        jobs = connection.cursor(row_factory=class_row(JobRow)).execute(_JOBS).fetchall()
    with psycopg.connect(database_urls["wallets"]) as connection:
        wallets = connection.cursor(row_factory=class_row(WalletRow)).execute(_WALLETS).fetchall()
        transactions = connection.cursor(row_factory=class_row(TransactionRow)).execute(_TRANSACTIONS).fetchall()
    holds = read_holds(database_urls["wallets"])
    return BooksSnapshot(
        jobs={job.job_id: job for job in jobs},
        wallets={wallet.customer_id: wallet for wallet in wallets},
        transactions=tuple(transactions),
        lists=read_lists(redis_url),
        holds=tuple(holds),
    )


def read_holds(wallets_url: str) -> list[HoldRow]:
    """All holds there ever were, the oldest first."""
    with psycopg.connect(wallets_url) as connection:
        return connection.cursor(row_factory=class_row(HoldRow)).execute(_HOLDS).fetchall()


def read_lists(redis_url: str) -> dict[str, int]:
    """How many IDs are in each list that has any."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        return {str(name): int(client.llen(name)) for name in client.scan_iter(_LISTS)}
