"""A job is charged once in the whole ledger, whichever wallet it is, also when two come at the same moment."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.wallets.rules.entities import Wallet
from services.wallets.rules.errors import AlreadyCharged
from services.wallets.rules.ledger import Accepted, Decision
from services.wallets.rules.requests import Deduct, WriteOff
from services.wallets.usecases.wallets import WalletsService
from tests.contract.wallets.test_holds_and_refunds import funded
from tests.support.wallets_work import sql_work


def charge(wallet: Wallet, job_id: UUID, cents: int = 10) -> Deduct:
    return Deduct(
        transaction_id=uuid7(), owner=wallet.owner, amount_cents=cents, idempotency_key=f"job:{job_id}", job_id=job_id
    )


def write_off(wallet: Wallet, job_id: UUID) -> WriteOff:
    return WriteOff(
        adjustment_id=uuid7(), deduction_id=uuid7(), owner=wallet.owner, amount_cents=10, job_id=job_id, hold_id=None
    )


def charged_by(decision: Decision) -> UUID:
    assert isinstance(decision, AlreadyCharged), decision
    return decision.transaction_id


async def test_a_job_that_another_wallet_was_charged_for_is_refused_with_that_charge(service: WalletsService) -> None:
    first, second = await funded(service, 100), await funded(service, 100)
    charged = await service.deduct(charge(first, job_id := uuid7()), ALL_TENANTS)
    with pytest.raises(AlreadyCharged) as error:
        await service.deduct(charge(second, job_id), ALL_TENANTS)
    assert (error.value.job_id, error.value.transaction_id) == (job_id, charged.transaction.id)
    assert await service.get(second.id, ALL_TENANTS) == second
    # Nothing has changed for the wallet that was charged.
    again = await service.deduct(charge(first, job_id), ALL_TENANTS)
    assert (again.transaction, again.replayed) == (charged.transaction, True)


async def test_the_others_of_a_batch_are_charged(service: WalletsService) -> None:
    first, second = await funded(service, 100), await funded(service, 100)
    charged = await service.deduct(charge(first, job_id := uuid7()), ALL_TENANTS)
    one, two, three = await service.deduct_many(
        [charge(second, uuid7()), charge(second, job_id), charge(second, uuid7())], ALL_TENANTS
    )
    assert charged_by(two) == charged.transaction.id
    assert isinstance(one, Accepted)
    assert isinstance(three, Accepted)
    assert (await service.get(second.id, ALL_TENANTS)).current_balance_cents == 80


async def test_the_second_charge_of_one_batch_is_refused_with_the_first(service: WalletsService) -> None:
    first, second = await funded(service, 100), await funded(service, 100)
    job_id = uuid7()
    one, two = await service.deduct_many([charge(first, job_id), charge(second, job_id)], ALL_TENANTS)
    assert isinstance(one, Accepted)
    assert charged_by(two) == one.transaction.id
    assert await service.get(second.id, ALL_TENANTS) == second


async def test_a_job_that_another_wallet_was_charged_for_is_not_written_off(service: WalletsService) -> None:
    first, second = await funded(service, 100), await funded(service, 100)
    charged = await service.deduct(charge(first, job_id := uuid7()), ALL_TENANTS)
    with pytest.raises(AlreadyCharged) as error:
        await service.write_off(write_off(second, job_id))
    assert error.value.transaction_id == charged.transaction.id
    assert await service.get(second.id, ALL_TENANTS) == second


async def test_a_job_that_was_written_off_is_not_charged_elsewhere(service: WalletsService) -> None:
    first, second = await funded(service, 100), await funded(service, 100)
    done = await service.write_off(write_off(first, job_id := uuid7()))
    with pytest.raises(AlreadyCharged) as error:
        await service.deduct(charge(second, job_id), ALL_TENANTS)
    assert error.value.transaction_id == done.transaction.id


async def test_who_comes_while_another_wallet_is_being_charged_waits_and_is_told_by_what(
    databases: list[Database],
) -> None:
    work, other = (sql_work(SqlTransactions(database)) for database in databases)
    first, second = await funded(work.service, 100), await funded(work.service, 100)
    job_id = uuid7()
    async with work.transactions.begin():
        [made] = await work.ledger.apply([charge(first, job_id)])
        assert isinstance(made, Accepted)
        waiting = asyncio.create_task(
            other.service.deduct_many([charge(second, job_id), charge(second, uuid7())], ALL_TENANTS)
        )
        async with asyncio.timeout(30):
            # The index's entry is there, and whether it stays is not known.
            while not await is_waited_for(work.transactions.resource):
                assert not waiting.done()
    two, three = await waiting
    assert charged_by(two) == made.transaction.id
    assert isinstance(three, Accepted)


async def is_waited_for(connection: AsyncConnection) -> bool:
    """Whether someone waits for the end of the transaction that is open."""
    mine = "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = CAST(pg_current_xact_id() AS xid)"
    return bool((await connection.execute(text(mine))).scalar_one())


async def test_many_at_the_same_moment_charge_each_job_once(databases: list[Database]) -> None:
    services = [sql_work(SqlTransactions(database)).service for database in databases]
    wallets = [await funded(services[0], 1000) for _ in range(4)]
    jobs = [uuid7() for _ in range(10)]
    decisions = await asyncio.gather(
        *(
            services[n % 2].deduct_many(
                [charge(wallet, job_id) for job_id in (jobs if n % 2 else reversed(jobs))], ALL_TENANTS
            )
            for n, wallet in enumerate(wallets)
        )
    )
    made = [one for some in decisions for one in some if isinstance(one, Accepted)]
    assert sorted(one.transaction.job_id for one in made if one.transaction.job_id) == sorted(jobs)
    by_job = {one.transaction.job_id: one.transaction.id for one in made}
    refused = [one for some in decisions for one in some if not isinstance(one, Accepted)]
    assert len(refused) == 30
    assert all(isinstance(one, AlreadyCharged) and by_job[one.job_id] == one.transaction_id for one in refused)
