"""Three databases with books that are right, and ways to damage them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import tuple_row
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services import SERVICES
from services.kit.settings import DatabaseSettings
from tools.verify.findings import Limits, VerifyReport
from tools.verify.repair import ReleaseHold, Repairer
from tools.verify.store.books import open_books
from tools.verify.verification import verify

_JOB_TYPE = """
INSERT INTO job_types (id, name, processing_logic_id, processor_type, standard_cost_cents, currency, queue,
    default_priority, max_attempts, timeout, expires_after, retry_initial_backoff, retry_max_backoff, retry_multiplier,
    request_digest)
VALUES (%(id)s, 'type', 'echo', 'ASYNC', 5, 'EUR', 'default', 1, 1, '1 min', '1 day', '1 s', '1 min', 2, '')
"""
_TRANSACTION = """
INSERT INTO wallet_transactions (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents,
    idempotency_key, job_id, created_at)
VALUES (%(id)s, %(wallet_id)s, %(sequence)s, %(kind)s, %(counter_account)s, %(amount_cents)s, %(balance)s, %(key)s,
    %(job_id)s, %(created_at)s)
"""
_ADVANCE = """
UPDATE wallets SET last_sequence = last_sequence + 1, version = version + 1, updated_at = now(),
    current_balance_cents = current_balance_cents + %(amount_cents)s
WHERE id = %(wallet_id)s RETURNING last_sequence, current_balance_cents, updated_at
"""
PRICE = 5


class Servers:
    """The three databases, each statement its own transaction."""

    def __init__(self, customers_url: str, wallets_url: str, jobs_url: str) -> None:
        self.urls = {"customers": customers_url, "wallets": wallets_url, "jobs": jobs_url}
        self.customers = psycopg.connect(customers_url, autocommit=True, row_factory=tuple_row)
        self.wallets = psycopg.connect(wallets_url, autocommit=True, row_factory=tuple_row)
        self.jobs = psycopg.connect(jobs_url, autocommit=True, row_factory=tuple_row)
        self.job_type_id = uuid7()
        self.jobs.execute(_JOB_TYPE, {"id": self.job_type_id})

    def close(self) -> None:
        """Ends the connections."""
        for connection in (self.customers, self.wallets, self.jobs):
            connection.close()

    @contextmanager
    def unguarded(self) -> Iterator[None]:
        """Takes the trigger away that keeps the ledger append-only."""
        self.wallets.execute("ALTER TABLE wallet_transactions DISABLE TRIGGER USER")
        yield
        self.wallets.execute("ALTER TABLE wallet_transactions ENABLE TRIGGER USER")


class Platform(Servers):
    """What the services would have written."""

    def customer(self, customer_id: UUID | None = None) -> UUID:
        """A customer."""
        customer_id = customer_id or UUID(str(uuid7()))
        self.customers.execute(
            "INSERT INTO customers (id, name, email, request_digest) VALUES (%s, 'Ada', %s, '')",
            (customer_id, f"{customer_id}@example.com"),
        )
        return customer_id

    def wallet(self, customer_id: UUID, currency: str = "EUR", cents: int = 1000) -> UUID:
        """A wallet with some money."""
        wallet_id = uuid7()
        self.wallets.execute(
            "INSERT INTO wallets (id, customer_id, currency) VALUES (%s, %s, %s)", (wallet_id, customer_id, currency)
        )
        self.transaction(wallet_id, "CREDIT", cents)
        return wallet_id

    def transaction(self, wallet_id: UUID, kind: str, cents: int, job_id: UUID | None = None) -> UUID:
        """A line of a statement."""
        [(sequence, balance, created_at)] = self.wallets.execute(
            _ADVANCE, {"wallet_id": wallet_id, "amount_cents": cents}
        ).fetchall()
        values = {
            "id": uuid7(),
            "wallet_id": wallet_id,
            "sequence": sequence,
            "kind": kind,
            "counter_account": "FUNDING" if kind == "CREDIT" else "REVENUE",
            "amount_cents": cents,
            "balance": balance,
            "key": f"job:{job_id}" if job_id else f"key:{sequence}",
            "job_id": job_id,
            "created_at": created_at,
        }
        self.wallets.execute(_TRANSACTION, values)
        return UUID(str(values["id"]))

    def deduction(self, wallet_id: UUID, job_id: UUID, cents: int = PRICE) -> UUID:
        """A charge."""
        return self.transaction(wallet_id, "DEDUCTION", -cents, job_id)

    def deduction_again(self, wallet_id: UUID, job_id: UUID) -> None:
        """Add a second charge of a job, as an upgrade leaves one from before the constraint."""
        alter, trigger = "ALTER TABLE wallet_transactions", "TRIGGER wallet_transactions_append_only"
        with self.wallets.transaction():
            self.wallets.execute("DROP INDEX uq_wallet_transactions_charged_job")
            self.wallets.execute(f"{alter} DISABLE {trigger}".encode())
            again = self.deduction(wallet_id, job_id)
            self.wallets.execute("UPDATE wallet_transactions SET charged_again = true WHERE id = %s", (again,))
            self.wallets.execute(f"{alter} ENABLE ALWAYS {trigger}".encode())

    def hold(self, wallet_id: UUID, job_id: UUID, age: timedelta = timedelta()) -> UUID:
        """An active hold of the price."""
        hold_id = uuid7()
        self.wallets.execute(
            "INSERT INTO holds (id, wallet_id, job_id, amount_cents, state, created_at)"
            " VALUES (%s, %s, %s, %s, 'ACTIVE', now() - %s)",
            (hold_id, wallet_id, job_id, PRICE, age),
        )
        self._reserve(wallet_id, PRICE)
        return hold_id

    def end_hold(self, hold_id: UUID) -> None:
        """Releases a hold."""
        [(wallet_id,)] = self.wallets.execute(
            "UPDATE holds SET state = 'RELEASED', resolved_at = now() WHERE id = %s RETURNING wallet_id", (hold_id,)
        ).fetchall()
        self._reserve(wallet_id, -PRICE)

    def _reserve(self, wallet_id: UUID, cents: int) -> None:
        self.wallets.execute(
            "UPDATE wallets SET pending_charges_cents = pending_charges_cents + %s WHERE id = %s", (cents, wallet_id)
        )

    def job(self, customer_id: UUID, job_id: UUID | None = None, **values: Any) -> UUID:
        """A job; the columns that are not given are those of one that waits."""
        columns: dict[str, Any] = {
            "id": job_id or uuid7(),
            "customer_id": customer_id,
            "job_type_id": self.job_type_id,
            "status": "PENDING",
            "billing_status": "UNHELD",
            "priority": 1,
            "queue": "default",
            "input_data": "{}",
            "input_bytes": 2,
            "estimated_cost_cents": PRICE,
            "currency": "EUR",
            "max_attempts": 1,
            "request_digest": b"",
            "expires_at": "2100-01-01T00:00:00Z",
            "created_at": "2026-01-01T00:00:00Z",
            **values,
        }
        names = ", ".join(columns)
        places = ", ".join(f"%({name})s" for name in columns)
        # The names are those above and in the tests.
        self.jobs.execute(f"INSERT INTO jobs ({names}) VALUES ({places})".encode(), columns)
        return UUID(str(columns["id"]))

    def done(self, customer_id: UUID, job_id: UUID | None = None, **values: Any) -> UUID:
        """A job that has succeeded."""
        return self.job(customer_id, job_id, **{**DONE, **values})

    def charged(self, customer_id: UUID, wallet_id: UUID) -> tuple[UUID, UUID]:
        """A job that was done and charged: its ID and its transaction."""
        job_id = uuid7()
        transaction_id = self.deduction(wallet_id, job_id)
        self.done(customer_id, job_id, billing_status="CHARGED", transaction_id=transaction_id)
        return job_id, transaction_id

    def row(self, job_id: UUID, *columns: str) -> tuple[Any, ...]:
        """Columns of a job."""
        [row] = self.jobs.execute(f"SELECT {', '.join(columns)} FROM jobs WHERE id = %s".encode(), (job_id,)).fetchall()
        return tuple(row)

    async def verified(self, release: ReleaseHold | None = None, **arguments: Any) -> VerifyReport:
        """Check these books, by default without a grace time, and repair them if `release` is given."""
        limits = arguments.pop("limits", Limits(grace=timedelta()))
        settings = {name: DatabaseSettings(url=SecretStr(url)) for name, url in self.urls.items()}
        async with open_books(**settings, limits=limits) as opened:
            repairing = Repairer(opened.repairs, release) if release else None
            return await verify(opened.books, limits=limits, repairing=repairing, **arguments)


DONE = {
    "status": "SUCCEEDED",
    "output_data": "{}",
    "cost_cents": PRICE,
    "started_at": "2026-01-01T00:00:00Z",
    "completed_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def platform(fresh_database: Callable[[str], str]) -> Iterator[Platform]:
    """Empty databases."""
    made = Platform(*(fresh_database(service) for service in SERVICES))
    yield made
    made.close()


@pytest.fixture
def customer_id(platform: Platform) -> UUID:
    """Whose jobs and wallet it is all about."""
    return platform.customer()


@pytest.fixture
def wallet_id(platform: Platform, customer_id: UUID) -> UUID:
    """The customer's wallet. Around it are books that are right, with one of each."""
    other = platform.customer()
    others = platform.wallet(other)
    for _ in range(3):
        platform.charged(other, others)
    kept = UUID(str(uuid7()))
    platform.jobs.execute(
        "INSERT INTO receipts (job_id, customer_id, currency, cost_cents, transaction_id, completed_at)"
        " VALUES (%s, %s, 'EUR', 5, %s, now())",
        (kept, other, platform.deduction(others, kept)),
    )
    waiting = UUID(str(uuid7()))
    platform.job(other, waiting, billing_status="HELD", hold_id=platform.hold(others, waiting, timedelta(days=1)))
    platform.job(other, status="FAILED", billing_status="RELEASED", completed_at="2026-01-01T00:00:00Z")
    return platform.wallet(customer_id)
