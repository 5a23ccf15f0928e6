"""Jobs and job types in memory, for tests."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.jobs.rules import trail
from services.jobs.rules.backlogs import with_unserved
from services.jobs.rules.completion import Completion, Ending, Settlement
from services.jobs.rules.control import Removal, Retry
from services.jobs.rules.entities import (
    Backlog,
    BillingStatus,
    Charge,
    Due,
    Job,
    JobError,
    JobStatus,
    Lane,
    ListKey,
    NewJob,
    Payloads,
    QueueStats,
    Release,
    Turns,
    Unsettled,
    Waiting,
)
from services.jobs.rules.job_types import JobType, NewJobType, Priority
from services.jobs.rules.leasing import Claim, Claimed, Renewal, Renewed, choose, claimed_job, foreign_types
from services.jobs.rules.rescue import Rescue
from services.jobs.rules.resources import JOB_TYPES, JOBS
from services.jobs.rules.statistics import queue_stats
from services.jobs.store.unserved_memory import MemoryUnserved
from services.jobs.usecases.ports import JOB_TYPE_ID_CONSTRAINT, JOB_TYPE_IN_USE_CONSTRAINT, JOB_TYPE_NAME_CONSTRAINT
from services.kit.data.audit.memory import MemoryAuditLog
from services.kit.data.errors import StillReferenced
from services.kit.data.repositories.memory import MemoryRepository, Unique
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import DataCorrupt
from services.kit.query import memory
from services.kit.query.page import ListQuery, Page

_WINDOW = timedelta(minutes=1)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class MemoryJobTypeRepository(MemoryRepository[JobType, NewJobType]):
    """The job types of a `MemoryStore`."""

    table = "job_types"
    entity = JobType
    resource = JOB_TYPES
    audited = True
    unique = (
        Unique(JOB_TYPE_ID_CONSTRAINT, lambda job_type: job_type.id),
        Unique(JOB_TYPE_NAME_CONSTRAINT, lambda job_type: job_type.name),
    )

    async def get_by_name(self, name: str) -> JobType | None:
        """Looks at all of them."""
        return next((kind for kind in self._rows.values() if kind.name == name), None)

    async def resolve(
        self, ids: Collection[UUID], names: Collection[str]
    ) -> Mapping[UUID | str, JobType | DataCorrupt]:
        """Looks at all of them."""
        found: dict[UUID | str, JobType | DataCorrupt] = {}
        for kind in self._rows.values():
            if kind.id in ids or kind.name in names:
                found[kind.id] = found[kind.name] = kind
        return found

    async def delete(self, entity_id: UUID) -> bool:
        """Removes the job type unless a job has it."""
        jobs: dict[UUID, Job] = self._transactions.resource.tables.get("jobs", {})
        if any(job.job_type_id == entity_id for job in jobs.values()):
            raise StillReferenced(JOB_TYPE_IN_USE_CONSTRAINT)
        return await super().delete(entity_id)


class MemoryJobRepository(MemoryRepository[Job, NewJob]):
    """The jobs of a `MemoryStore`."""

    table = "jobs"
    entity = Job
    resource = JOBS
    unique = (Unique("pk_jobs", lambda job: job.id),)

    @property
    def _types(self) -> dict[UUID, JobType]:
        return self._transactions.resource.tables.setdefault("job_types", {})

    async def audit(self, changes: Sequence[tuple[Job, Job]]) -> None:
        """Write entries."""
        await MemoryAuditLog(self._transactions).add(trail.of_jobs(changes, self._transactions.transaction_id))

    async def get_many(self, ids: Iterable[UUID]) -> dict[UUID, Job]:
        """Answers them without payloads, like the database."""
        return {key: _bare(job) for key, job in (await super().get_many(ids)).items()}

    async def list_page(self, query: ListQuery) -> Page[Job]:
        """Answers them without payloads, like the database."""
        return memory.apply([_bare(job) for job in self._rows.values()], query)

    async def payloads(self, job_ids: Collection[UUID]) -> Mapping[UUID, Payloads]:
        """Answers the payloads alone."""
        found = await super().get_many(job_ids)
        return {key: Payloads(job.input_data or "", job.output_data) for key, job in found.items()}

    async def create_many(
        self, jobs: Sequence[NewJob], withheld: Collection[UUID] = (), *, wait: bool = True
    ) -> dict[UUID, Job]:
        """Stores those that are new."""
        now = self.now()
        receipts = self._transactions.resource.tables.get("receipts", {})
        fresh = [new for new in jobs if new.id not in self._rows and new.id not in receipts]
        if any(new.job_type_id not in self._types for new in fresh):
            raise StillReferenced(JOB_TYPE_IN_USE_CONSTRAINT)
        for new in fresh:
            values = {field.name: getattr(new, field.name) for field in fields(new)}
            handed_over = new.status is JobStatus.PENDING and new.id not in withheld
            self._rows[new.id] = Job(
                **values, created_at=now, queued_at=now, dispatched_at=now if handed_over else None
            )
        return await self.get_many([new.id for new in fresh])

    async def lock_many(self, job_ids: Collection[UUID], *, wait: bool = True) -> dict[UUID, Job]:
        """Answers them; the transaction is alone anyway."""
        return await self.get_many(job_ids)

    async def lock_billing(self, job_ids: Collection[UUID], *, wait: bool = True) -> dict[UUID, BillingStatus]:
        """Answers them; the transaction is alone anyway."""
        return {key: job.billing_status for key in job_ids if (job := self._rows.get(key)) is not None}

    async def claim(self, claim: Claim, *, wait: bool = True) -> Claimed:
        """Chooses and changes."""
        now = self.now()
        locked = await self.lock_many(claim.job_ids)
        paused = {key for key, job in locked.items() if self._is_paused(job)}
        kinds = {job.job_type_id: self._types[job.job_type_id] for job in locked.values()}
        choice = choose(claim, locked, paused, now, foreign_types(claim, kinds))
        await self.withhold([*choice.withheld, *choice.unserved])
        for job_id in choice.granted:
            self._change(
                job_id,
                status=JobStatus.RUNNING,
                started_at=now,
                attempt=self._rows[job_id].attempt + 1,
                runner_id=claim.runner_id,
                lease_id=claim.lease_id,
                lease_expires_at=now + claim.lease,
            )
        chosen = {*choice.granted, *choice.repeated}
        running = [self._rows[key] for key in dict.fromkeys(claim.job_ids) if key in chosen]
        return Claimed(
            tuple(claimed_job(job, self._types[job.job_type_id]) for job in running),
            choice.deferred,
            unserved=tuple(Backlog(locked[key].queue, locked[key].job_type_id) for key in choice.unserved),
        )

    async def renew(self, renewal: Renewal) -> Renewed:
        """Changes them one by one; it is no new version of a job."""
        until = self.now() + renewal.lease
        kept = [
            job
            for job_id in renewal.job_ids
            if (job := self._rows.get(job_id)) is not None
            and job.status is JobStatus.RUNNING
            and job.lease_id in renewal.lease_ids
        ]
        for job in kept:
            self._rows[job.id] = replace(job, lease_expires_at=until)
        return Renewed(frozenset(job.id for job in kept), until if kept else None)

    async def complete_many(self, endings: Sequence[tuple[Completion, Ending]], settle_after: timedelta) -> None:
        """Changes them one by one."""
        now = self.now()
        for completion, ending in endings:
            job = self._rows[completion.job_id]
            failure = ending.failure
            error = failure and JobError(failure.type, failure.message, failure.retryable, job.attempt, now)
            again = ending.run_after is not None
            if ending.billing_status is BillingStatus.CHARGE_DUE:
                self._next_tries[job.id] = now + settle_after
            if ending.billing_status is BillingStatus.RELEASE_DUE:
                self._next_tries[job.id] = now
            self._change(
                job.id,
                status=ending.status,
                billing_status=ending.billing_status,
                output_data=completion.output_data,
                output_bytes=completion.output_bytes,
                error=error or job.error,
                cost_cents=ending.cost_cents,
                attempt=ending.attempt,
                snooze_count=ending.snooze_count,
                deaths=ending.deaths,
                run_at=job.run_at if ending.run_after is None else now + ending.run_after,
                completed_at=None if again else now,
                dispatched_at=None,
                lease_id=None,
                lease_expires_at=None,
                completed_lease_id=completion.lease_id,
                completion_digest=completion.digest,
            )

    async def return_many(self, returns: Sequence[tuple[UUID, UUID, bytes, timedelta | None]]) -> list[Waiting]:
        """Changes them one by one."""
        for job_id, lease_id, digest, wait in returns:
            self._wait_again(job_id, wait, completed_lease_id=lease_id, completion_digest=digest)
        return [_waiting(self._rows[job_id]) for job_id, _, _, wait in returns if wait is None]

    async def settle_many(
        self, settlements: Sequence[tuple[Settlement, BillingStatus]], settle_after: timedelta
    ) -> None:
        """Changes them one by one."""
        for settlement, status in settlements:
            self._change(settlement.job_id, billing_status=status, transaction_id=settlement.transaction_id)
            if status is BillingStatus.DECLINED:
                later = self.now() + settle_after
                self._next_tries[settlement.job_id] = max(later, self._next_tries.get(settlement.job_id, later))
            else:
                self._next_tries.pop(settlement.job_id, None)

    async def remove_many(self, removals: Sequence[Removal]) -> None:
        """Changes them one by one."""
        now = self.now()
        for one in removals:
            if one.billing_status is BillingStatus.RELEASE_DUE:
                self._next_tries[one.job_id] = now
            self._change(
                one.job_id,
                status=one.status,
                billing_status=one.billing_status,
                error=JobError(one.error_type, one.error_message, False, self._rows[one.job_id].attempt, now),
                completed_at=now,
                dispatched_at=None,
                lease_id=None,
                lease_expires_at=None,
            )

    async def retry_many(self, retries: Sequence[Retry]) -> None:
        """Changes them one by one."""
        now = self.now()
        for one in retries:
            job = self._rows[one.job_id]
            self._tries.pop(one.job_id, None)
            self._change(
                one.job_id,
                status=JobStatus.PENDING,
                billing_status=one.billing_status,
                hold_id=one.hold.hold_id if one.hold else job.hold_id,
                hold_generation=one.hold.generation if one.hold else job.hold_generation,
                retry_count=job.retry_count + 1,
                attempt=0,
                rescue_count=0,
                deaths=0,
                early_losses=0,
                snooze_count=0,
                run_at=None,
                queued_at=now,
                dispatched_at=None,
                started_at=None,
                completed_at=None,
                expires_at=now + self._types[job.job_type_id].expires_after,
                completed_lease_id=None,
                completion_digest=None,
            )

    async def versions(self, job_ids: Collection[UUID]) -> Mapping[UUID, int]:
        """Answers the versions of those that exist."""
        return {key: job.version for key in job_ids if (job := self._rows.get(key)) is not None}

    async def stats(self, queues: Collection[str]) -> list[QueueStats]:
        """Counts all of them."""
        now = self.now()
        counted: dict[tuple[str, int], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
        for job in self._rows.values():
            row = counted[job.queue, job.priority.value]
            row["submitted"] += job.created_at > now - _WINDOW
            row["completed"] += job.completed_at is not None and job.completed_at > now - _WINDOW
            row["running"] += job.status is JobStatus.RUNNING
            if job.status is JobStatus.PENDING:
                row["waiting"] += 1
                row["withheld"] += job.dispatched_at is None
                age = now - job.queued_at
                row["oldest_age"] = max(age, row.get("oldest_age") or age)
        for queue in self._paused_queues:
            for priority in Priority:
                counted[queue, priority.value]["paused"] = True
        rows = (
            {"queue": queue, "priority": priority, **row}
            for (queue, priority), row in counted.items()
            if any(row.values())
        )
        stats = queue_stats(rows, queues, int(_WINDOW.total_seconds()))
        return with_unserved(stats, await MemoryUnserved(self._transactions, self.now).counts())

    async def withhold(self, job_ids: Collection[UUID]) -> None:
        """Changes those that are PENDING."""
        for job_id in job_ids:
            job = self._rows.get(job_id)
            if job is not None and job.status is JobStatus.PENDING:
                self._rows[job_id] = replace(job, dispatched_at=None)

    async def withheld_lists(self) -> list[ListKey]:
        """Looks at all of them."""
        paused = self._paused_queues
        return sorted({_waiting(job).list for job in self._withheld() if job.queue not in paused})

    async def take_withheld(
        self,
        wanted: ListKey,
        limit: int,
        *,
        first: Lane | None = None,
        excluded: Collection[UUID] = (),
        only: UUID | None = None,
    ) -> Turns:
        """Lets the lanes take turns."""
        lanes: dict[Lane, list[Job]] = defaultdict(list)
        for job in sorted(self._withheld(), key=lambda job: (job.queued_at, job.id)):
            lane = Lane(job.job_type_id, job.customer_id)
            if only is not None and job.job_type_id != only:
                continue
            if _waiting(job).list == wanted and job.job_type_id not in excluded and (first is None or lane >= first):
                lanes[lane].append(job)
        names = sorted(lanes)
        served, following = names[:limit], names[limit : limit + 1]
        share = max(limit // max(len(served), 1), 1) if first is None and not following else 1
        ordered = [(turn, job) for lane in served for turn, job in enumerate(lanes[lane][:share])]
        chosen = [job for _, job in sorted(ordered, key=lambda one: (one[0], one[1].queued_at))][:limit]
        for job in chosen:
            self._rows[job.id] = replace(job, dispatched_at=self.now())
        return Turns([_waiting(job) for job in chosen], len(served), following[0] if following else None)

    async def handed_over_lists(self) -> list[ListKey]:
        """Looks at all of them."""
        return sorted(
            {
                _waiting(job).list
                for job in self._rows.values()
                if job.status is JobStatus.PENDING and job.dispatched_at is not None
            }
        )

    async def try_turn(self, wanted: ListKey) -> bool:
        """The transaction is alone anyway."""
        return True

    async def handed_over(self, wanted: ListKey, before: timedelta, limit: int) -> list[UUID]:
        """Looks at all of them."""
        until = self.now() - before
        found = [
            job
            for job in self._rows.values()
            if job.status is JobStatus.PENDING
            and _waiting(job).list == wanted
            and job.dispatched_at is not None
            and job.dispatched_at < until
        ]
        return [job.id for job in sorted(found, key=lambda job: (job.queued_at, job.id))[:limit]]

    async def still_handed_over(self, job_ids: Collection[UUID]) -> set[UUID]:
        """Looks the IDs up."""
        found = (self._rows.get(job_id) for job_id in job_ids)
        return {
            job.id
            for job in found
            if job is not None and job.status is JobStatus.PENDING and job.dispatched_at is not None
        }

    async def release_scheduled(self, limit: int) -> list[UUID]:
        """Changes those whose time has come."""
        now = self.now()
        due = [job for job in self._scheduled() if job.run_at is not None and job.run_at <= now][:limit]
        for job in due:
            queued_at = job.queued_at if job.rescue_count else job.run_at
            self._change(job.id, status=JobStatus.PENDING, queued_at=queued_at, dispatched_at=None)
        return [job.id for job in due]

    async def next_scheduled(self) -> timedelta | None:
        """Looks at all of them."""
        times = [job.run_at for job in self._scheduled() if job.run_at is not None]
        return min(times) - self.now() if times else None

    async def lock_lost(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        """Looks at all of them."""
        now = self.now()
        lost = (
            job
            for job in self._rows.values()
            if job.lease_expires_at is not None and job.lease_expires_at < now and job.id not in without
        )
        return [_bare(job) for job in lost][:limit]

    async def begun(self, runner_ids: Collection[UUID], short: timedelta) -> Mapping[UUID, int]:
        """Looks at all of them."""
        counted = Counter(self._lost_runs)
        counted.update(
            job.runner_id
            for job in self._rows.values()
            if job.runner_id is not None
            and job.started_at is not None
            and job.lease_expires_at is not None
            and job.lease_expires_at - job.started_at < short
        )
        return {one: counted[one] for one in runner_ids}

    async def note_lost(self, losses: Mapping[UUID, int]) -> None:
        """Adds them up."""
        for runner_id, count in losses.items():
            self._lost_runs[runner_id] = self._lost_runs.get(runner_id, 0) + count

    async def rescue_many(self, rescues: Sequence[Rescue]) -> list[Waiting]:
        """Changes them one by one."""
        for one in rescues:
            job = self._rows[one.job_id]
            counts = {
                "rescue_count": job.rescue_count + 1,
                "deaths": one.deaths,
                "early_losses": one.early_losses,
            }
            self._wait_again(one.job_id, one.wait, **counts)
        return [_waiting(self._rows[one.job_id]) for one in rescues if one.wait is None]

    async def lock_expired(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        """Looks at all of them."""
        now = self.now()
        expired = (
            job
            for job in self._rows.values()
            if job.status in (JobStatus.SCHEDULED, JobStatus.PENDING)
            and job.started_at is None
            and job.expires_at <= now
            and job.id not in without
        )
        return [_bare(job) for job in expired][:limit]

    async def take_unsettled(self, limit: int, settle_after: timedelta, longest: timedelta) -> list[Due]:
        """Takes those whose next try has come, and puts each off."""
        now = self.now()
        due = sorted((at, key) for key, at in self._next_tries.items() if at <= now)[:limit]
        for _, job_id in due:
            self._tries[job_id] = self._tries.get(job_id, 0) + 1
            self._next_tries[job_id] = now + min(settle_after * 2 ** (self._tries[job_id] - 1), longest)
        return [_due(self._rows[job_id]) for _, job_id in due]

    async def count_unsettled(self) -> Mapping[BillingStatus, Unsettled]:
        """Looks at all of them."""
        shown = (
            BillingStatus.CHARGE_DUE,
            BillingStatus.RELEASE_DUE,
            BillingStatus.DECLINED,
            BillingStatus.CHARGE_BLOCKED,
        )
        until = self.now() - timedelta(minutes=1)
        found: dict[BillingStatus, list[Job]] = defaultdict(list)
        for job in self._rows.values():
            if job.billing_status in shown:
                found[job.billing_status].append(job)
        return {
            status: Unsettled(len(jobs), sum(self._next_tries.get(job.id, until) < until for job in jobs))
            for status, jobs in found.items()
        }

    async def lock_finished(self, age: timedelta, limit: int, without: Collection[UUID] = ()) -> list[UUID]:
        """Looks at all of them."""
        until = self.now() - age
        settled = (BillingStatus.NOT_BILLABLE, BillingStatus.CHARGED, BillingStatus.RELEASED)
        finished = [
            job
            for job in self._rows.values()
            if job.completed_at is not None
            and job.completed_at < until
            and job.billing_status in settled
            and job.id not in without
        ]
        return [job.id for job in sorted(finished, key=lambda job: job.completed_at or until)[:limit]]

    async def delete_many(self, job_ids: Collection[UUID]) -> int:
        """Deletes them one by one."""
        receipts = self._transactions.resource.tables.setdefault("receipts", {})
        deleted = [self._rows.pop(job_id) for job_id in job_ids if job_id in self._rows]
        for job in deleted:
            if job.billing_status is BillingStatus.CHARGED:
                receipts[job.id] = job.transaction_id
        return len(deleted)

    async def left_alone(self, limit: int) -> list[DataCorrupt]:
        """Knows all values: they are members."""
        return []

    @property
    def _paused_queues(self) -> set[str]:
        return {name for name, paused in self._transactions.resource.tables.get("queues", {}).items() if paused}

    # What the settler needs to know of a job; the entity has no field for it, because nobody else does.
    @property
    def _next_tries(self) -> dict[UUID, datetime]:
        return self._transactions.resource.tables.setdefault("next_tries", {})

    @property
    def _tries(self) -> dict[UUID, int]:
        return self._transactions.resource.tables.setdefault("tries", {})

    @property
    def _lost_runs(self) -> dict[UUID, int]:
        return self._transactions.resource.tables.setdefault("lost_runs", {})

    def _is_paused(self, job: Job) -> bool:
        return job.queue in self._paused_queues or self._types[job.job_type_id].paused

    def _withheld(self) -> list[Job]:
        return [job for job in self._rows.values() if job.status is JobStatus.PENDING and job.dispatched_at is None]

    def _scheduled(self) -> list[Job]:
        return [job for job in self._rows.values() if job.status is JobStatus.SCHEDULED]

    def _wait_again(self, job_id: UUID, wait: timedelta | None, **changes: Any) -> None:
        waiting: dict[str, Any] = {"status": JobStatus.PENDING, "dispatched_at": self.now()}
        if wait is not None:
            waiting = {"status": JobStatus.SCHEDULED, "dispatched_at": None, "run_at": self.now() + wait}
        self._change(
            job_id,
            attempt=self._rows[job_id].attempt - 1,
            lease_id=None,
            lease_expires_at=None,
            **{**waiting, **changes},
        )

    def _change(self, job_id: UUID, **changes: Any) -> None:
        job = self._rows[job_id]
        self._rows[job_id] = replace(job, **changes, version=job.version + 1)


def _bare(job: Job) -> Job:
    return replace(job, input_data=None, output_data=None)


def _waiting(job: Job) -> Waiting:
    return Waiting(job.id, job.queue, job.priority, job.queued_at)


def _due(job: Job) -> Due:
    if job.billing_status is BillingStatus.RELEASE_DUE and job.hold_id is not None:
        return Release(hold_id=job.hold_id, job_id=job.id)
    return Charge(job.customer_id, job.currency, job.cost_cents or 0, hold_id=job.hold_id, job_id=job.id)


class MemoryPauseRepository:
    """What is paused in a `MemoryStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions

    async def set_queue(self, name: str, *, paused: bool) -> None:
        """Notes it."""
        was_paused = name in await self.paused_queues()
        self._transactions.resource.tables.setdefault("queues", {})[name] = paused
        if was_paused != paused:
            transaction_id = self._transactions.transaction_id
            entry = trail.of_queue(name, transaction_id, was_paused=was_paused, paused=paused)
            await MemoryAuditLog(self._transactions).add([entry])

    async def paused_queues(self) -> set[str]:
        """Looks at all of them."""
        return {name for name, paused in self._transactions.resource.tables.get("queues", {}).items() if paused}

    async def paused_types(self) -> set[UUID]:
        """Looks at all of them."""
        return {key for key, one in self._transactions.resource.tables.get("job_types", {}).items() if one.paused}

    async def unserved(self) -> set[Backlog]:
        """Looks at all of them."""
        return set(self._transactions.resource.tables.get("unserved_types", {}))


class MemoryAuditProgress:
    """How far the hold auditor has come in a `MemoryStore`."""

    def __init__(self, transactions: MemoryTransactions, now: Callable[[], datetime]) -> None:
        self._transactions = transactions
        self._now = now

    async def window(self, age: timedelta) -> tuple[datetime, datetime]:
        """Looks at it."""
        return self._progress.get("done_until", _LONG_AGO), self._now() - age

    async def move(self, done_until: datetime) -> None:
        """Notes it."""
        self._progress["done_until"] = max(self._progress.get("done_until", _LONG_AGO), done_until)

    @property
    def _progress(self) -> dict[str, datetime]:
        return self._transactions.resource.tables.setdefault("hold_audit", {})

    async def keep(self, unreleased: Sequence[Release], wait: timedelta) -> None:
        """Notes them."""
        for one in unreleased:
            self._unreleased.setdefault(one.hold_id, _Unreleased(one, self._now() + wait))

    async def take(self, limit: int, wait: timedelta, longest: timedelta) -> list[Release]:
        """Looks at all of them."""
        now = self._now()
        due = [one for one in self._unreleased.values() if one.next_try_at <= now][:limit]
        for one in due:
            tries = one.tries + 1
            put_off = replace(one, tries=tries, next_try_at=now + min(wait * 2**one.tries, longest))
            self._unreleased[one.release.hold_id] = put_off
        return [one.release for one in due]

    async def forget(self, hold_ids: Collection[UUID]) -> None:
        """Removes them."""
        for hold_id in hold_ids:
            self._unreleased.pop(hold_id, None)

    async def count(self) -> int:
        """Counts them."""
        return len(self._unreleased)

    @property
    def _unreleased(self) -> "dict[UUID, _Unreleased]":
        return self._transactions.resource.tables.setdefault("unreleased_holds", {})


@dataclass(frozen=True)
class _Unreleased:
    release: Release
    next_try_at: datetime
    tries: int = 0
