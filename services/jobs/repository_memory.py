"""Jobs and job types in memory, for tests."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.jobs.completion import Completion, Ending, Settlement
from services.jobs.domain import BillingStatus, Job, JobError, JobStatus, NewJob, QueueStats
from services.jobs.job_types import JobType, NewJobType
from services.jobs.leasing import choose, claimed_job
from services.jobs.repository import (
    JOB_TYPE_ID_CONSTRAINT,
    JOB_TYPE_IN_USE_CONSTRAINT,
    JOB_TYPE_NAME_CONSTRAINT,
    JOB_TYPES,
    JOBS,
    Claim,
    Claimed,
    Payloads,
    Waiting,
)
from services.jobs.statistics import queue_stats
from services.kit.data.errors import StillReferenced
from services.kit.data.repository_memory import MemoryRepository, Unique
from services.kit.errors import DataCorrupt
from services.kit.query import memory
from services.kit.query.page import ListQuery, Page

_WINDOW = timedelta(minutes=1)


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

    async def create_many(self, jobs: Sequence[NewJob]) -> dict[UUID, Job]:
        """Stores those that are new."""
        now = self.now()
        fresh = [new for new in jobs if new.id not in self._rows]
        if any(new.job_type_id not in self._types for new in fresh):
            raise StillReferenced(JOB_TYPE_IN_USE_CONSTRAINT)
        for new in fresh:
            values = {field.name: getattr(new, field.name) for field in fields(new)}
            self._rows[new.id] = Job(**values, created_at=now, queued_at=now, dispatched_at=now)
        return await self.get_many([new.id for new in fresh])

    async def lock_many(self, job_ids: Collection[UUID]) -> dict[UUID, Job]:
        """Answers them; the transaction is alone anyway."""
        return await self.get_many(job_ids)

    async def claim(self, claim: Claim) -> Claimed:
        """Chooses and changes."""
        choice = choose(claim, await self.lock_many(claim.job_ids))
        now = self.now()
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
        )

    async def complete_many(self, endings: Sequence[tuple[Completion, Ending]]) -> None:
        """Changes them one by one."""
        now = self.now()
        for completion, ending in endings:
            job = self._rows[completion.job_id]
            failure = completion.failure
            error = failure and JobError(failure.type, failure.message, failure.retryable, job.attempt, now)
            self._change(
                job.id,
                status=ending.status,
                billing_status=ending.billing_status,
                output_data=completion.output_data,
                output_bytes=completion.output_bytes,
                error=error or job.error,
                cost_cents=ending.cost_cents,
                completed_at=now,
                lease_id=None,
                lease_expires_at=None,
                completed_lease_id=completion.lease_id,
                completion_digest=completion.digest,
            )

    async def settle_many(self, settlements: Sequence[tuple[Settlement, BillingStatus]]) -> None:
        """Changes them one by one."""
        for settlement, status in settlements:
            self._change(settlement.job_id, billing_status=status, transaction_id=settlement.transaction_id)

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
        rows = (
            {"queue": queue, "priority": priority, **row}
            for (queue, priority), row in counted.items()
            if any(row.values())
        )
        return queue_stats(rows, queues, int(_WINDOW.total_seconds()))

    async def waiting_after(self, last: Waiting | None, limit: int) -> list[Waiting]:
        """Sorts all of them."""
        waiting = sorted(self._waiting(dispatched=True), key=_place)
        return [one for one in waiting if last is None or _place(one) > _place(last)][:limit]

    async def withhold(self, job_ids: Collection[UUID]) -> None:
        """Changes those that are PENDING."""
        for job_id in job_ids:
            job = self._rows.get(job_id)
            if job is not None and job.status is JobStatus.PENDING:
                self._rows[job_id] = replace(job, dispatched_at=None)

    async def take_undispatched(self, limit: int) -> list[Waiting]:
        """Takes the first of them."""
        waiting = sorted(self._waiting(dispatched=False), key=lambda one: (one.priority, one.queued_at))
        for one in waiting[:limit]:
            self._rows[one.id] = replace(self._rows[one.id], dispatched_at=self.now())
        return waiting[:limit]

    def _waiting(self, *, dispatched: bool) -> list[Waiting]:
        return [
            Waiting(job.id, job.queue, job.priority, job.queued_at)
            for job in self._rows.values()
            if job.status is JobStatus.PENDING and (job.dispatched_at is not None) == dispatched
        ]

    def _change(self, job_id: UUID, **changes: Any) -> None:
        job = self._rows[job_id]
        self._rows[job_id] = replace(job, **changes, version=job.version + 1)


def _bare(job: Job) -> Job:
    return replace(job, input_data=None, output_data=None)


def _place(waiting: Waiting) -> tuple[Any, ...]:
    return (waiting.queue, waiting.priority, waiting.queued_at, waiting.id)
