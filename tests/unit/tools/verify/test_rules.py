"""What fits together and what does not, by itself: no database, no time."""

import pytest

from tests.support.verify_books import OWNER, STRANGER, deduction, hold_line, job_id, job_line, receipt, transaction_id
from tools.verify.findings import Finding, Kind, Rebill, Release, TryNow
from tools.verify.lines import Deduction, JobLine, Receipt
from tools.verify.rules import exception_of, judge_charge, judge_hold, judge_job, judge_job_hold


def kinds(job: JobLine | None, kept: Receipt | None, *made: Deduction) -> list[Kind]:
    return [finding.kind for finding in judge_charge(job, kept, made)]


def only(job: JobLine | None, kept: Receipt | None, *made: Deduction) -> Finding:
    [finding] = judge_charge(job, kept, made)
    return finding


ELSEWHERE = deduction(transaction_id=transaction_id(2), customer_id=STRANGER)


def test_a_job_that_was_charged_what_it_costs_is_no_finding() -> None:
    assert not kinds(job_line(), None, deduction())


def test_a_receipt_with_its_deduction_is_no_finding() -> None:
    assert not kinds(None, receipt(), deduction())


@pytest.mark.parametrize("billing_status", ["NOT_BILLABLE", "HELD", "UNHELD", "CHARGE_DUE", "RELEASED", "DECLINED"])
def test_a_job_that_was_not_charged_and_does_not_say_so_is_no_finding(billing_status: str) -> None:
    assert not kinds(job_line(billing_status=billing_status), None)


def test_a_job_that_came_again_under_the_id_of_a_deleted_one_may_be_anything() -> None:
    assert not kinds(job_line(status="PENDING", billing_status="HELD"), receipt(), deduction())
    assert not kinds(job_line(), receipt(), deduction())


def test_a_charged_job_without_a_deduction_is_to_be_charged_again() -> None:
    finding = only(job_line(), None)
    assert finding.kind is Kind.MISSING_CHARGE
    assert finding.id == job_id(1)
    assert str(transaction_id(1)) in finding.description
    assert finding.repair == Rebill(job_id(1), "CHARGED", transaction_id(1), None)


def test_a_receipt_without_a_deduction_is_for_somebody_to_decide() -> None:
    finding = only(None, receipt())
    assert (finding.kind, finding.repair) == (Kind.MISSING_CHARGE, None)


def test_a_charge_from_the_wallet_of_somebody_else_is_missing() -> None:
    finding = only(job_line(), None, deduction(customer_id=STRANGER))
    assert finding.kind is Kind.MISSING_CHARGE
    assert finding.repair is None
    assert str(STRANGER) in finding.description
    assert kinds(job_line(), None, deduction(currency="USD")) == [Kind.MISSING_CHARGE]


@pytest.mark.parametrize(("amount_cents", "kind"), [(4, Kind.MISSING_CHARGE), (6, Kind.DOUBLE_CHARGE)])
def test_less_than_the_cost_is_missing_and_more_is_too_much(amount_cents: int, kind: Kind) -> None:
    finding = only(job_line(), None, deduction(amount_cents=amount_cents))
    assert (finding.kind, finding.repair) == (kind, None)
    assert f"costs 0.05 EUR, and was charged 0.0{amount_cents} EUR" in finding.description


def test_a_charge_under_another_transaction_is_named_and_can_be_taken_over() -> None:
    finding = only(job_line(), None, deduction(transaction_id=transaction_id(2)))
    assert finding.kind is Kind.MISSING_CHARGE
    assert finding.repair == Rebill(job_id(1), "CHARGED", transaction_id(1), transaction_id(2))


def test_two_charges_of_one_job_are_a_double_charge() -> None:
    finding = only(job_line(), None, deduction(), ELSEWHERE)
    assert (finding.kind, finding.repair) == (Kind.DOUBLE_CHARGE, None)
    assert "charged 2 times" in finding.description
    assert str(OWNER) in finding.description
    assert str(STRANGER) in finding.description


def test_two_charges_of_others_are_a_double_charge_and_a_missing_one() -> None:
    others = (deduction(customer_id=STRANGER), ELSEWHERE)
    assert kinds(job_line(), None, *others) == [Kind.DOUBLE_CHARGE, Kind.MISSING_CHARGE]


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "PENDING", "RUNNING"])
def test_a_charge_for_work_that_was_not_done_is_one_without_job(status: str) -> None:
    finding = only(job_line(status=status, billing_status="RELEASED"), None, deduction())
    assert (finding.kind, finding.repair) == (Kind.CHARGE_WITHOUT_JOB, None)


def test_a_charge_of_a_job_that_nobody_knows_is_one_without_job() -> None:
    finding = only(None, None, deduction())
    assert (finding.kind, finding.id) == (Kind.CHARGE_WITHOUT_JOB, job_id(1))


@pytest.mark.parametrize("billing_status", ["DECLINED", "CHARGE_BLOCKED"])
def test_an_unpaid_job_that_was_charged_after_all_can_say_so(billing_status: str) -> None:
    finding = only(job_line(billing_status=billing_status), None, deduction())
    assert finding.kind is Kind.CHARGE_WITHOUT_JOB
    assert finding.repair == Rebill(job_id(1), billing_status, None, transaction_id(1))


def test_a_charge_that_the_job_does_not_know_of_yet_is_the_settlers_business_until_it_is_overdue() -> None:
    due = job_line(billing_status="CHARGE_DUE")
    assert not kinds(due, None, deduction())
    finding = only(due._replace(overdue="it has been due since noon"), None, deduction())
    assert finding.repair == Rebill(job_id(1), "CHARGE_DUE", None, transaction_id(1))


def test_a_due_charge_that_was_made_over_another_amount_is_found_at_once_and_not_taken_over() -> None:
    finding = only(job_line(billing_status="CHARGE_DUE"), None, deduction(amount_cents=50))
    assert (finding.kind, finding.repair) == (Kind.CHARGE_WITHOUT_JOB, None)


def test_two_charges_of_a_job_that_is_still_due_are_a_double_charge() -> None:
    assert kinds(job_line(billing_status="CHARGE_DUE"), None, deduction(), ELSEWHERE) == [Kind.DOUBLE_CHARGE]


def test_a_hold_of_a_job_that_is_not_settled_is_no_finding() -> None:
    hold = hold_line()
    for billing_status in ("HELD", "CHARGE_DUE", "RELEASE_DUE", "DECLINED", "CHARGE_BLOCKED"):
        assert judge_hold(hold, job_line(billing_status=billing_status, hold_id=hold.hold_id)) is None


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (None, "does not exist"),
        (job_line(billing_status="RELEASED", hold_id=hold_line().hold_id), "is SUCCEEDED, RELEASED"),
        (job_line(billing_status="HELD", hold_id=hold_line(2).hold_id), f"has the hold {hold_line(2).hold_id}"),
        (job_line(billing_status="UNHELD"), "has the hold None"),
    ],
)
def test_money_that_is_held_for_nothing_can_be_released(job: JobLine | None, reason: str) -> None:
    finding = judge_hold(hold_line(), job)
    assert finding is not None
    assert (finding.kind, finding.repair) == (Kind.ORPHAN_HOLD, Release(hold_line().hold_id))
    assert reason in finding.description


def test_a_hold_that_ended_meanwhile_is_no_finding() -> None:
    assert judge_hold(hold_line(state="CAPTURED"), None) is None


def test_a_held_job_needs_an_active_hold_of_its_own() -> None:
    job = job_line(status="PENDING", billing_status="HELD", hold_id=hold_line().hold_id)
    assert judge_job_hold(job, hold_line()) is None
    for hold, reason in (
        (None, "does not exist"),
        (hold_line(state="RELEASED"), "is RELEASED"),
        (hold_line(job_id=job_id(9)), f"is of the job {job_id(9)}"),
    ):
        finding = judge_job_hold(job, hold)
        assert finding is not None
        assert finding.kind is Kind.MISSING_HOLD
        assert reason in finding.description


def test_what_a_job_says_of_itself_is_named() -> None:
    job = job_line(disagreement="output_data", stuck="its lease ended at noon", overdue="it has no next try")
    found = list(judge_job(job))
    assert [one.kind for one in found] == [Kind.INCONSISTENT_JOB, Kind.STUCK_JOB, Kind.UNSETTLED_OVERDUE]
    assert "output_data" in found[0].description
    assert "its lease ended at noon" in found[1].description
    assert found[2].repair == TryNow(job_id(1), "CHARGED")


def test_an_overdue_charge_that_has_a_next_try_is_left_to_the_settler() -> None:
    [finding] = judge_job(job_line(billing_status="CHARGE_DUE", overdue="late", untried=False))
    assert finding.repair is None


def test_only_declined_and_blocked_jobs_are_exceptions() -> None:
    found = {status: exception_of(job_line(billing_status=status)) for status in ("DECLINED", "CHARGE_BLOCKED", "HELD")}
    assert {status: one and one.kind for status, one in found.items()} == {
        "DECLINED": Kind.DECLINED,
        "CHARGE_BLOCKED": Kind.BLOCKED,
        "HELD": None,
    }


def test_of_a_job_that_is_not_understood_nothing_else_is_said_and_its_hold_stays() -> None:
    job = job_line(billing_status="CHARGE_LATER", hold_id=hold_line().hold_id, unknown="billing_status", stuck="long")
    assert [finding.kind for finding in judge_job(job)] == [Kind.NOT_UNDERSTOOD]
    assert judge_hold(hold_line(job_id=job.job_id), job) is None
    assert not kinds(job, None, deduction())
