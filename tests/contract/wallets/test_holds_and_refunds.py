"""Holds, refunds, past balances and the check of the books on both repositories: what one promises, the other keeps."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.errors import DomainError, IdempotencyKeyReused, InvalidField
from services.kit.query.listing import Listing
from services.kit.query.page import PageTokens
from services.wallets.rules.books import START, Findings, TrialBalance
from services.wallets.rules.entities import HoldState, NewWallet, Owner, Wallet
from services.wallets.rules.errors import (
    HoldMismatch,
    HoldNotActive,
    HoldNotFound,
    InsufficientFunds,
    RefundExceedsCharge,
    TransactionNotFound,
)
from services.wallets.rules.ledger import Accepted, Held
from services.wallets.rules.requests import (
    ChargeReference,
    Credit,
    Deduct,
    JobCharge,
    PlaceHold,
    Refund,
    ReleaseHold,
)
from services.wallets.rules.resources import HOLDS
from services.wallets.usecases.wallets import WalletsService
from tests.support.wallets_work import BeginWallets

LISTED = Listing(HOLDS, PageTokens(b"0123456789abcdef"))


async def funded(service: WalletsService, cents: int) -> Wallet:
    created = await service.create(NewWallet(id=uuid7(), customer_id=uuid7()))
    request = Credit(transaction_id=uuid7(), owner=created.wallet.owner, amount_cents=cents, idempotency_key="top-up")
    return (await service.credit(request)).wallet


def place(owner: Owner, cents: int, hold_id: UUID | None = None, job_id: UUID | None = None) -> PlaceHold:
    return PlaceHold(hold_id=hold_id or uuid7(), job_id=job_id or uuid7(), owner=owner, amount_cents=cents)


def charge(placed: PlaceHold, cents: int, job_id: UUID | None = None, owner: Owner | None = None) -> Deduct:
    job_id = job_id or placed.job_id
    return Deduct(
        transaction_id=uuid7(),
        owner=owner or placed.owner,
        amount_cents=cents,
        idempotency_key=f"job:{job_id}",
        job_id=job_id,
        hold_id=placed.hold_id,
    )


def refund(cents: int, key: str = "back", *, charge: ChargeReference) -> Refund:
    return Refund(transaction_id=uuid7(), amount_cents=cents, idempotency_key=key, charge=charge)


async def held(service: WalletsService, request: PlaceHold) -> Held:
    [decision] = await service.place_holds([request])
    assert isinstance(decision, Held), decision
    return decision


async def released(service: WalletsService, hold_id: UUID) -> Held | DomainError:
    [decision] = await service.release_holds([ReleaseHold(hold_id=hold_id)])
    return decision


async def verified(begin: BeginWallets, limit: int = 1000) -> Findings:
    """The sum of all pages."""
    verification = begin.make().verification
    whole = Findings(position=START)
    while whole.position is not None:
        page = await verification.page(whole.position, limit)
        for name in ("wallets", "transactions", "active_holds", "sequence_gaps"):
            setattr(whole, name, getattr(whole, name) + getattr(page, name))
        for currency, trial in page.trials.items():
            into = whole.trials.setdefault(currency, TrialBalance())
            for name, cents in vars(trial).items():
                setattr(into, name, getattr(into, name) + cents)
        whole.offenders += page.offenders
        whole.position = page.position
    return whole


async def test_a_hold_is_stored_with_all_it_carries(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    placed = await held(service, request := place(wallet.owner, 60))
    assert await service.get_hold(request.hold_id, ALL_TENANTS) == placed.hold
    assert await service.get(wallet.id, ALL_TENANTS) == placed.wallet
    assert placed.hold.currency == "EUR"
    again = await held(service, request)
    assert again.replayed
    assert again.hold == placed.hold


async def test_a_charge_captures_its_hold(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    await held(service, request := place(wallet.owner, 60))
    await held(service, place(wallet.owner, 40))
    charged = await service.deduct(charge(request, 45), ALL_TENANTS)
    assert (charged.wallet.current_balance_cents, charged.wallet.pending_charges_cents) == (55, 40)
    assert (await service.get_hold(request.hold_id, ALL_TENANTS)).state is HoldState.CAPTURED
    again = await service.deduct(charge(request, 45), ALL_TENANTS)
    assert again.replayed
    assert await service.get(wallet.id, ALL_TENANTS) == charged.wallet


async def test_a_hold_of_another_job_or_wallet_does_not_pay(service: WalletsService) -> None:
    wallet, other = await funded(service, 100), await funded(service, 100)
    await held(service, request := place(wallet.owner, 60))
    with pytest.raises(HoldMismatch):
        await service.deduct(charge(request, 10, job_id=uuid7()), ALL_TENANTS)
    with pytest.raises(HoldMismatch):
        await service.deduct(charge(request, 10, owner=other.owner), ALL_TENANTS)
    assert (await service.get_hold(request.hold_id, ALL_TENANTS)).state is HoldState.ACTIVE


async def test_a_hold_id_used_on_another_wallet_is_refused_naming_what_differs(service: WalletsService) -> None:
    wallet, other = await funded(service, 100), await funded(service, 100)
    await held(service, request := place(wallet.owner, 60))
    [refused] = await service.place_holds([place(other.owner, 60, request.hold_id, request.job_id)])
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.fields == ("customer_id",)


async def test_a_released_hold_frees_its_money_and_stays_released(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    await held(service, request := place(wallet.owner, 60))
    first, again = await released(service, request.hold_id), await released(service, request.hold_id)
    assert isinstance(first, Held)
    assert isinstance(again, Held)
    assert (first.replayed, again.replayed) == (False, True)
    assert (await service.get(wallet.id, ALL_TENANTS)).available_cents == 100
    [refused] = await service.place_holds([request])
    assert isinstance(refused, HoldNotActive)


async def test_a_release_before_its_hold_is_remembered(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    request = place(wallet.owner, 60)
    first = await released(service, request.hold_id)
    assert isinstance(first, Held)
    assert await service.get_hold(request.hold_id, ALL_TENANTS) == first.hold
    [refused] = await service.place_holds([request])
    assert isinstance(refused, HoldNotActive)
    assert (await service.get(wallet.id, ALL_TENANTS)) == wallet


async def test_in_a_batch_each_hold_is_decided_alone_and_in_order(service: WalletsService) -> None:
    rich, poor = await funded(service, 100), await funded(service, 10)
    first = place(rich.owner, 60)
    kinds = await service.place_holds(
        [first, place(poor.owner, 11), first, place(rich.owner, 41), place(rich.owner, 40)]
    )
    assert [type(one) for one in kinds] == [Held, InsufficientFunds, Held, InsufficientFunds, Held]
    assert (await service.get(rich.id, ALL_TENANTS)).available_cents == 0
    ends = await service.release_holds([ReleaseHold(hold_id=one) for one in (first.hold_id, uuid7(), first.hold_id)])
    assert [one.replayed for one in ends if isinstance(one, Held)] == [False, False, True]
    assert (await service.get(rich.id, ALL_TENANTS)).available_cents == 60


async def test_a_thousand_holds_are_placed_captured_and_released_whole(
    service: WalletsService, begin: BeginWallets
) -> None:
    wallets = [await funded(service, 10_000) for _ in range(3)]
    requests = [place(wallets[n % 3].owner, 5) for n in range(1000)]
    assert all(isinstance(one, Held) for one in await service.place_holds(requests))
    await service.deduct_many([charge(one, 3) for one in requests[:500]], ALL_TENANTS)
    await service.release_holds([ReleaseHold(hold_id=one.hold_id) for one in requests[500:900]])
    found = await verified(begin)
    assert (found.active_holds, found.offenders) == (100, [])
    assert sum([(await service.get(one.id, ALL_TENANTS)).pending_charges_cents for one in wallets]) == 500


async def test_an_unknown_hold_is_not_found(service: WalletsService) -> None:
    with pytest.raises(HoldNotFound):
        await service.get_hold(uuid4(), ALL_TENANTS)


@pytest.mark.parametrize("in_one_batch", [False, True])
async def test_a_hold_that_a_charge_has_named_before_it_was_placed_is_never_placed(
    service: WalletsService, begin: BeginWallets, in_one_batch: bool
) -> None:
    """It would reserve money for a charge that was made, and no later call would free it."""
    wallet = await funded(service, 100)
    late = place(wallet.owner, 45)
    if in_one_batch:
        async with begin() as work:
            charged, placed = await work.ledger.apply([charge(late, 45), late])
            await work.commit()
        assert isinstance(charged, Accepted)
    else:
        await service.deduct(charge(late, 45), ALL_TENANTS)
        [placed] = await service.place_holds([late])
    assert isinstance(placed, HoldNotActive)
    again = await service.deduct(charge(late, 45), ALL_TENANTS)
    assert (again.replayed, again.wallet.current_balance_cents, again.wallet.pending_charges_cents) == (True, 55, 0)
    found = await verified(begin)
    assert found.offenders == []


async def test_a_refused_charge_keeps_no_hold_from_being_placed(service: WalletsService) -> None:
    wallet = await funded(service, 10)
    late = place(wallet.owner, 10)
    with pytest.raises(InsufficientFunds):
        await service.deduct(charge(late, 11), ALL_TENANTS)
    await held(service, late)


async def test_a_repeated_charge_frees_its_hold_that_was_placed_when_its_id_was_forgotten(
    service: WalletsService, begin: BeginWallets
) -> None:
    wallet = await funded(service, 100)
    late = place(wallet.owner, 45)
    await service.deduct(charge(late, 45), ALL_TENANTS)
    async with begin() as work:
        await work.holds.delete_ended(-timedelta(minutes=1), 1000)
        await work.commit()
    await held(service, late)
    again = await service.deduct(charge(late, 45), ALL_TENANTS)
    assert (again.replayed, again.wallet.current_balance_cents, again.wallet.pending_charges_cents) == (True, 55, 0)
    assert await service.get(wallet.id, ALL_TENANTS) == again.wallet


async def test_holds_are_listed_by_state_the_latest_first(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    requests = [place(wallet.owner, cents) for cents in (1, 2, 3)]
    for request in requests:
        await held(service, request)
    await released(service, requests[1].hold_id)
    query = LISTED.query(filter=f'state = ACTIVE AND wallet_id = "{wallet.id}"')
    found = (await service.list_holds(query, ALL_TENANTS)).items
    assert [one.amount_cents for one in found] == [3, 1]
    assert {one.customer_id for one in found} == {wallet.customer_id}


async def test_a_refund_is_bound_to_its_charge_and_made_once(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    await held(service, request := place(wallet.owner, 60))
    charged = (await service.deduct(charge(request, 45), ALL_TENANTS)).transaction
    part = await service.refund(refund(20, charge=JobCharge(request.job_id)))
    assert part.transaction.refunds_transaction_id == charged.id
    assert (await service.refund(refund(20, charge=charged.id))).replayed
    with pytest.raises(RefundExceedsCharge):
        await service.refund(refund(26, "more", charge=charged.id))
    rest = await service.refund(refund(0, "rest", charge=charged.id))
    assert (rest.transaction.amount_cents, rest.wallet.current_balance_cents) == (25, 100)
    assert (await service.refund(refund(0, "rest", charge=JobCharge(request.job_id)))).replayed
    with pytest.raises(IdempotencyKeyReused):
        await service.refund(refund(25, "rest", charge=charged.id))
    with pytest.raises(TransactionNotFound):
        await service.refund(refund(1, "x", charge=uuid4()))


async def test_the_balance_at_a_past_time_is_that_of_the_statement(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    times = [(wallet.updated_at, 100)]
    for n in range(9):
        request = Credit(transaction_id=uuid7(), owner=wallet.owner, amount_cents=n + 1, idempotency_key=str(n))
        changed = (await service.credit(request)).wallet
        times.append((changed.updated_at, changed.current_balance_cents))
    for moment, cents in dict(times).items():
        assert (await service.balance_at(wallet.id, moment, ALL_TENANTS)).current_balance_cents == cents
    before = wallet.updated_at - timedelta(microseconds=1)
    assert (await service.balance_at(wallet.owner, before, ALL_TENANTS)).current_balance_cents == 0


async def test_nobody_is_told_a_balance_of_the_future(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    with pytest.raises(InvalidField) as refused:
        await service.balance_at(wallet.id, wallet.updated_at + timedelta(minutes=1), ALL_TENANTS)
    assert refused.value.violations[0].field == "at"


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_books_in_order_add_up_however_they_are_cut_into_pages(
    service: WalletsService, begin: BeginWallets, limit: int
) -> None:
    for cents in (100, 50, 70):
        wallet = await funded(service, cents)
        await held(service, request := place(wallet.owner, 30))
        await held(service, place(wallet.owner, 10))
        await service.deduct(charge(request, 25), ALL_TENANTS)
    await service.create(NewWallet(id=uuid7(), customer_id=uuid7(), currency="USD"))
    found = await verified(begin, limit)
    assert (found.wallets, found.transactions, found.active_holds, found.offenders) == (4, 6, 3, [])
    assert found.trials["EUR"] == TrialBalance(
        balance_cents=145, pending_cents=30, funding_cents=220, revenue_cents=-75
    )


async def test_holds_that_ended_long_ago_are_deleted_and_active_ones_stay(
    begin: BeginWallets, service: WalletsService
) -> None:
    wallet = await funded(service, 100)
    placed = [place(wallet.owner, 10) for _ in range(3)]
    await service.place_holds(placed)
    await service.release_holds([ReleaseHold(hold_id=placed[0].hold_id)])
    await service.deduct(charge(placed[1], 10), ALL_TENANTS)

    async with begin() as work:
        assert await work.holds.delete_ended(timedelta(minutes=1), 10) == 0
        assert [await work.holds.delete_ended(-timedelta(minutes=1), 1) for _ in range(3)] == [1, 1, 0]

        left = [hold.id for hold in (await work.holds.list_page(LISTED.query())).items]
        assert left == [placed[2].hold_id]
