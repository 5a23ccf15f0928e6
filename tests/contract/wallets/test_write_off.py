"""Write-offs on both repositories: two lines or none, once a job, also when several come at the same moment."""

import asyncio
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import IdempotencyKeyReused
from services.wallets.rules.entities import Wallet
from services.wallets.rules.errors import (
    AlreadyCharged,
    HoldActive,
    HoldNotActive,
    InsufficientFunds,
    RefundExceedsCharge,
)
from services.wallets.rules.ledger import Accepted, WrittenOff
from services.wallets.rules.requests import JobCharge, WriteOff
from services.wallets.usecases.wallets import WalletsService
from tests.contract.wallets.test_holds_and_refunds import charge, funded, held, place, refund, released, verified
from tests.support.wallets_work import BeginWallets, sql_work


def write_off(wallet: Wallet, cents: int, job_id: UUID, hold_id: UUID | None = None) -> WriteOff:
    return WriteOff(
        adjustment_id=uuid7(),
        deduction_id=uuid7(),
        owner=wallet.owner,
        amount_cents=cents,
        job_id=job_id,
        hold_id=hold_id,
        description="never paid",
    )


async def test_a_declined_charge_is_written_off_and_answered_ever_after(
    service: WalletsService, begin: BeginWallets
) -> None:
    wallet = await funded(service, 10)
    declined = charge(place(wallet.owner, 30), 30)
    with pytest.raises(InsufficientFunds):
        await service.deduct(declined, ALL_TENANTS)
    assert declined.job_id is not None
    request = write_off(wallet, 30, declined.job_id, declined.hold_id)
    done = await service.write_off(request)
    assert not done.replayed
    assert await service.get(wallet.id, ALL_TENANTS) == done.wallet
    assert (done.wallet.current_balance_cents, done.wallet.last_sequence) == (10, 3)
    assert (await service.get_transaction(request.adjustment_id, ALL_TENANTS))[1] == done.adjustment
    assert (await service.get_transaction(request.deduction_id, ALL_TENANTS))[1] == done.transaction
    again = await service.write_off(write_off(wallet, 30, declined.job_id, declined.hold_id))
    assert (again.adjustment, again.transaction, again.replayed) == (done.adjustment, done.transaction, True)
    charged = await service.deduct(declined, ALL_TENANTS)
    assert (charged.transaction, charged.replayed) == (done.transaction, True)
    found = await verified(begin)
    assert found.offenders == []
    trial = found.trials["EUR"]
    assert (trial.balance_cents, trial.funding_cents, trial.revenue_cents, trial.adjustment_cents) == (10, 10, -30, 30)


async def test_a_refused_write_off_writes_nothing(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    await held(service, placed := place(wallet.owner, 60))
    with pytest.raises(HoldActive):
        await service.write_off(write_off(wallet, 60, placed.job_id, placed.hold_id))
    charged = await service.deduct(charge(placed, 60), ALL_TENANTS)
    with pytest.raises(AlreadyCharged) as error:
        await service.write_off(write_off(wallet, 60, placed.job_id, placed.hold_id))
    assert error.value.transaction_id == charged.transaction.id
    assert await service.get(wallet.id, ALL_TENANTS) == charged.wallet


async def test_the_same_job_with_another_amount_is_refused(service: WalletsService) -> None:
    wallet = await funded(service, 10)
    done = await service.write_off(write_off(wallet, 30, job_id := uuid7()))
    with pytest.raises(IdempotencyKeyReused) as error:
        await service.write_off(write_off(wallet, 29, job_id))
    assert error.value.fields == ("amount_cents",)
    assert await service.get(wallet.id, ALL_TENANTS) == done.wallet


async def test_a_hold_that_was_released_does_not_keep_its_job_from_being_written_off(service: WalletsService) -> None:
    wallet = await funded(service, 60)
    await held(service, placed := place(wallet.owner, 60))
    await released(service, placed.hold_id)
    done = await service.write_off(write_off(wallet, 60, placed.job_id, placed.hold_id))
    assert (done.wallet.current_balance_cents, done.wallet.pending_charges_cents) == (60, 0)


async def test_a_hold_that_a_write_off_has_named_before_it_was_placed_is_never_placed(service: WalletsService) -> None:
    wallet = await funded(service, 60)
    late = place(wallet.owner, 60)
    done = await service.write_off(write_off(wallet, 60, late.job_id, late.hold_id))
    [placed] = await service.place_holds([late])
    assert isinstance(placed, HoldNotActive)
    assert await service.get(wallet.id, ALL_TENANTS) == done.wallet
    assert (await service.write_off(write_off(wallet, 60, late.job_id, late.hold_id))).replayed


async def test_what_was_written_off_can_not_be_refunded_by_job_or_transaction(service: WalletsService) -> None:
    wallet = await funded(service, 10)
    done = await service.write_off(write_off(wallet, 30, job_id := uuid7()))
    for request in (
        refund(0, charge=JobCharge(job_id)),
        refund(1, charge=done.transaction.id),
    ):
        with pytest.raises(RefundExceedsCharge) as error:
            await service.refund(request)
        assert error.value.refundable_cents == 0


async def test_a_charge_beside_a_write_off_can_still_be_refunded(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    await service.write_off(write_off(wallet, 30, uuid7()))
    await held(service, placed := place(wallet.owner, 60))
    await service.deduct(charge(placed, 60), ALL_TENANTS)
    back = await service.refund(refund(0, charge=JobCharge(placed.job_id)))
    assert back.wallet.current_balance_cents == 100


async def test_charges_and_write_offs_of_one_job_at_once_make_one_deduction(databases: list[Database]) -> None:
    works = [sql_work(SqlTransactions(database)) for database in databases]
    first, second = (work.service for work in works)
    for cents in (0, 1000):
        wallet = (await funded(first, cents)) if cents else await funded(first, 1)
        placed = place(wallet.owner, 30)
        writing = [
            service.write_off(write_off(wallet, 30, placed.job_id, placed.hold_id)) for service in (first, second) * 4
        ]
        charging = [service.deduct(charge(placed, 30), ALL_TENANTS) for service in (first, second) * 4]
        responses = await asyncio.gather(*writing, *charging, return_exceptions=True)
        done = [one for one in responses if isinstance(one, Accepted)]
        assert sum(not one.replayed for one in done) == 1
        assert len({one.transaction.id for one in done}) == 1
        refused = {type(one) for one in responses if not isinstance(one, Accepted)}
        assert refused <= {AlreadyCharged, InsufficientFunds}
        paid_cents = 0 if any(isinstance(one, WrittenOff) for one in done) else 30
        stored = await first.get(wallet.id, ALL_TENANTS)
        assert stored.current_balance_cents == wallet.current_balance_cents - paid_cents
        assert stored.last_sequence == (2 if paid_cents else 3)
