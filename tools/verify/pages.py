"""A walk over jobs, receipts and deductions side by side, in the order of the jobs' IDs, page by page."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from tools.verify.lines import EVERYTHING, LAST_ID, Deduction, JobLine, JobsBooks, LedgerBooks, Range, Receipt


class BelongsToJob(Protocol):
    """A line that belongs to a job."""

    @property
    def job_id(self) -> UUID:
        """The job."""
        ...


L = TypeVar("L", bound=BelongsToJob)


@dataclass(frozen=True)
class Page:
    """All lines of the jobs of a range."""

    jobs: Sequence[JobLine]
    receipts: Sequence[Receipt]
    deductions: Sequence[Deduction]


async def pages(jobs: JobsBooks, ledger: LedgerBooks, limit: int) -> AsyncIterator[Page]:
    """Yield page after page.

    The jobs are read first: a deduction that a job names was written before, so it is found later. Lines of one kind
    behind the end of another kind are read again on the next page. Their number is at most the size of a page of the
    other kind, so the time is linear in the number of rows.
    """
    wanted = EVERYTHING
    while True:
        job_lines = await jobs.jobs(wanted, limit)
        wanted = _until_end(wanted, job_lines, limit)
        receipts = await jobs.receipts(wanted, limit)
        wanted = _until_end(wanted, receipts, limit)
        deductions = await ledger.deductions(wanted, limit)
        wanted = _until_end(wanted, deductions, limit)
        yield Page(_within(wanted, job_lines), _within(wanted, receipts), deductions)
        if wanted.last == LAST_ID:
            return
        wanted = Range(UUID(int=wanted.last.int + 1), LAST_ID)


def _until_end(wanted: Range, lines: Sequence[BelongsToJob], limit: int) -> Range:
    """End a range where a full page ends, because the lines behind it are unread."""
    return wanted if len(lines) < limit else Range(wanted.first, max(line.job_id for line in lines))


def _within(wanted: Range, lines: Sequence[L]) -> Sequence[L]:
    if not lines or lines[-1].job_id <= wanted.last:
        return lines
    return [line for line in lines if line.job_id <= wanted.last]


def by_job(lines: Sequence[L]) -> dict[UUID, list[L]]:
    """Group lines by their job."""
    grouped: dict[UUID, list[L]] = {}
    for line in lines:
        grouped.setdefault(line.job_id, []).append(line)
    return grouped


def chunks(ids: Sequence[UUID], size: int) -> list[Sequence[UUID]]:
    """Cut IDs into chunks."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]
