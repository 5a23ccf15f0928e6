"""Charges change wallets in place, and runners their row: the new version goes beside the old one (HOT).

No index is touched then.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from pydantic import SecretStr
from sqlalchemy import event
from uuid_utils.compat import uuid7

from services.jobs.background.announcements import StoredAnnouncements
from services.jobs.rules.runners import Announcement
from services.jobs.store.runners.sql import SqlRunners
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from services.wallets.rules.entities import NewWallet, Owner
from services.wallets.rules.requests import Credit, Deduct, PlaceHold
from tests.conftest import migrations
from tests.support.wallets_work import sql_work
from tools.local.embedded import EmbeddedPostgres

WALLETS = 100
ROUNDS = 20
SECONDS_MAX = 60.0
RUNNERS = 1000
UPDATES = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s"


def credit(owner: Owner) -> Credit:
    """Pays enough in."""
    return Credit(transaction_id=uuid7(), owner=owner, amount_cents=10_000, idempotency_key="top-up")


def charge(hold: PlaceHold) -> Deduct:
    """Charges for the job that a hold is for."""
    return Deduct(
        transaction_id=uuid7(),
        owner=hold.owner,
        amount_cents=hold.amount_cents,
        idempotency_key=f"job:{hold.job_id}",
        job_id=hold.job_id,
        hold_id=hold.hold_id,
    )


async def charge_again_and_again(url: str) -> None:
    """Places a hold on each wallet and captures it, several times."""
    database = Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="test")
    try:
        transactions = SqlTransactions(database)
        work = sql_work(transactions)
        owners = [Owner(uuid7(), "EUR") for _ in range(WALLETS)]
        for owner in owners:
            await work.service.create(NewWallet(id=uuid7(), customer_id=owner.customer_id))
        async with transactions.begin():
            await work.ledger.apply([credit(owner) for owner in owners])
        for _ in range(ROUNDS):
            holds = [PlaceHold(hold_id=uuid7(), job_id=uuid7(), owner=owner, amount_cents=1) for owner in owners]
            async with transactions.begin():
                await work.ledger.apply(holds)
            async with transactions.begin():
                await work.ledger.apply([charge(hold) for hold in holds])
    finally:
        await database.close()


def updates(url: str, table: str, expected: int) -> tuple[int, int]:
    """How many updates there were of a table, and how many of them in place, when all are counted."""
    limit = time.monotonic() + SECONDS_MAX
    while True:
        with psycopg.connect(url, autocommit=True) as connection:
            [(all_, in_place)] = connection.execute(UPDATES, [table]).fetchall()
        if all_ >= expected:
            return all_, in_place
        assert time.monotonic() < limit, f"only {all_} updates"


@contextmanager
def database_of(service: str) -> Iterator[str]:
    """Create an empty, migrated database on a server of its own.

    While a transaction that has written runs in any database of a server, what was replaced since then may stay, and a
    page has no room for the next version: the tests beside this one have such transactions.
    """
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), {"fsync": "off"}) as server:
        server.create_database(service)
        migrations(service, server.url(service)).up()
        yield server.url(service)


async def test_nine_of_ten_charges_change_their_wallet_in_place() -> None:
    with database_of("wallets") as url:
        await charge_again_and_again(url)
        # A credit, then a hold and a charge a round.
        all_, in_place = updates(url, "wallets", WALLETS * (1 + 2 * ROUNDS))
    assert in_place / all_ >= 0.9


async def announce_again_and_again(url: str) -> int:
    """Have a thousand runners describe themselves several times; return the number of statements."""
    database = Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="test")
    statements: list[str] = []
    event.listen(database._engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    try:
        transactions = SqlTransactions(database)
        stored = StoredAnnouncements(transactions, SqlRunners(transactions))
        handlers = [f"handler-{number}" for number in range(20)]
        ids = [uuid7() for _ in range(RUNNERS)]
        for turn in range(ROUNDS):
            for one in ids:
                stored.put(Announcement(runner_id=one, queues=["default"], handlers=handlers, busy=turn))
            while await stored.round():
                pass
    finally:
        await database.close()
    return sum("runners" in statement for statement in statements)


async def test_a_thousand_runners_cost_two_statements_a_turn_and_are_updated_in_place() -> None:
    expected = RUNNERS * (ROUNDS - 1)
    with database_of("jobs") as url:
        assert await announce_again_and_again(url) == ROUNDS * 2
        all_, in_place = updates(url, "runners", expected)
    assert all_ == expected
    # Those that found no room on their page.
    assert in_place / all_ > 0.9
