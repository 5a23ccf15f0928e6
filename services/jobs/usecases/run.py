"""Runs of jobs: runners claim jobs, renew leases, report how runs ended, and settle charges."""

from asyncio import sleep
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar
from uuid import UUID

import structlog

from innosystem.shared.crash import crash_point
from services.jobs.metrics import count_changed, count_claimed
from services.jobs.rules.entities import Backlog, Billing, BillingStatus, Charge, Job, JobStatus, Waiting, charge_due
from services.jobs.rules.errors import JobNotFound, LeaseLost, SettlementNotAuthorised
from services.jobs.rules.job_types import JobType
from services.jobs.rules.transitions.callbacks import Awaiting, awaiting, was_called_back
from services.jobs.rules.transitions.changes import Failure, applied
from services.jobs.rules.transitions.completion import (
    AwaitCallback,
    BillingChange,
    Charged,
    Completion,
    Declined,
    Ending,
    GiveBack,
    Settlement,
    ending,
    given_back,
    holds_lease,
    is_proven,
    is_repeated,
    settled,
)
from services.jobs.rules.transitions.deaths import DeathRules
from services.jobs.rules.transitions.leasing import Claim, Claimed, Renewal
from services.jobs.usecases.own_jobs import for_own_jobs, own_jobs
from services.jobs.usecases.ports import Changes, JobRepository, JobTypes, Queue, Unserved
from services.kit.auth.tenants import Tenants
from services.kit.batching.coalescing import Coalescer
from services.kit.data.corrupt import understood_by_key
from services.kit.data.locks import waiting_briefly
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DataCorrupt, DomainError, RowLocked

T = TypeVar("T")
_DEATHS = DeathRules()

log = structlog.get_logger(__name__)

# A renewal does not wait for locked rows; it tries them again, because most are free a moment later.
_RENEWAL_PAUSES = (0.0, 0.05, 0.2)


@dataclass(frozen=True)
class Recorded:
    """A recorded completion: the present status of the job, and the charge to make, if any."""

    status: JobStatus
    charge: Charge | None


class LeaseEnd(Enum):
    """Why a runner has lost the lease of a job."""

    CANCELLED = "CANCELLED"
    LOST = "LOST"


@dataclass(frozen=True)
class Kept:
    """The result of a renewal.

    Attributes:
        not_renewed: The jobs that the runner must stop, and why.
        lease_expires_at: When the other leases end; None without other leases.
    """

    not_renewed: Mapping[UUID, LeaseEnd]
    lease_expires_at: datetime | None


@dataclass(frozen=True)
class Return:
    """A job that its runner returns to the queue.

    Attributes:
        not_served: Whether the runner lacks the handler, so that the job needs another runner.
        wait: The time after which the job may be claimed again; None for immediately.
    """

    job_id: UUID
    lease_id: UUID
    reason: str = ""
    not_served: bool = False
    wait: timedelta | None = None

    @property
    def completion(self) -> Completion:
        """The completion whose digest identifies a repetition of this return."""
        return Completion(job_id=self.job_id, lease_id=self.lease_id)


class RunService:
    """The use cases of runners. Each is one transaction for a whole batch.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        job_types: The job types, which define how long failed jobs wait.
        queue: Dispatches jobs that wait again.
        changes: Notified of jobs that have changed.
        unserved: Notified of jobs for which runners lack the handler.
        wake_settler: Called when holds are due for release.
        settle_after: The time that a runner has to make a charge; then the settler makes it.
        deaths: How often a job's own process may die.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        *,
        job_types: JobTypes,
        queue: Queue,
        changes: Changes,
        unserved: Unserved,
        wake_settler: Callable[[], None],
        settle_after: timedelta,
        deaths: DeathRules = _DEATHS,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._job_types = job_types
        self._queue = queue
        self._changes = changes
        self._unserved = unserved
        self._wake_settler = wake_settler
        self._settle_after = settle_after
        self._deaths = deaths
        self._completions = Coalescer(
            "completions",
            self._complete,
            unlocked=partial(self._complete, wait=False),
            key=attrgetter("job_id"),
            size=attrgetter("output_bytes"),
        )
        self._settlements = Coalescer(
            "settlements", self._settle, unlocked=partial(self._settle, wait=False), key=attrgetter("job_id")
        )

    async def claim(self, claim: Claim, tenants: Tenants) -> Claimed:
        """Make PENDING jobs RUNNING under the claim's lease; a repeated claim returns the same jobs.

        A claim of no jobs only reports which handlers a runner has. Jobs of other tenants are left out.
        """
        if not tenants.are_all:
            own = await own_jobs(self.transactions, self._jobs, claim.job_ids, tenants)
            claim = replace(claim, job_ids=[one for one in claim.job_ids if one in own])

        async def work(wait: bool) -> Claimed:
            async with self.transactions.begin():
                claimed = await self._jobs.claim(claim, wait=wait)
                self._changed(one.job.id for one in claimed.jobs)
            return claimed

        claimed = await waiting_briefly(work) if claim.job_ids else Claimed((), ())
        self._unserved.claimed(claim, claimed)
        if claimed.jobs:
            count_claimed(one.job for one in claimed.jobs)
            crash_point("jobs.claim.before_reply")
        for error in claimed.corrupt:
            log.error("jobs_left_waiting", reason=error.reason, error=error.message)
        return claimed

    async def renew(self, renewal: Renewal, tenants: Tenants) -> Kept:
        """Extend the leases of a runner's jobs, and return the jobs that the runner must stop.

        A job whose row stays locked is not among them, although its lease is not renewed: the next renewal may find
        the row free. A job of other tenants is lost, as one that does not exist.
        """
        own = await own_jobs(self.transactions, self._jobs, renewal.job_ids, tenants)
        ends = {key: LeaseEnd.LOST for key in renewal.job_ids if key not in own}
        expires_at: datetime | None = None
        left = set(own)
        for pause_seconds in _RENEWAL_PAUSES:
            await sleep(pause_seconds)
            async with self.transactions.begin():
                renewed = await self._jobs.renew(replace(renewal, job_ids=list(left)))
                missing = left - renewed.job_ids
                found = understood_by_key(await self._jobs.get_many(missing)) if missing else {}
            expires_at = expires_at or renewed.lease_expires_at
            left = {key for key, job in found.items() if job.lease_id in renewal.lease_ids}
            ends.update((key, _lease_end(found.get(key))) for key in missing - left)
            if not left:
                break
        else:
            log.warning("leases_not_renewed_rows_locked", job_ids=[str(job_id) for job_id in left])
        return Kept(ends, expires_at)

    async def complete(self, completions: Sequence[Completion], tenants: Tenants) -> list[Recorded | DomainError]:
        """Record how runs ended; the status and the charge that is due are stored together.

        A repeated completion returns the same result. Any other completion of a job that does not run under the lease
        is refused and changes nothing. Concurrent calls share a transaction.

        Returns:
            The results, aligned with the completions.
        """
        return await for_own_jobs(self.transactions, self._jobs, completions, tenants, self._completions)

    async def _complete(self, completions: Sequence[Completion], *, wait: bool = True) -> list[Recorded | DomainError]:
        types = await self._types_of_failures(completions)
        job_ids = {one.job_id for one in completions}
        async with self.transactions.begin():
            locked = await self._jobs.lock_many(job_ids, wait=wait)
            taken = await self._taken(job_ids - locked.keys(), wait=wait)
            jobs = understood_by_key(locked)
            chosen: dict[UUID, Ending | Awaiting] = {}
            for one in completions:
                job = jobs.get(one.job_id)
                if job is not None and holds_lease(job, one.lease_id) and job.id not in chosen:
                    chosen[job.id] = self._end_of_run(job, one, types.get(job.job_type_id))
            await self._jobs.apply(_in_order(chosen))
            self._changed(chosen)
            ends = [end for end in chosen.values() if isinstance(end, Ending)]
            if any(end.billing_status is BillingStatus.RELEASE_DUE for end in ends):
                self.transactions.after_commit(self._wake_settler)
            waits = [end.run_at for end in ends if end.run_at is not None]
            if waits:
                self.transactions.after_commit(lambda: self._queue.expect(min(waits)))
        count_changed(jobs, chosen.values())
        crash_point("jobs.complete.before_reply")
        jobs.update({key: applied(jobs[key], end) for key, end in chosen.items()})
        return [
            taken.get(one.job_id) or _recorded(one, jobs.get(one.job_id) or locked.get(one.job_id))
            for one in completions
        ]

    def _end_of_run(self, job: Job, completion: Completion, job_type: JobType | None) -> Ending | Awaiting:
        if isinstance(completion.outcome, AwaitCallback):
            return awaiting(job, completion, completion.outcome)
        return ending(job, completion, job_type, self._deaths, settle_after=self._settle_after)

    async def give_back(self, returns: Sequence[Return], tenants: Tenants) -> list[JobStatus | DomainError]:
        """Return jobs that their runner cannot finish to the queue, without using up an attempt.

        Returns:
            The present statuses, aligned with the returns.
        """

        async def work(own: Sequence[Return]) -> list[JobStatus | DomainError]:
            return await waiting_briefly(partial(self._give_back, own))

        return await for_own_jobs(self.transactions, self._jobs, returns, tenants, work)

    async def _give_back(self, returns: Sequence[Return], wait: bool) -> list[JobStatus | DomainError]:
        job_ids = {one.job_id for one in returns}
        async with self.transactions.begin():
            locked = await self._jobs.lock_many(job_ids, wait=wait)
            taken = await self._taken(job_ids - locked.keys(), wait=wait)
            jobs = understood_by_key(locked)
            chosen: dict[UUID, GiveBack] = {}
            for one in returns:
                job = jobs.get(one.job_id)
                if job is not None and holds_lease(job, one.lease_id):
                    chosen.setdefault(job.id, given_back(job, one.completion, one.wait))
            await self._jobs.apply(_in_order(chosen))
            waiting = [Waiting.of(jobs[key]) for key, one in chosen.items() if one.status is JobStatus.PENDING]
            # In front of the list, these jobs would return to a runner that lacks their handler.
            apart = {one.job_id for one in returns if one.not_served and one.job_id in chosen}
            if apart:
                await self._jobs.withhold(apart)
            self._changed(chosen)
            self.transactions.after_commit(
                lambda: self._queue.put([one for one in waiting if one.id not in apart], first=True)
            )
            waits = [one.wait for one in returns if one.wait is not None]
            if waits:
                self.transactions.after_commit(lambda: self._queue.expect(min(waits)))
        self._unserved.refused(Backlog(jobs[key].queue, jobs[key].job_type_id) for key in apart)
        for one in returns:
            if one.job_id in chosen:
                log.info("job_returned", job_id=str(one.job_id), reason=one.reason)
        return [
            taken.get(one.job_id) or _returned(one, locked.get(one.job_id), fresh=one.job_id in chosen)
            for one in returns
        ]

    async def settle(self, settlements: Sequence[Settlement], tenants: Tenants) -> list[BillingStatus | DomainError]:
        """Record the outcomes of charges; final billing statuses stay unchanged.

        Concurrent calls share a transaction.

        Returns:
            The present billing statuses, aligned with the settlements.
        """
        return await for_own_jobs(self.transactions, self._jobs, settlements, tenants, self._settlements)

    async def settle_one(self, settlement: Settlement) -> BillingStatus | DomainError:
        """Record the outcome of a charge, in the open transaction."""
        [status] = await self._settle([settlement])
        return status

    async def _settle(
        self, settlements: Sequence[Settlement], *, wait: bool = True
    ) -> list[BillingStatus | DomainError]:
        job_ids = {one.job_id for one in settlements}
        async with self.transactions.begin():
            found = await self._jobs.lock_billing(job_ids, wait=wait)
            taken = await self._taken(job_ids - found.keys(), wait=wait)
            chosen: dict[UUID, BillingChange] = {}
            for one in settlements:
                billing = found.get(one.job_id)
                if not isinstance(billing, Billing) or not is_proven(billing, one):
                    continue
                change = settled(billing.status, one, self._settle_after)
                # A charge that was made wins over a refusal of the same batch.
                if change is not None and (isinstance(one, Charged) or one.job_id not in chosen):
                    chosen[one.job_id] = change
            await self._jobs.apply(_in_order(chosen))
            self._changed(chosen)
        statuses = [
            taken.get(one.job_id) or _settled_status(one, found.get(one.job_id), chosen.get(one.job_id))
            for one in settlements
        ]
        for one, status in zip(settlements, statuses, strict=True):
            if status in (BillingStatus.DECLINED, BillingStatus.CHARGE_BLOCKED):
                reason = one.reason if isinstance(one, Declined) else ""
                log.warning("charge_refused", job_id=str(one.job_id), reason=reason)
        return statuses

    async def _taken(self, missing: Collection[UUID], *, wait: bool) -> Mapping[UUID, RowLocked]:
        """Return those of the missing jobs that exist: their rows are locked. A call that waits gets all that exist."""
        found = await self._jobs.versions(missing) if missing and not wait else ()
        return dict.fromkeys(found, RowLocked())

    def _changed(self, job_ids: Iterable[UUID]) -> None:
        ids = list(job_ids)
        if ids:
            self.transactions.after_commit(lambda: self._changes.put(ids))

    async def _types_of_failures(self, completions: Sequence[Completion]) -> Mapping[UUID, JobType]:
        """Return the types of failed jobs that may get another attempt; a type defines how long it waits."""
        failed = {one.job_id for one in completions if isinstance(one.outcome, Failure) and one.outcome.retryable}
        if not failed:
            return {}
        async with self.transactions.begin(read_only=True):
            jobs = understood_by_key(await self._jobs.get_many(failed))
        types = await self._job_types.resolve({job.job_type_id for job in jobs.values()})
        return {kind.id: kind for kind in types.values() if isinstance(kind, JobType)}


def _lease_end(job: Job | None) -> LeaseEnd:
    cancelled = job is not None and job.status is JobStatus.CANCELLED
    return LeaseEnd.CANCELLED if cancelled else LeaseEnd.LOST


def _recorded(completion: Completion, job: Job | DataCorrupt | None) -> Recorded | DomainError:
    if job is None:
        return JobNotFound(completion.job_id)
    if isinstance(job, DataCorrupt):
        return job
    if isinstance(completion.outcome, AwaitCallback) and was_called_back(job, completion.outcome):
        return Recorded(job.status, None)
    if not is_repeated(job, completion):
        return LeaseLost(completion.job_id)
    return Recorded(job.status, charge_due(job))


def _settled_status(
    one: Settlement, billing: Billing | DataCorrupt | None, change: BillingChange | None
) -> BillingStatus | DomainError:
    if billing is None:
        return JobNotFound(one.job_id)
    if isinstance(billing, DataCorrupt):
        return billing
    if not is_proven(billing, one):
        return SettlementNotAuthorised()
    return billing.status if change is None else change.billing_status


def _returned(one: Return, job: Job | DataCorrupt | None, *, fresh: bool) -> JobStatus | DomainError:
    if job is None:
        return JobNotFound(one.job_id)
    if isinstance(job, DataCorrupt):
        return job
    if fresh:
        return JobStatus.PENDING if one.wait is None else JobStatus.SCHEDULED
    return job.status if is_repeated(job, one.completion) else LeaseLost(one.job_id)


def _in_order(chosen: Mapping[UUID, T]) -> list[T]:
    return [chosen[key] for key in sorted(chosen)]
