"""A balance of the past, once told, is the same for ever: also while others write to the wallet."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from services.wallets.rules.entities import NewWallet, Owner, Wallet
from services.wallets.rules.requests import Credit
from services.wallets.usecases.wallets import WalletsService
from tests.support.until import until_sync
from tests.support.wallets_work import sql_work

_WRITERS = 8
_CREDITS = 25
_CREDIT = """
WITH advanced AS (
    UPDATE wallets SET last_sequence = last_sequence + 1, current_balance_cents = current_balance_cents + 500,
        updated_at = statement_timestamp(), version = version + 1
    WHERE id = %(wallet_id)s RETURNING *
)
INSERT INTO wallet_transactions (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents,
    idempotency_key, created_at)
SELECT %(id)s, id, last_sequence, 'CREDIT', 'FUNDING', 500, current_balance_cents, 'under way', updated_at FROM advanced
RETURNING created_at
"""
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def funded(service: WalletsService) -> Wallet:
    created = await service.create(NewWallet(id=uuid7(), customer_id=uuid7()))
    return (await service.credit(credit(created.wallet.owner))).wallet


def credit(owner: Owner) -> Credit:
    return Credit(transaction_id=uuid7(), owner=owner, amount_cents=1, idempotency_key=str(uuid7()))


async def balance(service: WalletsService, wallet: Wallet, moment: datetime) -> int:
    return (await service.balance_at(wallet.id, moment, ALL_TENANTS)).current_balance_cents


async def test_a_balance_is_not_told_while_a_transaction_of_that_time_is_not_committed(
    service: WalletsService, url: str
) -> None:
    wallet = await funded(service)
    with psycopg.connect(url) as writing, psycopg.connect(url, autocommit=True) as watching:
        [(written_at,)] = writing.execute(_CREDIT, {"id": uuid7(), "wallet_id": wallet.id}).fetchall()
        telling = asyncio.create_task(balance(service, wallet, written_at + timedelta(microseconds=1)))
        # It has asked for the lock, or has returned without it, which is notified below.
        await asyncio.to_thread(
            until_sync, lambda: telling.done() or watching.execute(_WAITING).fetchall()[0][0] > 0, limit_seconds=30
        )
        writing.commit()
    told = await telling
    assert told == await balance(service, wallet, written_at + timedelta(microseconds=1)) == 501


async def test_what_was_told_while_many_write_is_told_again_when_they_have_written(
    service: WalletsService, url: str
) -> None:
    wallet = await funded(service)
    told: list[tuple[datetime, int]] = []
    # Writers of two processes: within one they share transactions.
    database = Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="test")
    services = [service, sql_work(SqlTransactions(database)).service]

    async def write(through: WalletsService) -> None:
        for _ in range(_CREDITS):
            await through.credit(credit(wallet.owner))

    async def ask(until: asyncio.Future[list[None]]) -> None:
        while not until.done():
            # The server is on this machine, so this is just over by its clock as well.
            moment = datetime.now(UTC)
            told.append((moment, await balance(service, wallet, moment)))

    writing = asyncio.gather(*(write(services[n % 2]) for n in range(_WRITERS)))
    await asyncio.gather(writing, *(ask(writing) for _ in range(3)))
    await database.close()
    again = [(moment, await balance(service, wallet, moment)) for moment, _ in told]
    assert sum(before != after for before, after in zip(told, again, strict=True)) == 0
    assert len({cents for _, cents in told}) > 1
