"""Control of jobs by clients and operators: cancel, retry, pause and resume."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from time import monotonic
from typing import Any
from uuid import UUID

from innosystem.shared.crash import crash_point
from services.jobs.metrics import count_changed
from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.errors import JobNotFound
from services.jobs.rules.resources import STATUS
from services.jobs.rules.transitions.changes import Change
from services.jobs.rules.transitions.control import cancellation, hold_for_retry, retried, runs_again
from services.jobs.usecases.own_jobs import own_jobs
from services.jobs.usecases.ports import Changes, Customers, JobRepository, PauseRepository, Queue
from services.jobs.usecases.submission.admission import customer_refusal
from services.jobs.usecases.submission.limits import SubmissionLimits
from services.jobs.usecases.submission.reservations import Reservations
from services.kit.auth.principal import ANYONE, Principal
from services.kit.auth.tenants import Tenants
from services.kit.data.corrupt import understood_by_key
from services.kit.data.locks import waiting_briefly
from services.kit.data.transactions.ambient import Isolation, Transactions
from services.kit.errors import ConcurrentUpdate, DataCorrupt, DomainError, RowLocked
from services.kit.query.page import ListQuery, Page
from services.kit.query.specification import ALWAYS, Specification

#: Of the jobs that a filter finds, those that can be cancelled, and those that can be retried.
CANCELLABLE = STATUS.is_in((JobStatus.SCHEDULED, JobStatus.PENDING, JobStatus.RUNNING))
RETRYABLE = STATUS.is_in((JobStatus.FAILED, JobStatus.CANCELLED))


class ControlService:
    """The use cases that change jobs from outside of their runs. Each is one transaction for a whole batch.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        pauses: The paused queues and job types.
        customers: The customers whose jobs may run again.
        reservations: Reserves the price of jobs that are retried.
        queue: Dispatches jobs that wait again.
        changes: Notified of jobs that have changed.
        wake_settler: Called when holds are due for release.
        limits: The limits of submissions, which also count jobs that run again; None for none.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        pauses: PauseRepository,
        *,
        customers: Customers,
        reservations: Reservations,
        queue: Queue,
        changes: Changes,
        wake_settler: Callable[[], None],
        limits: SubmissionLimits | None = None,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._pauses = pauses
        self._customers = customers
        self._reservations = reservations
        self._queue = queue
        self._changes = changes
        self._wake_settler = wake_settler
        self._limits = limits

    async def cancel(
        self, job_ids: Sequence[UUID], reason: str, tenants: Tenants, *, wanted: Specification = ALWAYS
    ) -> list[Job | DomainError]:
        """Cancel jobs; a repeated call changes nothing.

        Args:
            job_ids: The jobs.
            reason: Stored with each job.
            tenants: Whose jobs exist for the caller.
            wanted: The condition that jobs must still satisfy when they are locked; others are left out.

        Returns:
            The present jobs, or why one was not cancelled, aligned with the IDs.
        """

        def decide(job: Job) -> Change | None:
            return cancellation(job, reason)

        own = await own_jobs(self.transactions, self._jobs, job_ids, tenants)
        return await self._change(job_ids, own, decide, wanted, self._wake_settler)

    async def retry(
        self,
        job_ids: Sequence[UUID],
        tenants: Tenants,
        *,
        wanted: Specification = ALWAYS,
        retry_count: int | None = None,
        caller: Principal = ANYONE,
    ) -> list[Job | DomainError]:
        """Run final jobs again, at their frozen price; jobs that are not final are returned unchanged.

        Args:
            job_ids: The jobs.
            tenants: Whose jobs exist for the caller.
            wanted: The condition that jobs must still satisfy when they are locked; others are left out.
            retry_count: The number of retries that the caller has seen; jobs with more are returned unchanged. None
                for any number.
            caller: The one whose limits count.

        Returns:
            The present jobs, or why one is not retried, aligned with the IDs.

        Raises:
            RateLimited: If a limit of the caller is used up.
        """
        until = monotonic() + self._reservations.times.store_within.total_seconds()
        own = await own_jobs(self.transactions, self._jobs, job_ids, tenants)
        async with self.transactions.begin(read_only=True):
            found = await self._jobs.get_many(own)
        jobs = understood_by_key(found)
        asked = {key: job.customer_id for key, job in jobs.items() if runs_again(job, retry_count)}
        refused = await self._refused(list(asked.values()), caller)
        jobs = {key: job for key, job in jobs.items() if job.customer_id not in refused}
        needed = [hold for key in sorted(jobs) if (hold := hold_for_retry(jobs[key], retry_count)) is not None]
        reserved = await self._reservations.reserve(needed)
        crash_point("jobs.retry.before_update")

        def decide(job: Job) -> Change | None:
            if runs_again(job, retry_count):
                if job.id not in asked:
                    # It has ended since it was read, so that nothing was asked about its customer.
                    raise ConcurrentUpdate
                if (error := refused.get(job.customer_id)) is not None:
                    raise error
            return retried(job, reserved, retry_count)

        return await self._change(job_ids, own, decide, wanted, self._queue.wake, timeout_seconds=until - monotonic())

    async def _refused(self, customer_ids: Sequence[UUID], caller: Principal) -> Mapping[UUID, DomainError]:
        """Return the customers whose jobs may not run again, as they could not be submitted now, and why.

        Args:
            customer_ids: The customer of each job that is to run again, which counts as a submission.
            caller: The one whose limits count.
        """
        if not customer_ids:
            return {}
        limited: Mapping[UUID, DomainError] = {}
        if self._limits is not None:
            limited = await self._limits.refused_again(customer_ids, caller)
        others = set(customer_ids) - limited.keys()
        active = await self._customers.active(others) if others else {}
        refusals = {one: customer_refusal(one, active.get(one)) for one in others}
        return {**limited, **{one: error for one, error in refusals.items() if error is not None}}

    async def matching(self, query: ListQuery) -> Page[Job]:
        """Return the jobs that a query finds, to be changed by a later call."""
        async with self.transactions.begin(read_only=True, isolation=Isolation.REPEATABLE_READ):
            return await self._jobs.list_page(query)

    async def set_queue(self, name: str, *, paused: bool) -> None:
        """Pause or resume a queue."""
        async with self.transactions.begin():
            await self._pauses.set_queue(name, paused=paused)
            self.transactions.after_commit(self._queue.wake)

    async def _change(
        self,
        job_ids: Sequence[UUID],
        own: AbstractSet[UUID],
        decide: Callable[[Job], Change | None],
        wanted: Specification,
        after_commit: Callable[[], None],
        *,
        timeout_seconds: float | None = None,
    ) -> list[Job | DomainError]:
        if not job_ids:
            return []

        async def work(wait: bool) -> list[Job | DomainError]:
            async with self.transactions.begin(timeout_seconds=timeout_seconds):
                self.transactions.after_commit(after_commit)
                return await self._change_locked(job_ids, own, decide, wanted, wait=wait)

        return await waiting_briefly(work)

    async def _change_locked(
        self,
        job_ids: Sequence[UUID],
        own: AbstractSet[UUID],
        decide: Callable[[Job], Change | None],
        wanted: Specification,
        *,
        wait: bool,
    ) -> list[Job | DomainError]:
        """Lock, change and audit jobs in the open transaction."""
        locked = await self._jobs.lock_many(own, wait=wait)
        # Jobs that exist and could not be locked: their rows are locked by another transaction.
        missing = own - locked.keys()
        taken = dict.fromkeys(await self._jobs.versions(missing) if missing and not wait else (), RowLocked())
        # Runners may have claimed some since the filter found them.
        known = understood_by_key(locked)
        jobs = {key: known[key] for key in sorted(known) if wanted.matches(known[key])}
        refused: dict[UUID, DomainError] = {key: job for key, job in locked.items() if isinstance(job, DataCorrupt)}
        changes: list[Change] = []
        for key, job in jobs.items():
            try:
                change = decide(job)
            except DomainError as error:
                refused[key] = error
            else:
                changes += [] if change is None else [change]
        await self._jobs.apply(changes)
        now = understood_by_key(await self._jobs.get_many(jobs))
        changed = [key for key, job in now.items() if job.version != jobs[key].version]
        await self._jobs.audit([(jobs[key], now[key]) for key in changed])
        self.transactions.after_commit(lambda: self._changes.put(changed))
        self.transactions.after_commit(lambda: count_changed(jobs, changes))
        named = [key for key in job_ids if key in jobs or key in refused or key not in locked]
        return [taken.get(key) or refused.get(key) or now.get(key) or JobNotFound(key) for key in named]
