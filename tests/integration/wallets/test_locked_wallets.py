"""A wallet whose row another session keeps locked, and the wallets beside it."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from time import monotonic
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.errors import DomainError, RowLocked
from services.wallets.rules.entities import NewWallet, Owner, Wallet
from services.wallets.rules.ledger import Held
from services.wallets.rules.requests import Credit, Deduct, PlaceHold, Refund, ReleaseHold
from services.wallets.usecases.wallets import WalletsService
from tests.support.until import until

OTHERS = 1000


async def funded(service: WalletsService) -> Wallet:
    created = await service.create(NewWallet(id=uuid7(), customer_id=uuid7()))
    return (await service.credit(credit(created.wallet.owner))).wallet


def credit(owner: Owner) -> Credit:
    return Credit(transaction_id=uuid7(), owner=owner, amount_cents=1000, idempotency_key=str(uuid7()))


def charge(owner: Owner) -> Deduct:
    job_id = uuid7()
    key = f"job:{job_id}"
    return Deduct(transaction_id=uuid7(), owner=owner, amount_cents=1, idempotency_key=key, job_id=job_id)


def hold(owner: Owner) -> PlaceHold:
    return PlaceHold(hold_id=uuid7(), owner=owner, job_id=uuid7(), amount_cents=1)


@contextmanager
def locked(url: str, *wallets: UUID) -> Iterator[None]:
    """Keep rows locked, as a session does that someone left open."""
    with psycopg.connect(url) as other:
        found = other.execute("SELECT FROM wallets WHERE id = ANY(%s) FOR UPDATE", [list(wallets)])
        assert found.rowcount == len(wallets)
        yield


class Times:
    """How long calls took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def of(self, call: Awaitable[object]) -> None:
        began_at = monotonic()
        returned = await call
        self.seconds.append(monotonic() - began_at)
        refused = [one for one in returned if isinstance(one, DomainError)] if isinstance(returned, list) else []
        assert not refused

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]


@pytest.mark.slow
async def test_one_locked_wallet_costs_a_thousand_others_less_than_a_second_and_none_of_them_an_error(
    service: WalletsService, url: str
) -> None:
    stuck, *others = [await funded(service) for _ in range(21)]
    [held] = await service.place_holds([hold(stuck.owner)])
    assert isinstance(held, Held)
    spent = await service.deduct(charge(stuck.owner), ALL_TENANTS)
    times = Times()
    refused: list[object] = []

    async def trouble() -> None:
        """Whatever can be asked of the locked wallet, repeatedly, alone and beside others."""
        refund = Refund(transaction_id=uuid7(), amount_cents=1, charge=spent.transaction.id, idempotency_key="back")
        for _ in range(2):
            calls = [
                service.credit(credit(stuck.owner)),
                service.deduct(charge(stuck.owner), ALL_TENANTS),
                service.refund(refund),
            ]
            refused.extend(await asyncio.gather(*calls, return_exceptions=True))
            refused.extend(await service.release_holds([ReleaseHold(hold_id=held.hold.id)]))
            refused.extend(await service.place_holds([hold(stuck.owner)]))

    async def others_go_on(number: int) -> None:
        owner = others[number % len(others)].owner
        await asyncio.sleep(number / 200)  # one after the other, for some seconds
        match number % 3:
            case 0:
                await times.of(service.credit(credit(owner)))
            case 1:
                await times.of(service.deduct_many([charge(owner), charge(others[0].owner)], ALL_TENANTS))
            case _:
                await times.of(service.place_holds([hold(owner)]))

    with locked(url, stuck.id):
        await asyncio.gather(trouble(), *(others_go_on(number) for number in range(OTHERS)))
    assert [type(one) for one in refused] == [RowLocked] * len(refused)
    assert len(times.seconds) == OTHERS
    assert times.p99 < 1.0
    # It is as good as any other as soon as nobody has it any more.
    assert (await service.credit(credit(stuck.owner))).wallet.current_balance_cents == 1999


async def test_in_a_call_of_many_one_locked_wallet_is_refused_and_the_others_are_served_within_a_second(
    service: WalletsService, url: str
) -> None:
    stuck, *others = [await funded(service) for _ in range(5)]
    requests = [charge(others[number % 4].owner) for number in range(200)]
    requests[100] = charge(stuck.owner)
    with locked(url, stuck.id):
        began_at = monotonic()
        first = await service.deduct_many(requests, ALL_TENANTS)
        again = await service.deduct_many(requests, ALL_TENANTS)
        assert monotonic() - began_at < 2.0
    for results in (first, again):
        assert [number for number, one in enumerate(results) if isinstance(one, DomainError)] == [100]
        assert isinstance(results[100], RowLocked)
    assert not any(isinstance(one, DomainError) for one in await service.deduct_many(requests, ALL_TENANTS))


async def test_a_call_for_a_wallet_that_is_locked_for_a_moment_waits_and_is_served(
    service: WalletsService, url: str
) -> None:
    wallet = await funded(service)
    with locked(url, wallet.id):
        call = asyncio.create_task(service.deduct(charge(wallet.owner), ALL_TENANTS))
        # It has been found locked, and is tried again.
        await until(lambda: service._apply.knows_locked)
    assert (await call).wallet.current_balance_cents == 999


async def test_hundreds_of_locked_wallets_are_found_at_once(service: WalletsService, url: str) -> None:
    wallets = [await funded(service) for _ in range(300)]
    stuck, others = wallets[:250], wallets[250:]
    times = Times()
    with locked(url, *(wallet.id for wallet in stuck)):
        calls = [service.deduct(charge(wallet.owner), ALL_TENANTS) for wallet in stuck]
        trouble = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(*(times.of(service.deduct(charge(wallet.owner), ALL_TENANTS)) for wallet in others))
        refused = await trouble
    assert {type(one) for one in refused} == {RowLocked}
    assert times.p99 < 1.0
