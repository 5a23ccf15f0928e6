"""The rules of write-offs: the pure function that both repositories apply."""

from uuid import UUID, uuid4

import pytest

from services.kit.errors import IdempotencyKeyReused, InvalidField
from services.wallets.rules.entities import BALANCE_CENTS_MAX, CounterAccount, HoldState, TransactionKind
from services.wallets.rules.errors import (
    AlreadyCharged,
    BalanceOverflow,
    HoldActive,
    HoldMismatch,
    RefundExceedsCharge,
    WalletNotFound,
)
from services.wallets.rules.ledger import Accepted, Decision, WrittenOff, changes
from services.wallets.rules.requests import Credit, WriteOff
from tests.unit.wallets.test_holds_and_refunds import (
    HOLD,
    JOB,
    OWNER,
    charge,
    decided,
    figures,
    place,
    refund,
    release,
    wallet,
)


def write_off(cents: int, job_id: UUID = JOB, hold_id: UUID | None = None) -> WriteOff:
    return WriteOff(
        adjustment_id=uuid4(),
        deduction_id=uuid4(),
        owner=OWNER,
        amount_cents=cents,
        job_id=job_id,
        hold_id=hold_id,
        description="a goodwill gesture",
    )


def written_off(decision: Decision) -> WrittenOff:
    assert isinstance(decision, WrittenOff), decision
    return decision


@pytest.mark.parametrize("balance", [0, 29, 30, 100])
def test_a_write_off_is_an_adjustment_and_the_deduction_and_leaves_the_balance_whatever_it_is(balance: int) -> None:
    request = write_off(30)
    [decision] = decided([before := wallet(balance)], request)
    done = written_off(decision)
    assert figures(done) == (balance, 0)
    lines = [done.adjustment, done.transaction]
    assert [(one.kind, one.counter_account) for one in lines] == [
        (TransactionKind.ADJUSTMENT, CounterAccount.ADJUSTMENT),
        (TransactionKind.DEDUCTION, CounterAccount.REVENUE),
    ]
    assert [(one.sequence, one.amount_cents, one.balance_after_cents) for one in lines] == [
        (1, 30, balance + 30),
        (2, -30, balance),
    ]
    assert [one.id for one in lines] == [request.adjustment_id, request.deduction_id]
    assert [one.idempotency_key for one in lines] == [f"write-off:{JOB}", f"job:{JOB}"]
    assert {(one.wallet_id, one.job_id, one.description) for one in lines} == {(before.id, JOB, "a goodwill gesture")}
    found = changes([decision])
    assert (found.transactions, found.wallets, found.holds) == (lines, [done.wallet], [])


def test_the_same_write_off_again_gets_the_first_answer_and_writes_nothing() -> None:
    decisions = decided([wallet(0)], write_off(30), write_off(30))
    first, again = map(written_off, decisions)
    assert again.replayed
    assert (again.adjustment, again.transaction) == (first.adjustment, first.transaction)
    assert len(changes(decisions).transactions) == 2


@pytest.mark.parametrize(
    ("other", "fields"),
    [(write_off(31), ("amount_cents",)), (write_off(30, hold_id=HOLD), ("hold_id",))],
)
def test_a_job_written_off_with_other_parameters_is_refused(other: WriteOff, fields: tuple[str, ...]) -> None:
    _, refused = decided([wallet(0)], write_off(30), other)
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.fields == fields


def test_a_charge_after_the_write_off_is_answered_with_its_deduction() -> None:
    written, charged = decided([wallet(500)], write_off(30), charge(30, hold_id=None))
    assert isinstance(charged, Accepted)
    assert charged.replayed
    assert charged.transaction == written_off(written).transaction
    assert figures(charged) == (500, 0)


def test_a_job_that_was_charged_is_not_written_off() -> None:
    charged, refused = decided([wallet(30)], charge(30, hold_id=None), write_off(30))
    assert isinstance(refused, AlreadyCharged)
    assert isinstance(charged, Accepted)
    assert (refused.job_id, refused.transaction_id) == (JOB, charged.transaction.id)


def test_money_that_is_still_held_for_the_job_is_charged_and_not_written_off() -> None:
    *_, refused = decisions = decided([wallet(30)], place(30), write_off(30, hold_id=HOLD))
    assert isinstance(refused, HoldActive)
    assert (refused.hold_id, refused.amount_cents) == (HOLD, 30)
    assert changes(decisions).transactions == []


def test_a_hold_that_ended_or_was_never_placed_is_in_nobodys_way() -> None:
    *_, ended = decided([wallet(30)], place(30), release(), write_off(30, hold_id=HOLD))
    assert written_off(ended).ended is None
    assert written_off(ended).transaction.hold_id == HOLD
    [never] = decided([wallet(30)], write_off(30, hold_id=HOLD))
    assert figures(never) == (30, 0)


def test_what_is_held_for_other_jobs_stays_held() -> None:
    placed, done = decided([wallet(100)], place(80), write_off(50, uuid4()))
    assert figures(done) == figures(placed) == (100, 80)
    [hold] = changes([placed, done]).holds
    assert hold.state is HoldState.ACTIVE


def test_a_hold_of_another_job_is_refused() -> None:
    *_, refused = decided([wallet(100)], place(80), write_off(50, uuid4(), HOLD))
    assert isinstance(refused, HoldMismatch)


def test_what_was_written_off_can_not_be_refunded() -> None:
    for amount in (0, 1):
        *_, refused = decided([wallet(30)], write_off(30), refund(amount))
        assert isinstance(refused, RefundExceedsCharge)
        assert refused.refundable_cents == 0


def test_a_write_off_on_an_unknown_wallet_is_refused() -> None:
    [refused] = decided([], write_off(1))
    assert isinstance(refused, WalletNotFound)


def test_a_balance_too_large_to_add_the_adjustment_is_refused_and_nothing_is_written() -> None:
    decisions = decided([wallet(BALANCE_CENTS_MAX)], write_off(1), charge(1, hold_id=None))
    assert isinstance(decisions[0], BalanceOverflow)
    assert isinstance(decisions[1], Accepted)
    assert not decisions[1].replayed
    assert figures(decisions[1]) == (BALANCE_CENTS_MAX - 1, 0)


def test_a_write_off_is_of_at_least_a_cent() -> None:
    with pytest.raises(InvalidField) as error:
        write_off(0)
    assert [one.field for one in error.value.violations] == ["amount_cents"]


def test_no_other_request_may_have_the_key_of_a_write_off() -> None:
    for key in (f"write-off:{JOB}", f"job:{JOB}"):
        with pytest.raises(InvalidField) as error:
            Credit(transaction_id=uuid4(), owner=OWNER, amount_cents=1, idempotency_key=key)
        assert [one.field for one in error.value.violations] == ["idempotency_key"]
        with pytest.raises(InvalidField):
            refund(1, key)
