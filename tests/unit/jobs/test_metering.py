"""What metered jobs cost: exact, rounded once, never above the hold; and what becomes of their holds."""

from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from services.jobs.rules.entities import BillingStatus, Job, JobStatus, charge_due
from services.jobs.rules.holds import Reservation
from services.jobs.rules.prices.metering import MICRO_CENTS, UNITS_MAX, Metering, used_cents
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.submission import Submission, admitted
from services.jobs.rules.transitions.changes import applied
from services.jobs.rules.transitions.completion import Completion, ending, is_repeated
from services.jobs.rules.transitions.control import hold_for_retry
from tests.support.jobs_examples import LATER, NOW, stored_job, stored_job_type

UNITS = st.integers(0, UNITS_MAX)
CENTS = st.integers(1, UNITS_MAX)
PRICES = st.integers(1, UNITS_MAX)
SETTLE = timedelta(minutes=1)


@st.composite
def meterings(draw: st.DrawFn) -> Metering:
    maximum = draw(CENTS)
    return Metering("token", draw(PRICES), maximum, draw(st.integers(0, maximum)))


@pytest.mark.parametrize(
    ("units", "micro_cents", "cents"),
    [
        (0, MICRO_CENTS, 0),
        (1, 1, 0),
        (499_999, 1, 0),
        (500_000, 1, 1),
        (1_499_999, 1, 1),
        (1_500_000, 1, 2),
        (3, MICRO_CENTS, 3),
        (1_234, 2_000, 2),
        (UNITS_MAX, UNITS_MAX, 85070591730234615847396907784232501249 // MICRO_CENTS + 1),
    ],
)
def test_units_are_priced_exactly_and_rounded_half_up(units: int, micro_cents: int, cents: int) -> None:
    assert used_cents(units, micro_cents) == cents


@given(UNITS, PRICES)
def test_the_rounded_price_is_half_a_minor_unit_from_the_exact_one_at_most(units: int, micro_cents: int) -> None:
    exact = Fraction(units * micro_cents, MICRO_CENTS)
    assert Fraction(-1, 2) < used_cents(units, micro_cents) - exact <= Fraction(1, 2)


@given(meterings(), UNITS | st.none())
def test_a_job_never_costs_more_than_its_maximum_and_never_less_than_nothing(
    metering: Metering, units: int | None
) -> None:
    assert 0 <= metering.cost_cents(units) <= metering.max_cost_cents


@given(meterings(), UNITS, UNITS)
def test_more_usage_never_costs_less(metering: Metering, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert metering.cost_cents(less) <= metering.cost_cents(more)


@given(meterings())
def test_without_a_report_the_standard_price_is_due_and_for_no_units_nothing(metering: Metering) -> None:
    assert (metering.cost_cents(None), metering.cost_cents(0)) == (metering.standard_cost_cents, 0)


def running(**values: Any) -> Job:
    """A job of 2 cents a unit, at most 10 and 4 without a report."""
    metered = {"metering_unit": "page", "unit_price_micro_cents": 2 * MICRO_CENTS, "standard_cost_cents": 4}
    lease = {"status": JobStatus.RUNNING, "lease_id": uuid7(), "started_at": NOW, "lease_expires_at": LATER}
    held = {"billing_status": BillingStatus.HELD, "hold_id": uuid7(), "estimated_cost_cents": 10}
    return stored_job(**{**metered, **lease, **held, **values})


def done(job: Job, usage_units: int | None) -> Job:
    assert job.lease_id is not None
    completion = Completion(job_id=job.id, lease_id=job.lease_id, outcome=Payload("1", 1), usage_units=usage_units)
    after = applied(job, ending(job, completion, settle_after=SETTLE), NOW)
    assert is_repeated(after, completion)
    return after


@pytest.mark.parametrize(("usage_units", "cents"), [(3, 6), (5, 10), (6, 10), (UNITS_MAX, 10), (None, 4)])
def test_a_metered_job_is_due_for_what_it_has_used_up_to_its_hold(usage_units: int | None, cents: int) -> None:
    after = done(running(), usage_units)
    assert (after.billing_status, after.cost_cents) == (BillingStatus.CHARGE_DUE, cents)
    assert after.usage_units == usage_units
    charge = charge_due(after)
    assert charge is not None
    assert charge.amount_cents == cents


@pytest.mark.parametrize(("standard_cost_cents", "usage_units"), [(4, 0), (0, None)])
def test_a_metered_job_that_costs_nothing_gives_its_hold_back(
    standard_cost_cents: int, usage_units: int | None
) -> None:
    after = done(running(standard_cost_cents=standard_cost_cents), usage_units)
    assert (after.status, after.billing_status) == (JobStatus.SUCCEEDED, BillingStatus.RELEASE_DUE)
    assert (after.cost_cents, charge_due(after)) == (0, None)


def test_usage_of_a_job_that_is_not_metered_is_recorded_and_has_no_price() -> None:
    fixed = {"metering_unit": None, "unit_price_micro_cents": None, "standard_cost_cents": None}
    after = done(running(**fixed), 3)
    assert (after.billing_status, after.cost_cents, after.usage_units) == (BillingStatus.CHARGE_DUE, 10, 3)
    free = done(running(**fixed, billing_status=BillingStatus.NOT_BILLABLE, estimated_cost_cents=0), 3)
    assert (free.billing_status, free.cost_cents, free.usage_units) == (BillingStatus.NOT_BILLABLE, 0, 3)


def test_the_same_output_with_another_usage_is_another_completion() -> None:
    ids: dict[str, Any] = {"job_id": uuid7(), "lease_id": uuid7(), "outcome": Payload("1", 1)}
    digests = {Completion(**ids, usage_units=units).digest for units in (None, 0, 1)}
    assert len(digests) == 3


def test_a_success_that_cost_nothing_is_not_held_for_again() -> None:
    over = stored_job(status=JobStatus.SUCCEEDED, billing_status=BillingStatus.RELEASED, cost_cents=0)
    assert hold_for_retry(over) is None


def test_a_metered_job_that_failed_is_held_for_at_its_maximum_again() -> None:
    failed = running(status=JobStatus.FAILED, billing_status=BillingStatus.RELEASED)
    hold = hold_for_retry(failed)
    assert hold is not None
    assert (hold.amount_cents, hold.is_maximum) == (10, True)


def test_the_prices_of_a_metered_job_are_frozen_at_submission() -> None:
    kind = stored_job_type(standard_cost_cents=4, metering_unit="page", unit_price_micro_cents=7, max_cost_cents=10)
    submission = Submission(job_id=uuid7(), customer_id=uuid7(), job_type=kind.id, max_cost_cents=10)
    job = admitted(submission, kind, Payload("null", 4), now=NOW)
    assert (job.estimated_cost_cents, job.billing_status) == (10, BillingStatus.HELD)
    assert job.metering == Metering("page", 7, 10, 4) == kind.metering


def test_the_hold_of_a_maximum_is_no_hold_of_a_price() -> None:
    wanted = {"job_id": uuid7(), "customer_id": uuid7(), "currency": "EUR", "amount_cents": 10}
    assert Reservation(**wanted, is_maximum=True).hold_id != Reservation(**wanted).hold_id  # type: ignore[arg-type]
