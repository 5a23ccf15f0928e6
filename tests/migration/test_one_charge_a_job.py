"""A ledger with jobs that were charged twice, before a constraint prevented it, is upgraded and reports them."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import RestrictViolation, UniqueViolation

from tests.conftest import migrations

BEFORE, MARKABLE, AFTER = "c07e6f3b2d18", "d15c3e80b7f2", "e7a40b96d51c"
INDEXES = """
SELECT indexrelid::regclass::text, indisvalid FROM pg_index
WHERE indrelid = 'wallet_transactions'::regclass AND indexrelid::regclass::text LIKE '%job%'
"""
WALLETS = """
INSERT INTO wallets (id, customer_id, currency, current_balance_cents, last_sequence)
SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, gen_random_uuid(), 'EUR', 100, 10
FROM generate_series(1, 3) n
"""
CHARGE = """
INSERT INTO wallet_transactions (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents,
    idempotency_key, job_id, created_at)
SELECT gen_random_uuid(), ('00000000-0000-0000-0000-00000000000' || %(wallet)s)::uuid, %(line)s, 'DEDUCTION', 'REVENUE',
    -1, 100, 'job:' || %(job)s, %(job)s::uuid, now() + %(wallet)s * interval '1 second'
"""
JOBS = [f"10000000-0000-0000-0000-00000000000{n}" for n in range(3)]
MARKED = "SELECT job_id::text, right(wallet_id::text, 1) FROM wallet_transactions WHERE charged_again ORDER BY 1, 2"


def charge(connection: psycopg.Connection, job: str, wallet: int) -> None:
    connection.execute(CHARGE, {"job": job, "wallet": wallet, "line": JOBS.index(job) + 1})


@pytest.fixture
def charged(empty_database: str) -> Iterator[psycopg.Connection]:
    """A ledger of the release before, in which one job was charged three times, one twice, and one once."""
    migrations("wallets", empty_database).up(BEFORE)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(WALLETS)
        for job, wallets in zip(JOBS, ((1, 2, 3), (1, 2), (3,)), strict=True):
            for wallet in wallets:
                charge(connection, job, wallet)
        yield connection


def test_what_was_charged_again_is_marked_and_nothing_more_can_be(
    charged: psycopg.Connection, empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = migrations("wallets", empty_database)
    steps.up(AFTER)
    assert charged.execute(MARKED).fetchall() == [(JOBS[0], "2"), (JOBS[0], "3"), (JOBS[1], "2")]
    told = capsys.readouterr().err
    assert "3 deductions charge a job that another wallet was charged for before" in told
    assert "innosystem verify" in told
    with pytest.raises(UniqueViolation, match="uq_wallet_transactions_charged_job"):
        charge(charged, JOBS[2], 1)
    # And the ledger is as immutable as before.
    with pytest.raises(RestrictViolation):
        charged.execute("UPDATE wallet_transactions SET charged_again = NULL")
    steps.up()
    assert steps.differences() == []
    steps.down(BEFORE)
    assert charged.execute(INDEXES).fetchall() == [("ix_wallet_transactions_job_id", True)]


def test_an_interrupted_upgrade_resumes(charged: psycopg.Connection, empty_database: str) -> None:
    steps = migrations("wallets", empty_database)
    steps.up(MARKABLE)
    # What PostgreSQL leaves of an index that it can't make.
    with pytest.raises(UniqueViolation):
        charged.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY uq_wallet_transactions_charged_job ON wallet_transactions (job_id)"
        )
    assert ("uq_wallet_transactions_charged_job", False) in charged.execute(INDEXES).fetchall()
    steps.up(AFTER)
    assert charged.execute(INDEXES).fetchall() == [("uq_wallet_transactions_charged_job", True)]


def test_a_ledger_without_such_charges_is_upgraded_in_silence(
    empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = migrations("wallets", empty_database)
    steps.up()
    assert capsys.readouterr().err == ""
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert connection.execute(INDEXES).fetchall() == [("uq_wallet_transactions_charged_job", True)]
