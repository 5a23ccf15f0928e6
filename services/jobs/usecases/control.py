"""What clients and operators do to jobs from outside: take them back, run them again, pause and resume."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any
from uuid import UUID

from innosystem.shared.crash import crash_point
from services.jobs.rules.control import Removal, Retry, cancellation, hold_for_retry, retried
from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.errors import JobNotFound
from services.jobs.rules.resources import STATUS
from services.jobs.usecases.ports import Changes, JobRepository, PauseRepository, Queue
from services.jobs.usecases.reservations import Reservations
from services.kit.data.corrupt import understood_by_key
from services.kit.data.locks import waiting_briefly
from services.kit.data.transactions.ambient import Isolation, Transactions
from services.kit.errors import DomainError, RowLocked
from services.kit.query.page import ListQuery, Page
from services.kit.query.specification import ALWAYS, Specification

#: Which jobs of those that a filter finds are taken back, and which are run again.
CANCELLABLE = STATUS.is_in((JobStatus.SCHEDULED, JobStatus.PENDING, JobStatus.RUNNING))
RETRYABLE = STATUS.is_in((JobStatus.FAILED, JobStatus.CANCELLED))


class ControlService:
    """The use cases that change jobs from outside of their runs. Each is one transaction for a whole batch.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        pauses: What is paused.
        reservations: Reserves the price of jobs that are run again.
        queue: Takes the IDs of jobs that wait again.
        changes: Is told of jobs that have changed.
        wake_settler: Is called when holds are to be released.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        pauses: PauseRepository,
        *,
        reservations: Reservations,
        queue: Queue,
        changes: Changes,
        wake_settler: Callable[[], None],
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._pauses = pauses
        self._reservations = reservations
        self._queue = queue
        self._changes = changes
        self._wake_settler = wake_settler

    async def cancel(
        self, job_ids: Sequence[UUID], reason: str, *, wanted: Specification = ALWAYS
    ) -> list[Job | DomainError]:
        """Takes jobs back; the same call again changes nothing.

        Args:
            job_ids: Which.
            reason: Kept with each job.
            wanted: What they still have to meet when they are locked; others are left out.

        Returns:
            The jobs as they are now, or why one was not taken back, aligned with the IDs.
        """

        async def change(jobs: dict[UUID, Job]) -> dict[UUID, DomainError]:
            removals: list[Removal] = []
            refused = _each(jobs, lambda job: _note(removals, cancellation(job, reason)))
            await self._jobs.apply(removals)
            self.transactions.after_commit(self._wake_settler)
            return refused

        return await self._change(job_ids, change, wanted)

    async def retry(
        self, job_ids: Sequence[UUID], *, wanted: Specification = ALWAYS, retry_count: int | None = None
    ) -> list[Job | DomainError]:
        """Has final jobs run again, at the frozen price; those that are not final are answered as they are.

        Args:
            job_ids: Which.
            wanted: What they still have to meet when they are locked; others are left out.
            retry_count: How often they have been run again as far as the caller knows; those that were run again more
                often are answered as they are. None for whatever it is.

        Returns:
            The jobs as they are now, or why one is not run again, aligned with the IDs.
        """
        until = monotonic() + self._reservations.times.store_within.total_seconds()
        async with self.transactions.begin(read_only=True):
            found = await self._jobs.get_many(set(job_ids))
        jobs = understood_by_key(found)
        needed = [hold for key in sorted(jobs) if (hold := hold_for_retry(jobs[key], retry_count)) is not None]
        reserved = await self._reservations.reserve(needed)
        crash_point("jobs.retry.before_update")

        async def change(jobs: dict[UUID, Job]) -> dict[UUID, DomainError]:
            retries: list[Retry] = []
            refused = _each(jobs, lambda job: _note(retries, retried(job, reserved, retry_count)))
            await self._jobs.apply(retries)
            self.transactions.after_commit(self._queue.wake)
            return refused

        return await self._change(job_ids, change, wanted, until - monotonic())

    async def matching(self, query: ListQuery) -> Page[Job]:
        """Answers the jobs that a query finds, to be changed then."""
        async with self.transactions.begin(read_only=True, isolation=Isolation.REPEATABLE_READ):
            return await self._jobs.list_page(query)

    async def set_queue(self, name: str, *, paused: bool) -> None:
        """Pauses or resumes a queue."""
        async with self.transactions.begin():
            await self._pauses.set_queue(name, paused=paused)
            self.transactions.after_commit(self._queue.wake)

    async def _change(
        self,
        job_ids: Sequence[UUID],
        change: Callable[[dict[UUID, Job]], Any],
        wanted: Specification,
        timeout_seconds: float | None = None,
    ) -> list[Job | DomainError]:
        if not job_ids:
            return []

        async def work(wait: bool) -> list[Job | DomainError]:
            return await self._change_at_once(job_ids, change, wanted, timeout_seconds, wait=wait)

        return await waiting_briefly(work)

    async def _change_at_once(
        self,
        job_ids: Sequence[UUID],
        change: Callable[[dict[UUID, Job]], Any],
        wanted: Specification,
        timeout_seconds: float | None,
        *,
        wait: bool,
    ) -> list[Job | DomainError]:
        async with self.transactions.begin(timeout_seconds=timeout_seconds):
            locked = await self._jobs.lock_many(set(job_ids), wait=wait)
            # Those that exist and could not be locked: others have locked them.
            missing = set(job_ids) - locked.keys()
            taken = dict.fromkeys(await self._jobs.versions(missing) if missing and not wait else (), RowLocked())
            # Since a filter found them, runners may have claimed some.
            known = understood_by_key(locked)
            jobs = {key: known[key] for key in sorted(known) if wanted.matches(known[key])}
            refused = {key: job for key, job in locked.items() if isinstance(job, DomainError)}
            refused.update(await change(jobs))
            now = understood_by_key(await self._jobs.get_many(jobs))
            changed = [key for key, job in now.items() if job.version != jobs[key].version]
            await self._jobs.audit([(jobs[key], now[key]) for key in changed])
            self.transactions.after_commit(lambda: self._changes.put(changed))
        asked = [key for key in job_ids if key in jobs or key in refused or key not in locked]
        return [taken.get(key) or refused.get(key) or now.get(key) or JobNotFound(key) for key in asked]


def _each(jobs: dict[UUID, Job], decide: Callable[[Job], None]) -> dict[UUID, DomainError]:
    """Decides on each job; answers why those are refused that are."""
    refused: dict[UUID, DomainError] = {}
    for key, job in jobs.items():
        try:
            decide(job)
        except DomainError as error:
            refused[key] = error
    return refused


def _note(noted: list[Any], found: Any) -> None:
    if found is not None:
        noted.append(found)
