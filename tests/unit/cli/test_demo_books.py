from dataclasses import replace

import pytest

from services.cli.demo_books import Books, JobEntry, LedgerEntry, audit

CHARGED = JobEntry("a", "SUCCEEDED", "CHARGED", 3)
DECLINED = JobEntry("b", "SUCCEEDED", "DECLINED", 3)
FAILED = JobEntry("c", "FAILED", "RELEASED")
CREDIT = LedgerEntry("CREDIT", 5)
CHARGE = LedgerEntry("DEDUCTION", -3, "a")
GOOD = Books("Ada", 5, 2, ["a", "b", "c"], [CHARGED, DECLINED, FAILED], [CREDIT, CHARGE])


def problems(**changes: object) -> str:
    return "\n".join(audit([replace(GOOD, **changes)]).problems)  # type: ignore[arg-type]


def test_books_that_agree_have_no_findings() -> None:
    findings = audit([GOOD, GOOD])
    assert (findings.double_charges, findings.missing_charges, findings.ledger_imbalance_cents) == (0, 0, 0)
    assert findings.problems == []


def test_a_second_charge_for_a_job_is_found() -> None:
    books = replace(GOOD, ledger=[CREDIT, CHARGE, CHARGE], balance_after_cents=-1)
    findings = audit([books])
    assert findings.double_charges == 1
    assert "charged 2 times" in "\n".join(findings.problems)


def test_a_charged_job_without_a_deduction_is_found() -> None:
    findings = audit([replace(GOOD, ledger=[CREDIT], balance_after_cents=5)])
    assert findings.missing_charges == 1
    assert findings.problems


def test_a_balance_that_is_not_the_sum_of_the_ledger_is_found() -> None:
    findings = audit([replace(GOOD, balance_after_cents=4)])
    assert findings.ledger_imbalance_cents == 2
    assert findings.problems


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "SCHEDULED"])
def test_a_job_that_is_not_final_is_found(status: str) -> None:
    assert f"still {status}" in problems(jobs=[CHARGED, JobEntry("d", status, "UNHELD")])


@pytest.mark.parametrize("job", [FAILED, DECLINED])
def test_a_charge_for_a_job_that_owes_nothing_is_found(job: JobEntry) -> None:
    assert "was charged" in problems(jobs=[replace(job, job_id="a")])


def test_a_succeeded_job_that_is_neither_charged_nor_declined_is_found() -> None:
    assert "CHARGE_DUE" in problems(jobs=[CHARGED, JobEntry("d", "SUCCEEDED", "CHARGE_DUE", 3)])


def test_a_charge_of_another_amount_than_the_job_costs_is_found() -> None:
    assert "costs 4 and was charged 3" in problems(jobs=[replace(CHARGED, cost_cents=4)])


def test_a_charge_for_an_unknown_job_is_found() -> None:
    assert "not among the customer's jobs" in problems(jobs=[DECLINED, FAILED])


def test_a_balance_that_moved_by_more_than_the_charges_is_found() -> None:
    assert "less the charges" in problems(balance_before_cents=6)


def test_an_accepted_job_that_is_gone_is_found() -> None:
    assert "job d was accepted and is lost" in problems(submitted=["a", "b", "c", "d"])


def test_a_job_that_nobody_submitted_is_found() -> None:
    assert "job c is there and was not submitted" in problems(submitted=["a", "b"])
