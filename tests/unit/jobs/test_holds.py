"""Which hold a job gets: its own from an earlier try, at the price of then, or a new one where that can't be used."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.jobs.rules.errors import InsufficientFunds
from services.jobs.rules.holds import HoldState, HoldTimes, Reservation, Reserved
from services.jobs.usecases.submission.reservations import GENERATIONS_MAX
from services.kit.errors import DependencyUnavailable, IdempotencyKeyReused
from tests.support.jobs_work import WalletsForTests

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def reservation(**values: Any) -> Reservation:
    return Reservation(**{"job_id": uuid4(), "customer_id": uuid4(), "currency": "EUR", "amount_cents": 5, **values})


@pytest.fixture
def wallets() -> WalletsForTests:
    made = WalletsForTests()
    made.now = lambda: NOW
    return made


async def reserved(wallets: WalletsForTests, wanted: Reservation) -> Any:
    return (await wallets.reservations().reserve([wanted]))[wanted.job_id]


def test_the_same_job_and_generation_have_the_same_hold_and_no_others() -> None:
    job_id = uuid4()
    ids = [reservation(job_id=job_id, generation=generation).hold_id for generation in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    assert reservation().hold_id not in ids


async def test_all_holds_are_placed_by_one_call_and_none_by_no_call(wallets: WalletsForTests) -> None:
    wanted = [reservation(), reservation()]
    outcomes = await wallets.reservations().reserve(wanted)
    assert outcomes == {one.job_id: Reserved(one.hold_id, 0, 5) for one in wanted}
    assert await wallets.reservations().reserve([]) == {}
    assert wallets.placed == [wanted]


async def test_a_hold_of_an_earlier_try_is_used_at_the_price_of_then(wallets: WalletsForTests) -> None:
    wanted = reservation(amount_cents=9)
    wallets.hold(wanted, amount_cents=5, created_at=NOW - timedelta(minutes=5))
    assert await reserved(wallets, wanted) == Reserved(wanted.hold_id, 0, 5)


@pytest.mark.parametrize(
    "unusable", [{"state": HoldState.RELEASED}, {"created_at": NOW - timedelta(minutes=5, seconds=1)}]
)
async def test_a_hold_that_is_released_or_that_the_auditor_may_release_is_replaced_by_the_next(
    wallets: WalletsForTests, unusable: dict[str, Any]
) -> None:
    wanted = reservation(amount_cents=9)
    first = wallets.hold(wanted, amount_cents=5, **unusable)
    outcome = await reserved(wallets, wanted)
    assert (outcome.generation, outcome.amount_cents) == (1, 9)
    assert outcome.hold_id != first.id


async def test_only_those_without_a_usable_hold_are_asked_for_again(wallets: WalletsForTests) -> None:
    good, spent = reservation(), reservation()
    wallets.hold(spent, state=HoldState.RELEASED)
    await wallets.reservations().reserve([good, spent])
    assert [[one.job_id for one in call] for call in wallets.placed] == [[good.job_id, spent.job_id], [spent.job_id]]


async def test_an_id_whose_job_was_charged_is_not_used_again(wallets: WalletsForTests) -> None:
    wanted = reservation()
    wallets.hold(wanted, state=HoldState.CAPTURED)
    outcome = await reserved(wallets, wanted)
    assert isinstance(outcome, IdempotencyKeyReused)
    assert outcome.fields == ("job_id",)


@pytest.mark.parametrize(
    ("other", "fields"), [({"customer_id": uuid4()}, ("customer_id",)), ({"currency": "USD"}, ("job_type",))]
)
async def test_a_hold_of_somebody_else_is_not_used(
    wallets: WalletsForTests, other: dict[str, Any], fields: tuple[str, ...]
) -> None:
    wanted = reservation()
    wallets.hold(wanted, **other)
    outcome = await reserved(wallets, wanted)
    assert isinstance(outcome, IdempotencyKeyReused)
    assert outcome.fields == fields


async def test_each_job_has_its_own_answer(wallets: WalletsForTests) -> None:
    good, poor, unknown = reservation(), reservation(), reservation()
    wallets.poor, wallets.unknown = {poor.customer_id}, {unknown.job_id}
    outcomes = await wallets.reservations().reserve([good, poor, unknown])
    kinds = [type(outcomes[one.job_id]) for one in (good, poor, unknown)]
    assert kinds == [Reserved, InsufficientFunds, DependencyUnavailable]


async def test_an_id_that_was_left_behind_too_often_is_given_up(wallets: WalletsForTests) -> None:
    wanted = reservation()
    for generation in range(GENERATIONS_MAX):
        wallets.hold(reservation(job_id=wanted.job_id, generation=generation), state=HoldState.RELEASED)
    outcome = await reserved(wallets, wanted)
    assert isinstance(outcome, IdempotencyKeyReused)
    assert len(wallets.placed) == GENERATIONS_MAX


def test_a_hold_is_out_of_use_long_before_the_auditor_looks_at_it() -> None:
    times = HoldTimes(orphan_after=timedelta(minutes=10))
    assert times.adopt_within + 2 * times.store_within < times.orphan_after
