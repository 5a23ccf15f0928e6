"""The check itself: everything is read once, and suspects are read again before they become findings.

On a live system, two databases are never read at the same moment. To find missing charges, the check reads jobs, then
the ledger; to find surplus charges, the ledger, then jobs: the charge comes after the completion, and the settlement
after the charge. The first walk ignores this order and only collects suspects.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol
from uuid import UUID

from services.wallets.rules.books import START, Findings, Problem
from services.wallets.usecases.verify_ledger import LedgerVerification
from tools.verify.findings import Finding, Kind, Limits, RepairOutcome, VerifyReport
from tools.verify.lines import (
    CustomersBooks,
    Deduction,
    HoldPosition,
    JobLine,
    JobsBooks,
    LedgerBooks,
    Receipt,
    RowBooks,
    RowPage,
    UnknownValue,
)
from tools.verify.pages import Page, by_job, chunks, pages
from tools.verify.rules import exception_of, judge_charge, judge_hold, judge_job, judge_job_hold

_WALLET_PAGE = 50_000
# A set of this many IDs takes about 15 MB.
_CUSTOMERS_REMEMBERED = 100_000
_WALLET_KINDS = {
    Problem.SEQUENCE_GAP: Kind.SEQUENCE_GAP,
    Problem.BROKEN_CHAIN: Kind.LEDGER_IMBALANCE,
    Problem.BALANCE: Kind.LEDGER_IMBALANCE,
    Problem.PENDING: Kind.PENDING_IMBALANCE,
}
# A charge that the ledger lacks; all other findings about charges are of surplus charges.
_MISSING = frozenset({Kind.MISSING_CHARGE})


class Repairing(Protocol):
    """The repair of findings."""

    async def repair(self, findings: Sequence[Finding]) -> Sequence[RepairOutcome]:
        """Make the repairs of the findings that have one, if the state has not changed since."""
        ...


@dataclass(frozen=True)
class PlatformBooks:
    """The books of all services.

    Attributes:
        jobs: The jobs.
        ledger: The ledger.
        wallets: The wallets' own check.
        customers: The customers.
        rows: The tables whose rows are judged within their database.
    """

    jobs: JobsBooks
    ledger: LedgerBooks
    wallets: LedgerVerification
    customers: CustomersBooks
    rows: Sequence[RowBooks] = ()


_DEFAULT = Limits()


async def verify(
    books: PlatformBooks,
    *,
    limits: Limits = _DEFAULT,
    repairing: Repairing | None = None,
    wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> VerifyReport:
    """Check the wallets, charges and holds against jobs, the customers of all of them, and each row by itself.

    Memory grows with the number of suspects, and time with the number of rows.

    Args:
        books: The books to check.
        limits: How long work in flight may take, and the size of a page; the same as of the books.
        repairing: Repairs the findings; None to repair nothing.
        wait: Waits for the grace time.
    """
    check = _Check(books, limits, repairing)
    started = monotonic()
    await check.wallets()
    for rows in books.rows:
        await check.rows(rows)
    await check.walk()
    await check.old_holds()
    if check.suspected:
        await wait(limits.grace.total_seconds())
        await check.suspects_again()
    check.report.seconds = monotonic() - started
    return check.report


class _Check:
    """A check: its report and its suspects."""

    def __init__(self, books: PlatformBooks, limits: Limits, repairing: Repairing | None) -> None:
        self.report = VerifyReport()
        self._books = books
        self._limits = limits
        self._repairing = repairing
        self._jobs: set[UUID] = set()
        self._holds: set[UUID] = set()
        self._customers: set[UUID] = set()

    @property
    def suspected(self) -> bool:
        """Whether the check has suspects to read again."""
        return bool(self._jobs or self._holds)

    async def wallets(self) -> None:
        """Check the wallets. A page of them is read at one moment, so nothing needs a second reading."""
        page: Findings | None = None
        while page is None or page.position is not None:
            after = START if page is None or page.position is None else page.position
            page = await self._books.wallets.page(after, _WALLET_PAGE)
            self.report.wallets += page.wallets
            self.report.transactions += page.transactions
            self.report.active_holds += page.active_holds
            self.report.sequence_gaps += page.sequence_gaps
            self.report.ledger_imbalance_cents += page.ledger_imbalance_cents
            self.report.pending_imbalance_cents += page.pending_imbalance_cents
            for one in page.offenders:
                self.report.add(Finding(_WALLET_KINDS[one.problem], "wallet", one.wallet_id, one.description))

    async def rows(self, rows: RowBooks) -> None:
        """Walk a table. Its rows and the related rows are read at one moment, so nothing needs a second reading."""
        page: RowPage | None = None
        while page is None or page.position is not None:
            page = await rows.page(None if page is None else page.position, self._limits.page)
            for one in page.wrong:
                if isinstance(one.problem, UnknownValue):
                    description = f"has a value that this release does not understand: {one.problem.value}"
                    self.report.add(Finding(Kind.VALUE_NOT_UNDERSTOOD, rows.subject, one.id, description))
                else:
                    self.report.add(Finding(rows.kind, rows.subject, one.id, f"contradicts its {one.problem.column}"))
            await self._customers_of(dict.fromkeys(page.customer_ids))

    async def _customers_of(self, lines: Mapping[UUID, JobLine | Receipt | None]) -> None:
        """Look up the customers of lines that were read before: customers precede their lines and are never deleted."""
        unknown = lines.keys() - self._customers
        if not unknown:
            return
        existing = await self._books.customers.existing(unknown)
        if len(self._customers) > _CUSTOMERS_REMEMBERED:
            self._customers.clear()
        self._customers |= existing
        for customer_id in sorted(unknown - existing):
            line = lines[customer_id]
            owned = "a wallet" if line is None else f"the job {line.job_id}"
            description = f"does not exist, and has {owned}"
            self.report.add(Finding(Kind.UNKNOWN_CUSTOMER, "customer", customer_id, description))

    async def walk(self) -> None:
        """Walk jobs, receipts and deductions, and count the allowed exceptions."""
        async for page in pages(self._books.jobs, self._books.ledger, self._limits.page):
            self.report.jobs_checked += len(page.jobs)
            self.report.receipts_checked += len(page.receipts)
            lines: list[JobLine | Receipt] = [*page.receipts, *page.jobs]
            await self._customers_of({line.customer_id: line for line in lines})
            for job in page.jobs:
                if (exception := exception_of(job)) is not None:
                    self.report.add(exception)
            self._jobs.update(finding.id for finding in _about_charges(page))
            self._jobs.update(finding.id for job in page.jobs for finding in judge_job(job))
            self._jobs.update(finding.id for finding in await self._about_job_holds(page.jobs))

    async def old_holds(self) -> None:
        """Walk the active holds that are old enough to have a job."""
        after: HoldPosition | None = None
        size = self._limits.page
        while True:
            holds = await self._books.ledger.old_holds(after, size)
            jobs = await self._jobs_by_id([hold.job_id for hold in holds if hold.job_id is not None])
            for hold in holds:
                if judge_hold(hold, None if hold.job_id is None else jobs.get(hold.job_id)) is not None:
                    self._holds.add(hold.hold_id)
            if len(holds) < size:
                return
            after = HoldPosition(holds[-1].created_at, holds[-1].hold_id)

    async def suspects_again(self) -> None:
        """Read all suspects again, in the order that proves an error, and report those that are still wrong."""
        self.report.suspects = len(self._jobs) + len(self._holds)
        for job_ids in chunks(sorted(self._jobs), self._limits.page):
            await self._report(await self._jobs_again(job_ids))
        for hold_ids in chunks(sorted(self._holds), self._limits.page):
            await self._report(await self._holds_again(hold_ids))

    async def _jobs_again(self, job_ids: Sequence[UUID]) -> list[Finding]:
        before = await self._books.ledger.deductions_of(job_ids)
        # A job that retention deletes now is in one of the two results.
        jobs = await self._books.jobs.jobs_of(job_ids)
        receipts = await self._books.jobs.receipts_of(job_ids)
        after = await self._books.ledger.deductions_of(job_ids)
        too_much = _about_charges(Page(jobs, receipts, before))
        too_little = _about_charges(Page(jobs, receipts, after))
        return [
            *(finding for finding in too_little if finding.kind in _MISSING),
            *(finding for finding in too_much if finding.kind not in _MISSING),
            *(finding for job in jobs for finding in judge_job(job)),
            *await self._about_job_holds(jobs),
        ]

    async def _holds_again(self, hold_ids: Sequence[UUID]) -> list[Finding]:
        holds = await self._books.ledger.holds_of(hold_ids)
        jobs = await self._jobs_by_id([hold.job_id for hold in holds if hold.job_id is not None])
        judged = (judge_hold(hold, None if hold.job_id is None else jobs.get(hold.job_id)) for hold in holds)
        return [finding for finding in judged if finding is not None]

    async def _about_job_holds(self, jobs: Sequence[JobLine]) -> list[Finding]:
        """Judge the holds of jobs that were read before.

        The hold of a job that was CHARGED its whole price is judged with its charge.
        """
        held = [(job, job.hold_id) for job in jobs if job.hold_id is not None and not _is_charged_whole(job)]
        if not held:
            return []
        holds = {hold.hold_id: hold for hold in await self._books.ledger.holds_of([hold_id for _, hold_id in held])}
        judged = (judge_job_hold(job, holds.get(hold_id)) for job, hold_id in held)
        return [finding for finding in judged if finding is not None]

    async def _jobs_by_id(self, job_ids: Sequence[UUID]) -> dict[UUID, JobLine]:
        jobs = await self._books.jobs.jobs_of(job_ids) if job_ids else []
        return {job.job_id: job for job in jobs}

    async def _report(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self.report.add(finding)
        if self._repairing is not None:
            for repaired in await self._repairing.repair(findings):
                self.report.add_repaired(repaired)


def _is_charged_whole(job: JobLine) -> bool:
    return job.billing_status == "CHARGED" and job.cost_cents == job.estimated_cost_cents


def _about_charges(page: Page) -> Iterator[Finding]:
    """Judge the charges of all jobs of a page, of receipts, and of jobs that only the ledger names."""
    receipts: dict[UUID, Receipt] = {receipt.job_id: receipt for receipt in page.receipts}
    by_job_id: dict[UUID, list[Deduction]] = by_job(page.deductions)
    none: list[Deduction] = []
    for job in page.jobs:
        yield from judge_charge(job, receipts.pop(job.job_id, None), by_job_id.pop(job.job_id, none))
    # The remaining receipts and deductions have no job.
    for receipt in receipts.values():
        yield from judge_charge(None, receipt, by_job_id.pop(receipt.job_id, none))
    for deductions in by_job_id.values():
        yield from judge_charge(None, None, deductions)
