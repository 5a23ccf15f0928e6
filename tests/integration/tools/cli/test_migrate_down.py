"""`innosystem migrate down` takes nothing with it that nobody agreed to, and no money of customers (ADR 0054)."""

from collections.abc import Iterator
from io import StringIO
from uuid import uuid4

import psycopg
import pytest
from alembic import command

from tests.conftest import PostgresServer, migrations
from tools.cli.__main__ import main

HOLDS = "7c2e41b90d58"
BEFORE_HOLDS = "adf7c563dbef"

WALLET = """INSERT INTO wallets (id, customer_id, current_balance_cents, pending_charges_cents)
    VALUES (%(wallet)s, gen_random_uuid(), 100, 60)"""
HOLD = """INSERT INTO holds (id, wallet_id, job_id, amount_cents, state)
    VALUES (gen_random_uuid(), %(wallet)s, gen_random_uuid(), 60, 'ACTIVE')"""
ENTRY = """INSERT INTO wallet_transactions
    (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents, idempotency_key)
    VALUES (gen_random_uuid(), %(wallet)s, 1, 'CREDIT', 'FUNDING', 100, 100, 'a')"""


@pytest.fixture
def database(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[str]:
    """The address of a wallets database, which the command finds in its environment."""
    postgres.create_database(name := f"down_{uuid4().hex}")
    url = postgres.url(name)
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.delenv("WALLETS_DATABASE_OWNER_URL", raising=False)
    monkeypatch.setenv("WALLETS_DATABASE_URL", url)
    assert main(["migrate", "up", "wallets"]) == 0
    yield url
    postgres.drop_database(name)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode(), {"wallet": "00000000-0000-0000-0000-000000000001"})


def revision(url: str) -> str | None:
    return migrations("wallets", url).current()


@pytest.mark.parametrize("arguments", [[], ["wallets"], ["--to", "-1"], ["--yes"]])
def test_the_service_and_the_revision_have_to_be_named(
    database: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = revision(database)
    assert main(["migrate", "down", *arguments]) != 0
    assert revision(database) == before


def test_without_a_terminal_and_without_yes_nothing_is_done(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = revision(database)
    assert main(["migrate", "down", "wallets", "--to", "-1"]) == 1
    assert "--yes" in capsys.readouterr().err
    assert revision(database) == before


def test_a_dry_run_says_what_would_be_rolled_back_and_lost(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(database, WALLET.replace("60", "0"))
    before = revision(database)
    assert main(["migrate", "down", "wallets", "--to", "base", "--dry-run"]) == 0
    told = capsys.readouterr().err
    assert f"rolls back {HOLDS}: Holds, refunds of all that is left" in told
    for loss in ("table holds with 0 rows", "table wallets with 1 rows", "table audit_log with 0 rows"):
        assert f"wallets: loses {loss}\n" in told
    assert revision(database) == before


def test_with_yes_it_goes_to_the_revision_that_is_named(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "down", "wallets", "--to", BEFORE_HOLDS, "--yes"]) == 0
    told = capsys.readouterr()
    assert "column requested_amount_cents of wallet_transactions, which has 0 rows" in told.err
    assert told.out.endswith(f"-> {BEFORE_HOLDS}\n")
    assert revision(database) == BEFORE_HOLDS


@pytest.mark.parametrize("wanted", ["nowhere", "-99", "ffff"])
def test_a_revision_that_is_not_on_the_way_back_is_refused(
    database: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = revision(database)
    assert main(["migrate", "down", "wallets", "--to", wanted, "--yes"]) == 1
    assert f"to {wanted}" in capsys.readouterr().err
    assert revision(database) == before


def test_below_the_holds_it_is_refused_while_they_reserve_money_and_nothing_is_rolled_back(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(database, WALLET, HOLD)
    before = revision(database)
    assert main(["migrate", "down", "wallets", "--to", BEFORE_HOLDS, "--yes"]) == 1
    told = capsys.readouterr().err
    # Before the plan and the confirmation.
    assert "refused, and nothing was done: 1 active holds reserve money of customers" in told
    assert "rolls back" not in told
    assert revision(database) == before
    # To where the holds are still there it may go.
    assert main(["migrate", "down", "wallets", "--to", HOLDS, "--yes"]) == 0


def test_a_hold_that_comes_after_the_look_stops_the_revision_itself(database: str) -> None:
    execute(database, WALLET, HOLD)
    with psycopg.connect(database) as connection, pytest.raises(psycopg.errors.RaiseException, match="active holds"):
        connection.execute(down_sql(database, HOLDS, BEFORE_HOLDS).encode())


def test_the_ledger_of_customers_is_never_dropped(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute(database, WALLET.replace("60", "0"), ENTRY)
    before = revision(database)
    assert main(["migrate", "down", "wallets", "--to", "base", "--yes"]) == 1
    told = capsys.readouterr().err
    assert "refused, and nothing was done: the ledger has entries" in told
    assert "rolls back" not in told
    assert revision(database) == before


def down_sql(url: str, start: str, end: str) -> str:
    """The statements of a way back, without those of Alembic's own table."""
    printed = StringIO()
    command.downgrade(migrations("wallets", url)._config(output=printed), f"{start}:{end}", sql=True)
    return printed.getvalue()
