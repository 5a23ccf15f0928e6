"""The SQL reference writes what the services write."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest

from innosystem.client import new_id
from tools.bench.reference import statements as reference_statements
from tools.bench.reference.writer import BATCH, Writer

WALLETS = 150
LIVES = 3 * BATCH


@pytest.fixture
def connections(fresh_database: Callable[[str], str]) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """To databases of jobs and wallets with the services' own tables."""
    with (
        psycopg.connect(fresh_database("jobs"), autocommit=True) as jobs,
        psycopg.connect(fresh_database("wallets"), autocommit=True) as wallets,
    ):
        yield jobs, wallets


def rows(connection: psycopg.Connection, statement: str) -> set[tuple[object, ...]]:
    """What a statement finds."""
    return set(connection.execute(statement).fetchall())


def test_lives_of_jobs_are_whole_and_the_books_agree(
    connections: tuple[psycopg.Connection, psycopg.Connection],
) -> None:
    jobs, wallets = connections
    wallet_ids = [str(new_id()) for _ in range(WALLETS)]
    job_type = new_id()
    wallets.execute(reference_statements.WALLETS, {"wallets": wallet_ids})
    jobs.execute(reference_statements.JOB_TYPE, {"id": job_type})
    Writer(jobs, wallets, wallet_ids, job_type).write(LIVES)
    states = "SELECT status, billing_status, attempt, version, count(*) FROM jobs GROUP BY 1, 2, 3, 4"
    assert rows(jobs, states) == {("SUCCEEDED", "CHARGED", 1, 4, LIVES)}
    assert rows(wallets, "SELECT state, count(*) FROM holds GROUP BY 1") == {("CAPTURED", LIVES)}
    totals = (
        "SELECT sum(1000000000 - current_balance_cents), sum(pending_charges_cents), sum(last_sequence) FROM wallets"
    )
    assert rows(wallets, totals) == {(LIVES, 0, LIVES)}
    charged = rows(wallets, "SELECT job_id, hold_id, id, wallet_id FROM wallet_transactions")
    assert charged == rows(jobs, "SELECT id, hold_id, transaction_id, customer_id FROM jobs")
    lines = "SELECT count(DISTINCT (wallet_id, sequence)), min(balance_after_cents) FROM wallet_transactions"
    assert rows(wallets, lines) == {(LIVES, 1_000_000_000 - LIVES // WALLETS)}


def test_a_batch_that_is_not_written_as_a_whole_is_an_error(
    connections: tuple[psycopg.Connection, psycopg.Connection],
) -> None:
    jobs, wallets = connections
    missing = [str(uuid4()) for _ in range(WALLETS)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        Writer(jobs, wallets, missing, new_id()).write(BATCH)
