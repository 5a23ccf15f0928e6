"""Charges change wallets in place: the new version goes beside the old one, and no index is touched (HOT)."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

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
UPDATES = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'wallets'"


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


def updates(url: str) -> tuple[int, int]:
    """How many updates there were of wallets, and how many of them in place, when all are counted."""
    limit = time.monotonic() + SECONDS_MAX
    while True:
        with psycopg.connect(url, autocommit=True) as connection:
            [(all_, in_place)] = connection.execute(UPDATES).fetchall()
        # A credit, then a hold and a charge a round.
        if all_ >= WALLETS * (1 + 2 * ROUNDS):
            return all_, in_place
        assert time.monotonic() < limit, f"only {all_} updates"


@pytest.fixture
def wallets_url() -> Iterator[str]:
    """An empty, migrated database on a server of its own.

    While a transaction that has written runs in any database of a server, what was replaced since then may stay, and a
    page has no room for the next version: the tests beside this one have such transactions.
    """
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), {"fsync": "off"}) as server:
        server.create_database("wallets")
        migrations("wallets", server.url("wallets")).up()
        yield server.url("wallets")


async def test_nine_of_ten_charges_change_their_wallet_in_place(wallets_url: str) -> None:
    await charge_again_and_again(wallets_url)
    all_, in_place = updates(wallets_url)
    assert in_place / all_ >= 0.9
