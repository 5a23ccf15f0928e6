"""Charges change wallets in place: the new version goes beside the old one, and no index is touched (HOT)."""

import time
from collections.abc import Callable

import psycopg
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.kit.data.database import Database
from services.kit.data.transactions_sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from services.wallets.domain import NewWallet, Owner
from services.wallets.requests import Credit, Deduct, PlaceHold
from tests.wallets_work import sql_work

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


async def test_nine_of_ten_charges_change_their_wallet_in_place(fresh_database: Callable[[str], str]) -> None:
    url = fresh_database("wallets")
    await charge_again_and_again(url)
    all_, in_place = updates(url)
    assert in_place / all_ >= 0.9
