from dataclasses import replace

import pytest

from tools.demo.books import CustomerBooks, JobEntry, LedgerEntry, check_books

CHARGED = JobEntry("a", "SUCCEEDED", "CHARGED", 3)
FAILED = JobEntry("c", "FAILED", "RELEASED")
CREDIT = LedgerEntry("CREDIT", 5)
CHARGE = LedgerEntry("DEDUCTION", -3, "a")
GOOD = CustomerBooks(
    name="Ada",
    balance_before_cents=5,
    balance_after_cents=2,
    held_cents=0,
    price_cents=3,
    submitted=["a", "c"],
    refused=["b"],
    jobs=[CHARGED, FAILED],
    ledger=[CREDIT, CHARGE],
)


def problems(**changes: object) -> str:
    return "\n".join(check_books([replace(GOOD, **changes)]).problems)  # type: ignore[arg-type]


def test_books_that_agree_have_no_findings() -> None:
    findings = check_books([GOOD, GOOD])
    assert (findings.double_charges, findings.missing_charges, findings.ledger_imbalance_cents) == (0, 0, 0)
    assert findings.problems == []


def test_a_second_charge_for_a_job_is_found() -> None:
    books = replace(GOOD, ledger=[CREDIT, CHARGE, CHARGE], balance_after_cents=-1)
    findings = check_books([books])
    assert findings.double_charges == 1
    assert "charged 2 times" in "\n".join(findings.problems)


def test_a_charged_job_without_a_deduction_is_found() -> None:
    findings = check_books([replace(GOOD, ledger=[CREDIT], balance_after_cents=5)])
    assert findings.missing_charges == 1
    assert findings.problems


def test_a_balance_that_is_not_the_sum_of_the_ledger_is_found() -> None:
    findings = check_books([replace(GOOD, balance_after_cents=4)])
    assert findings.ledger_imbalance_cents == 2
    assert findings.problems


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "SCHEDULED"])
def test_a_job_that_is_not_final_is_found(status: str) -> None:
    assert f"still {status}" in problems(jobs=[CHARGED, JobEntry("d", status, "UNHELD")])


def test_a_charge_for_a_job_that_owes_nothing_is_found() -> None:
    assert "was charged" in problems(jobs=[replace(FAILED, job_id="a")])


@pytest.mark.parametrize("billing_status", ["CHARGE_DUE", "DECLINED"])
def test_a_succeeded_job_that_is_not_charged_is_found(billing_status: str) -> None:
    assert billing_status in problems(jobs=[CHARGED, JobEntry("d", "SUCCEEDED", billing_status, 3)])


def test_money_that_is_still_held_is_found() -> None:
    assert "1 cents are still held" in problems(held_cents=1)


def test_a_refusal_of_what_could_be_paid_is_found() -> None:
    assert "there is money for one" in problems(price_cents=1)
    assert "there is money" not in problems(price_cents=1, refused=[])
    # The job that failed gave back what it held after the refusal.
    assert "there is money" not in problems(price_cents=2)


def test_a_refused_job_that_is_there_is_found() -> None:
    assert "job b exists and was refused" in problems(jobs=[CHARGED, FAILED, replace(FAILED, job_id="b")])


def test_a_charge_of_another_amount_than_the_job_costs_is_found() -> None:
    assert "costs 4 and was charged 3" in problems(jobs=[replace(CHARGED, cost_cents=4)])


def test_a_charge_for_an_unknown_job_is_found() -> None:
    assert "not among the customer's jobs" in problems(jobs=[FAILED])


def test_a_balance_that_moved_by_more_than_the_charges_is_found() -> None:
    assert "less the charges" in problems(balance_before_cents=6)


def test_an_accepted_job_that_is_gone_is_found() -> None:
    assert "job d was accepted and is lost" in problems(submitted=["a", "c", "d"])


def test_a_job_that_nobody_submitted_is_found() -> None:
    assert "job c exists and was not submitted" in problems(submitted=["a"])
