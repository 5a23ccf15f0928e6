"""The check on books in memory: what it reads, in which order and how often, and what it makes of suspects."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.support.verify_books import (
    PROMISED_KEYS,
    MemoryBooks,
    deduction,
    hold_line,
    job_line,
    receipt,
    transaction_id,
)
from tools.verify.findings import NAMED_PER_KIND, Finding, Kind, Limits, RepairOutcome, VerifyReport
from tools.verify.verification import verify


async def checked(memory: MemoryBooks, page: int = 3, **arguments: Any) -> VerifyReport:
    """Checks with tiny pages, and without waiting."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    limits = Limits(page=page, grace=timedelta(seconds=7))
    report = await verify(memory.books, limits=limits, **{"wait": wait, **arguments})
    if "wait" not in arguments:
        assert waited == ([7] if report.suspects else [])
    return report


def clean(count: int) -> MemoryBooks:
    """A third of the jobs is charged, a third is deleted and a third has failed."""
    return MemoryBooks(
        job_lines=[
            job_line(n) if n % 3 == 0 else job_line(n, status="FAILED", billing_status="RELEASED")
            for n in range(count)
            if n % 3 != 1
        ],
        receipt_lines=[receipt(n) for n in range(1, count, 3)],
        deduction_lines=[deduction(n) for n in range(count) if n % 3 != 2],
    )


@pytest.mark.parametrize("page", [1, 2, 3, 4, 7, 1000])
async def test_every_line_is_looked_at_once_whatever_the_size_of_the_pages(page: int) -> None:
    report = await checked(clean(60), page)
    assert report.ok
    assert (report.jobs_checked, report.receipts_checked, report.suspects) == (40, 20, 0)


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
async def test_each_damage_is_found_whatever_the_size_of_the_pages(page: int) -> None:
    memory = clean(60)
    memory.deduction_lines = [one for one in memory.deduction_lines if one.job_id != deduction(30).job_id]
    memory.deduction_lines += [deduction(9, transaction_id=transaction_id(900)), deduction(500), deduction(501)]
    memory.hold_lines = [hold_line(n) for n in (600, 601, 602)]
    report = await checked(memory, page)
    assert report.counts == {
        Kind.MISSING_CHARGE: 1,
        Kind.DOUBLE_CHARGE: 1,
        Kind.CHARGE_WITHOUT_JOB: 2,
        Kind.ORPHAN_HOLD: 3,
    }
    assert not report.ok


@pytest.mark.parametrize(
    "make",
    [
        clean,
        # Only one of the three is there, or one is much longer than the others.
        lambda count: MemoryBooks(receipt_lines=[receipt(n) for n in range(count)], job_lines=[job_line(count // 2)]),
        lambda count: MemoryBooks(deduction_lines=[deduction(n) for n in range(count)]),
        lambda count: MemoryBooks(
            job_lines=[
                job_line(n, status="PENDING", billing_status="HELD", hold_id=hold_line(n).hold_id) for n in range(count)
            ],
            hold_lines=[hold_line(n) for n in range(count)],
        ),
    ],
)
async def test_the_number_of_reads_grows_with_the_rows_and_no_faster(make: Any) -> None:
    small, large = make(300), make(3000)
    await checked(small, 30)
    await checked(large, 30)
    assert large.reads.total() <= 10 * small.reads.total()
    # Deductions of suspects are read twice.
    assert max(large.reads.values()) <= 2 * 3000 // 30 + 2


async def test_a_suspect_that_is_right_when_it_is_read_again_is_no_finding() -> None:
    memory = MemoryBooks(job_lines=[job_line(1)], hold_lines=[hold_line(2)])

    async def heal(_: float) -> None:
        memory.deduction_lines.append(deduction(1))
        memory.job_lines.append(job_line(2, status="PENDING", billing_status="HELD", hold_id=hold_line(2).hold_id))

    report = await checked(memory, wait=heal)
    assert report.ok
    assert report.suspects == 2
    assert not report.offenders


async def test_a_charge_that_is_made_while_suspects_are_read_again_is_no_finding() -> None:
    # The job is read as PENDING, and completed and charged before the ledger is read: at the second look as well.
    memory = MemoryBooks(job_lines=[job_line(1, status="RUNNING", billing_status="UNHELD")])

    def charge_after_the_jobs(name: str) -> None:
        if name == "receipts":
            memory.deduction_lines = [deduction(1)]

    def charge_between(name: str) -> None:
        if name == "receipts_of":
            memory.deduction_lines = [deduction(1)]

    async def another_run(_: float) -> None:
        memory.deduction_lines = []
        memory.on_read = charge_between

    memory.on_read = charge_after_the_jobs
    report = await checked(memory, wait=another_run)
    assert (report.suspects, report.ok) == (1, True)


async def test_a_job_that_is_settled_while_suspects_are_read_again_is_no_finding() -> None:
    # Its deduction is not there when the ledger is read first, and there when it is read after the job.
    memory = MemoryBooks(job_lines=[job_line(1)])

    def charge(name: str) -> None:
        if name == "jobs_of":
            memory.deduction_lines = [deduction(1)]

    memory.on_read = charge
    report = await checked(memory)
    assert (report.suspects, report.ok) == (1, True)


async def test_a_job_that_retention_deletes_between_the_reads_is_no_finding() -> None:
    memory = MemoryBooks(job_lines=[job_line(1)], deduction_lines=[deduction(1)])

    def delete(name: str) -> None:
        if name in ("jobs", "receipts_of"):
            memory.job_lines, memory.receipt_lines = [], [receipt(1)] if name == "receipts_of" else []

    memory.on_read = delete
    report = await checked(memory)
    assert (report.suspects, report.ok) == (1, True)


async def test_declined_and_blocked_charges_are_counted_and_named_and_the_books_are_right() -> None:
    memory = MemoryBooks(
        job_lines=[
            job_line(1, billing_status="DECLINED"),
            job_line(2, billing_status="CHARGE_BLOCKED"),
            *(job_line(n, billing_status="DECLINED") for n in range(3, 30)),
        ]
    )
    report = await checked(memory)
    assert report.ok
    assert (report.counts[Kind.DECLINED], report.counts[Kind.BLOCKED]) == (28, 1)
    assert len(report.offenders[Kind.DECLINED]) == NAMED_PER_KIND


async def test_a_job_without_its_hold_is_found_after_the_second_look() -> None:
    memory = MemoryBooks(
        job_lines=[job_line(1, status="PENDING", billing_status="HELD", hold_id=hold_line(1).hold_id)],
        hold_lines=[hold_line(1, state="RELEASED")],
    )
    report = await checked(memory)
    assert report.counts == {Kind.MISSING_HOLD: 1}


async def test_what_was_found_goes_to_repair_and_what_was_done_into_the_report() -> None:
    memory = MemoryBooks(job_lines=[job_line(n) for n in range(50)])

    class Repairing:
        async def repair(self, findings: Sequence[Finding]) -> Sequence[RepairOutcome]:
            return [RepairOutcome(one, "done", done=one.id.int % 2 == 0) for one in findings]

    report = await checked(memory, repairing=Repairing())
    assert report.repairs == 25
    assert len(report.repaired[Kind.MISSING_CHARGE]) == NAMED_PER_KIND
    assert not report.ok


async def test_the_report_has_the_promised_keys() -> None:
    report = (await checked(clean(9))).to_json()
    assert set(PROMISED_KEYS) <= report.keys()
    assert report["ok"] is True
