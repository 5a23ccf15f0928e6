"""Jobs in memory, for tests: their rows, and how the queue is fed with them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from typing_extensions import override

from services.jobs.rules import constraints
from services.jobs.rules.entities import Job, JobStatus, Lane, ListKey, NewJob, Progress, Turns, Waiting, is_dispatched
from services.jobs.rules.job_types import JobType
from services.jobs.rules.resources import JOBS
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.progress import Report
from services.jobs.usecases.ports import JobRepository
from services.kit.auth.tenants import Tenants
from services.kit.data.errors import StillReferenced
from services.kit.data.repositories.memory import MemoryRepository, Unique
from services.kit.fast_dataclasses import made
from services.kit.query.specification import ALWAYS, Specification


@dataclass(frozen=True, kw_only=True)
class Row(Job):
    """A stored job, with the columns that only the settler reads."""

    next_try_at: datetime | None = None
    settle_attempts: int = 0


@dataclass(frozen=True)
class Said:
    """What handlers have said about a job."""

    lease_id: UUID
    sequence: int
    progress: Progress | None
    checkpoint: Payload | None


def said(before: Said | None, report: Report, now: datetime) -> Said:
    """Return what is stored after a report."""
    checkpoint = before.checkpoint if before else None
    progress = before.progress if before and before.lease_id == report.lease_id else None
    if report.percent is not None:
        progress = Progress(report.percent, report.message, now, report.sequence)
    return Said(report.lease_id, report.sequence, progress, report.checkpoint or checkpoint)


_OWN = frozenset({"next_try_at", "settle_attempts"})


class MemoryQueue(MemoryRepository[Job, NewJob], JobRepository):
    """The rows of jobs in a `MemoryStore`, and the part of the repository for the queue."""

    table = "jobs"
    entity = Job
    resource = JOBS
    unique = (Unique("pk_jobs", lambda job: job.id),)

    @property
    def _jobs(self) -> dict[UUID, Row]:
        return cast("dict[UUID, Row]", self._rows)

    @property
    def _types(self) -> dict[UUID, JobType]:
        return self._transactions.resource.tables.setdefault("job_types", {})

    @property
    def _paused_queues(self) -> set[str]:
        return {name for name, paused in self._transactions.resource.tables.get("queues", {}).items() if paused}

    @property
    def _said(self) -> dict[UUID, Said]:
        return self._transactions.resource.tables.setdefault("job_progress", {})

    def _progress(self, row: Row) -> Progress | None:
        found = self._said.get(row.id)
        if found is None or found.progress is None or row.started_at is None:
            return None
        of_this_run = row.lease_id in (None, found.lease_id)
        return replace(found.progress, sequence=found.sequence) if of_this_run else None

    @override
    async def get(self, entity_id: UUID, wanted: Specification = ALWAYS, *, full: bool = True) -> Job | None:
        row = self._jobs.get(entity_id)
        if row is None or not wanted.matches(row):
            return None
        job = whole(row) if full else bare(row)
        return replace(job, progress=self._progress(row))

    @override
    async def own(self, job_ids: Collection[UUID], tenants: Tenants) -> set[UUID]:
        receipts = self._transactions.resource.tables.get("receipts", {})
        found = {key: job for key in job_ids if (job := self._jobs.get(key)) is not None}
        own = {key for key, job in found.items() if tenants.own(job.customer_id) and tenants.serve(job.queue)}
        deleted = {key for key in job_ids if key in receipts} if tenants.queues is None else set()
        return own | {key for key in deleted if tenants.own(receipts[key])}

    @override
    async def get_many(self, ids: Iterable[UUID]) -> dict[UUID, Job]:
        rows = [row for key in ids if (row := self._jobs.get(key)) is not None]
        return {row.id: replace(bare(row), progress=self._progress(row)) for row in rows}

    @override
    async def create_many(
        self, jobs: Sequence[NewJob], withheld: Collection[UUID] = (), *, wait: bool = True
    ) -> dict[UUID, Job]:
        now = self.now()
        receipts = self._transactions.resource.tables.get("receipts", {})
        fresh = [new for new in jobs if new.id not in self._jobs and new.id not in receipts]
        if any(new.job_type_id not in self._types for new in fresh):
            raise StillReferenced(constraints.JOB_TYPE_IN_USE)
        for new in fresh:
            values = {field.name: getattr(new, field.name) for field in fields(new)}
            dispatched_at = now if is_dispatched(new, withheld) else None
            self._jobs[new.id] = Row(**values, created_at=now, queued_at=now, dispatched_at=dispatched_at)
        return await self.get_many([new.id for new in fresh])

    @override
    async def withhold(self, job_ids: Collection[UUID]) -> None:
        for job_id in job_ids:
            job = self._jobs.get(job_id)
            if job is not None and job.status is JobStatus.PENDING:
                self._jobs[job_id] = replace(job, dispatched_at=None)

    @override
    async def withheld_lists(self) -> list[ListKey]:
        paused = self._paused_queues
        return sorted({Waiting.of(job).list for job in self._pending(dispatched=False) if job.queue not in paused})

    @override
    async def take_withheld(
        self,
        wanted: ListKey,
        limit: int,
        *,
        first: Lane | None = None,
        excluded: Collection[UUID] = (),
        only: UUID | None = None,
    ) -> Turns:
        lanes: dict[Lane, list[Row]] = defaultdict(list)
        for job in self._pending(dispatched=False):
            lane = Lane(job.job_type_id, job.customer_id)
            if only is not None and job.job_type_id != only:
                continue
            if Waiting.of(job).list == wanted and job.job_type_id not in excluded and (first is None or lane >= first):
                lanes[lane].append(job)
        names = sorted(lanes)
        served, following = names[:limit], names[limit : limit + 1]
        share = max(limit // max(len(served), 1), 1) if first is None and not following else 1
        ordered = [(turn, job) for lane in served for turn, job in enumerate(lanes[lane][:share])]
        chosen = [job for _, job in sorted(ordered, key=lambda one: (one[0], one[1].queued_at))][:limit]
        for job in chosen:
            self._jobs[job.id] = replace(job, dispatched_at=self.now())
        return Turns([Waiting.of(job) for job in chosen], len(served), following[0] if following else None)

    @override
    async def dispatched_lists(self) -> list[ListKey]:
        return sorted({Waiting.of(job).list for job in self._pending(dispatched=True)})

    @override
    async def try_turn(self, wanted: ListKey) -> bool:
        return True

    @override
    async def dispatched(self, wanted: ListKey, before: timedelta, limit: int) -> list[UUID]:
        until = self.now() - before
        return [
            job.id
            for job in self._pending(dispatched=True)
            if Waiting.of(job).list == wanted and (job.dispatched_at or until) < until
        ][:limit]

    @override
    async def still_dispatched(self, job_ids: Collection[UUID]) -> set[UUID]:
        return {job.id for job in self._pending(dispatched=True)} & set(job_ids)

    @override
    async def release_scheduled(self, limit: int) -> list[UUID]:
        now = self.now()
        due = [(row, row.run_at) for row in self._scheduled() if row.run_at is not None and row.run_at <= now][:limit]
        for row, run_at in due:
            queued_at = row.queued_at if row.rescue_count else run_at
            after = replace(row, status=JobStatus.PENDING, queued_at=queued_at, dispatched_at=None)
            self._jobs[row.id] = replace(after, version=row.version + 1)
        return [row.id for row, _ in due]

    @override
    async def next_scheduled(self) -> timedelta | None:
        times = [job.run_at for job in self._scheduled() if job.run_at is not None]
        return min(times) - self.now() if times else None

    def _pending(self, *, dispatched: bool) -> list[Row]:
        found = [row for row in self._jobs.values() if row.status is JobStatus.PENDING]
        found = [row for row in found if (row.dispatched_at is not None) is dispatched]
        return sorted(found, key=lambda row: (row.queued_at, row.id))

    def _scheduled(self) -> list[Row]:
        return [job for job in self._jobs.values() if job.status is JobStatus.SCHEDULED]


def whole(row: Row) -> Job:
    """Return the job of a row, with its payloads."""
    return made(Job, {name: value for name, value in vars(row).items() if name not in _OWN})


def bare(row: Row) -> Job:
    """Return the job of a row, without its payloads."""
    return replace(whole(row), input_data=None, output_data=None)
