"""The rules of holds and refunds: the pure function that both repositories apply."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.kit.errors import DomainError, IdempotencyKeyReused, InvalidField
from services.wallets.rules.entities import BALANCE_CENTS_MAX, Hold, HoldState, Owner, TransactionKind, Wallet
from services.wallets.rules.errors import (
    HoldMismatch,
    HoldNotActive,
    InsufficientFunds,
    RefundExceedsCharge,
    TransactionNotFound,
    WalletNotFound,
)
from services.wallets.rules.ledger import Accepted, Decision, Held, LedgerRows, changes, decide
from services.wallets.rules.requests import Credit, Deduct, JobCharge, PlaceHold, Refund, ReleaseHold, Request

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
OWNER = Owner(UUID(int=1), "EUR")
JOB, HOLD = UUID(int=2), UUID(int=3)


def wallet(balance: int, owner: Owner = OWNER) -> Wallet:
    return Wallet(
        id=uuid4(),
        customer_id=owner.customer_id,
        currency=owner.currency,
        current_balance_cents=balance,
        created_at=NOW,
        updated_at=NOW,
    )


def place(cents: int, hold_id: UUID = HOLD, job_id: UUID = JOB, owner: Owner = OWNER) -> PlaceHold:
    return PlaceHold(hold_id=hold_id, job_id=job_id, owner=owner, amount_cents=cents)


def release(hold_id: UUID = HOLD) -> ReleaseHold:
    return ReleaseHold(hold_id=hold_id)


def charge(cents: int, hold_id: UUID | None = HOLD, job_id: UUID = JOB, owner: Owner = OWNER) -> Deduct:
    key = f"job:{job_id}"
    return Deduct(
        transaction_id=uuid4(), owner=owner, amount_cents=cents, idempotency_key=key, job_id=job_id, hold_id=hold_id
    )


def refund(cents: int, key: str = "back", job_id: UUID = JOB) -> Refund:
    return Refund(transaction_id=uuid4(), charge=JobCharge(job_id), amount_cents=cents, idempotency_key=key)


def decided(wallets: Sequence[Wallet], *requests: Request) -> list[Decision]:
    return decide(LedgerRows(wallets), requests, LATER)


def figures(decision: Decision) -> tuple[int, int]:
    """Balance and pending after a request."""
    assert not isinstance(decision, DomainError), decision
    assert decision.wallet is not None
    return decision.wallet.current_balance_cents, decision.wallet.pending_charges_cents


def hold_of(decision: Decision) -> Hold:
    assert isinstance(decision, Held), decision
    return decision.hold


def test_a_hold_reserves_money_without_moving_it() -> None:
    before = wallet(100)
    [placed] = decided([before], place(60))
    assert figures(placed) == (100, 60)
    assert hold_of(placed) == Hold(
        id=HOLD,
        wallet_id=before.id,
        customer_id=OWNER.customer_id,
        currency="EUR",
        job_id=JOB,
        amount_cents=60,
        state=HoldState.ACTIVE,
        created_at=LATER,
    )


def test_a_hold_beyond_what_is_available_is_refused_with_the_figures() -> None:
    _, refused = decided([wallet(100)], place(60), place(41, uuid4(), uuid4()))
    assert isinstance(refused, InsufficientFunds)
    assert (refused.available_cents, refused.required_cents) == (40, 41)


def test_a_hold_on_an_unknown_wallet_is_refused() -> None:
    [refused] = decided([], place(1))
    assert isinstance(refused, WalletNotFound)


def test_the_same_hold_again_is_answered_before_the_funds_are_looked_at() -> None:
    first, again = decided([wallet(100)], place(100), place(100))
    assert isinstance(again, Held)
    assert again.replayed
    assert hold_of(again) == hold_of(first)
    assert figures(again) == (100, 100)


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        (place(61), ("amount_cents",)),
        (place(60, job_id=uuid4()), ("job_id",)),
        (place(60, owner=Owner(OWNER.customer_id, "USD")), ("currency",)),
        (place(61, owner=Owner(uuid4(), "EUR")), ("customer_id", "amount_cents")),
    ],
)
def test_a_hold_id_with_other_parameters_is_refused_naming_them(other: PlaceHold, fields: tuple[str, ...]) -> None:
    _, refused = decided([wallet(100)], place(60), other)
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.fields == fields


def test_a_released_hold_frees_its_money_once() -> None:
    results = decided([wallet(100)], place(60), release(), release())
    assert [figures(one) for one in results[1:]] == [(100, 0), (100, 0)]
    assert hold_of(results[1]).state is HoldState.RELEASED
    assert hold_of(results[1]).resolved_at == LATER
    assert isinstance(results[2], Held)
    assert results[2].replayed


def test_a_hold_that_was_released_is_not_placed_again() -> None:
    *_, refused = decided([wallet(100)], place(60), release(), place(60))
    assert isinstance(refused, HoldNotActive)
    assert refused.state == "RELEASED"


def test_a_release_that_comes_first_is_remembered_and_the_late_hold_refused() -> None:
    first, again, late = decided([wallet(100)], release(), release(), place(60))
    assert isinstance(first, Held)
    assert isinstance(again, Held)
    assert (first.wallet, first.replayed, again.replayed) == (None, False, True)
    assert (first.hold.state, first.hold.amount_cents) == (HoldState.RELEASED, 0)
    assert isinstance(late, HoldNotActive)


def test_a_charge_captures_its_hold_and_frees_the_rest() -> None:
    _, charged = decided([wallet(100)], place(60), charge(45))
    assert figures(charged) == (55, 0)
    assert isinstance(charged, Accepted)
    assert charged.ended is not None
    assert charged.ended.state is HoldState.CAPTURED


def test_up_to_the_held_amount_a_charge_can_not_be_declined() -> None:
    results = decided([wallet(100)], place(60), place(40, uuid4(), uuid4()), charge(60))
    assert figures(results[-1]) == (40, 40)


def test_beyond_the_held_amount_a_charge_takes_what_is_available_besides() -> None:
    assert figures(decided([wallet(100)], place(60), charge(100))[-1]) == (0, 0)


def test_a_charge_beyond_hold_and_funds_is_refused_and_leaves_the_hold_active() -> None:
    *_, refused, still = decided([wallet(100)], place(60), charge(101), place(60))
    assert isinstance(refused, InsufficientFunds)
    assert (refused.available_cents, refused.required_cents) == (100, 101)
    assert hold_of(still).state is HoldState.ACTIVE


@pytest.mark.parametrize("before", [[], [release()], [place(60), release()]])
def test_without_an_active_hold_a_charge_is_decided_on_available_funds(before: list[Request]) -> None:
    assert figures(decided([wallet(100)], *before, charge(100))[-1]) == (0, 0)
    assert isinstance(decided([wallet(100)], *before, charge(101))[-1], InsufficientFunds)


def test_a_hold_of_another_job_does_not_pay() -> None:
    *_, refused = decided([wallet(100)], place(60), charge(10, job_id=uuid4()))
    assert isinstance(refused, HoldMismatch)
    assert refused.fields == ("job_id",)


def test_a_hold_of_another_wallet_does_not_pay() -> None:
    other = Owner(uuid4(), "EUR")
    *_, refused = decided([wallet(100), wallet(100, other)], place(60), charge(10, owner=other))
    assert isinstance(refused, HoldMismatch)
    assert refused.fields == ("customer_id",)


def test_a_captured_hold_is_neither_released_nor_placed_again() -> None:
    *_, released, placed = decided([wallet(100)], place(60), charge(45), release(), place(60))
    assert isinstance(released, HoldNotActive)
    assert isinstance(placed, HoldNotActive)


def test_a_charge_again_is_replayed_after_its_hold_was_captured() -> None:
    *_, again = decided([wallet(100)], place(60), charge(45), charge(45))
    assert isinstance(again, Accepted)
    assert again.replayed
    assert figures(again) == (55, 0)


def test_a_refund_gives_a_charge_back_whole_or_in_part() -> None:
    _, charged, part, rest = decided([wallet(100)], place(60), charge(45), refund(20), refund(0, "rest"))
    assert isinstance(charged, Accepted)
    assert isinstance(part, Accepted)
    assert isinstance(rest, Accepted)
    assert [figures(part), figures(rest)] == [(75, 0), (100, 0)]
    line = rest.transaction
    assert (line.kind, line.counter_account, line.amount_cents) == (TransactionKind.REFUND, "REVENUE", 25)
    assert (line.refunds_transaction_id, line.job_id) == (charged.transaction.id, JOB)


def test_never_more_than_was_charged_is_refunded_in_all() -> None:
    results = decided([wallet(100)], charge(45, None), refund(46), refund(40), refund(6, "b"), refund(5, "c"))
    assert [type(one) for one in results[1:]] == [RefundExceedsCharge, Accepted, RefundExceedsCharge, Accepted]
    refused = decided([wallet(100)], charge(45, None), refund(0), refund(0, "again"))[-1]
    assert isinstance(refused, RefundExceedsCharge)
    assert refused.refundable_cents == 0


def test_the_same_refund_again_is_answered_with_the_first_transaction() -> None:
    for cents in (0, 20):
        _, first, again = decided([wallet(100)], charge(45, None), refund(cents), refund(cents))
        assert isinstance(first, Accepted)
        assert isinstance(again, Accepted)
        assert again.replayed
        assert again.transaction == first.transaction


def test_a_charge_that_was_made_without_the_hold_of_its_job_is_answered_to_who_names_it_and_frees_it() -> None:
    *_, first, again, once_more = decisions = decided(
        [wallet(100)], place(45), charge(45, None), charge(45), charge(45)
    )
    assert isinstance(first, Accepted)
    for one in (again, once_more):
        assert isinstance(one, Accepted)
        assert one.replayed
        assert one.transaction == first.transaction
        assert (one.wallet.current_balance_cents, one.wallet.pending_charges_cents) == (55, 0)
    written = changes(decisions)
    assert written.transactions == [first.transaction]
    assert [hold.state for hold in written.holds] == [HoldState.RELEASED]
    assert [one.pending_charges_cents for one in written.wallets] == [0]


@pytest.mark.parametrize(
    "hold", [place(1, UUID(int=4), UUID(int=5)), place(1, UUID(int=4), JOB, Owner(UUID(int=9), "EUR"))]
)
def test_a_charge_that_names_the_hold_of_another_job_or_wallet_is_no_repeat(hold: PlaceHold) -> None:
    *_, refused = decided(
        [wallet(100), wallet(9, hold.owner)] if hold.owner != OWNER else [wallet(100)],
        hold,
        charge(45, None),
        charge(45, hold.hold_id),
    )
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.fields == ("hold_id",)


@pytest.mark.parametrize(("first", "second"), [(0, 45), (45, 0), (20, 21)])
def test_a_refund_key_with_another_amount_is_refused_naming_it(first: int, second: int) -> None:
    *_, refused = decided([wallet(100)], charge(45, None), refund(first), refund(second))
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.fields == ("amount_cents",)


def test_a_refund_key_with_another_charge_is_refused_naming_it() -> None:
    job = uuid4()
    *_, refused = decided([wallet(100)], charge(45, None), charge(45, None, job), refund(20), refund(20, job_id=job))
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.fields == ("job_id",)


def test_a_refund_by_job_and_one_by_transaction_are_the_same_request() -> None:
    asked = charge(45, None)
    by_id = Refund(transaction_id=uuid4(), charge=asked.transaction_id, amount_cents=20, idempotency_key="back")
    *_, again = decided([wallet(100)], asked, refund(20), by_id)
    assert isinstance(again, Accepted)
    assert again.replayed


def test_a_refund_names_its_charge_by_job_or_by_transaction() -> None:
    charges = [decision.transaction for decision in decided([wallet(100)], charge(45, None), charge(5, None, uuid4()))]  # type: ignore[union-attr] # both are accepted
    assert [refund(1).names(one) for one in charges] == [True, False]
    by_id = Refund(transaction_id=uuid4(), charge=charges[1].id, amount_cents=1, idempotency_key="back")
    assert [by_id.names(one) for one in charges] == [False, True]


def test_what_was_never_charged_is_not_refunded() -> None:
    [refused] = decided([wallet(100)], refund(1))
    assert isinstance(refused, TransactionNotFound)
    assert refused.metadata == {"job_id": str(JOB)}


def test_a_refused_hold_or_refund_changes_nothing() -> None:
    found = changes(decided([wallet(10)], place(11), refund(1)))
    assert (found.transactions, found.wallets, found.holds) == ([], [], [])


def test_a_hold_placed_and_released_in_one_batch_is_stored_once_as_it_ended() -> None:
    found = changes(decided([wallet(100)], place(60), release()))
    assert [one.state for one in found.holds] == [HoldState.RELEASED]
    assert [one.pending_charges_cents for one in found.wallets] == [0]


@pytest.mark.parametrize("cents", [0, -1, 2**63])
def test_amounts_that_can_not_be_reserved_are_refused(cents: int) -> None:
    with pytest.raises(InvalidField):
        place(cents)


@pytest.mark.parametrize("cents", [-1, 2**63])
def test_amounts_that_can_not_be_refunded_are_refused(cents: int) -> None:
    with pytest.raises(InvalidField):
        refund(cents)


@pytest.mark.parametrize("cents", [2**53, 2**53 + 1, BALANCE_CENTS_MAX])
def test_large_amounts_are_exact(cents: int) -> None:
    top_up = Credit(transaction_id=uuid4(), owner=OWNER, amount_cents=cents, idempotency_key="a")
    results = decided([wallet(0)], top_up, place(cents), charge(cents), refund(cents))
    assert [figures(one) for one in results] == [(cents, 0), (cents, cents), (0, 0), (cents, 0)]
