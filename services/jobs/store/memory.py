"""Jobs in memory, for tests. Transactions run one at a time, so nothing is locked."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from typing_extensions import override

from services.jobs.rules import trail
from services.jobs.rules.backlogs import with_unserved
from services.jobs.rules.entities import (
    BILLING_IS_OVER,
    SETTLERS,
    Backlog,
    Billing,
    BillingStatus,
    Charge,
    Due,
    Job,
    JobStatus,
    Payloads,
    QueueStats,
    Release,
    Revision,
    Unsettled,
)
from services.jobs.rules.job_types import Priority
from services.jobs.rules.statistics import queue_stats
from services.jobs.rules.transitions.changes import Change, applied
from services.jobs.rules.transitions.completion import BillingChange, Ending
from services.jobs.rules.transitions.control import Retry
from services.jobs.rules.transitions.leasing import (
    Claim,
    Claimed,
    Renewal,
    Renewed,
    choose,
    claimed_job,
    foreign_types,
    started,
)
from services.jobs.rules.transitions.progress import Report, may_have_checkpoint
from services.jobs.store.queue_memory import MemoryQueue, Row, bare, said, whole
from services.jobs.store.unserved_memory import MemoryUnserved
from services.kit.data.audit.memory import MemoryAuditLog
from services.kit.errors import DataCorrupt
from services.kit.query import memory
from services.kit.query.page import ListQuery, Page

_WINDOW = timedelta(minutes=1)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_OVERDUE_AFTER = timedelta(minutes=1)


class MemoryJobRepository(MemoryQueue):
    """The jobs of a `MemoryStore`."""

    @override
    async def audit(self, changes: Sequence[tuple[Job, Job]]) -> None:
        await MemoryAuditLog(self._transactions).add(trail.of_jobs(changes, self._transactions.transaction_id))

    @override
    async def list_page(self, query: ListQuery) -> Page[Job]:
        return memory.apply([bare(job) for job in self._jobs.values()], query)

    @override
    async def payloads(self, job_ids: Collection[UUID]) -> Mapping[UUID, Payloads]:
        found = [row for key in job_ids if (row := self._jobs.get(key)) is not None]
        return {row.id: Payloads(row.input_data or "", row.output_data) for row in found}

    @override
    async def lock_many(self, job_ids: Collection[UUID], *, wait: bool = True) -> dict[UUID, Job]:
        return await self.get_many(job_ids)

    @override
    async def lock_billing(self, job_ids: Collection[UUID], *, wait: bool = True) -> dict[UUID, Billing]:
        return {
            key: Billing(job.billing_status, job.cost_cents)
            for key in job_ids
            if (job := self._jobs.get(key)) is not None
        }

    @override
    async def claim(self, claim: Claim, *, wait: bool = True) -> Claimed:
        now = self.now()
        locked = await self.lock_many(claim.job_ids)
        paused = {key for key, job in locked.items() if self._is_paused(job)}
        kinds = {job.job_type_id: self._types[job.job_type_id] for job in locked.values()}
        left = {
            key: said.checkpoint.size
            for key, job in locked.items()
            if may_have_checkpoint(job) and (said := self._said.get(key)) is not None and said.checkpoint is not None
        }
        choice = choose(claim, locked, paused, now, foreign_types(claim, kinds), left=left)
        await self.withhold([*choice.withheld, *choice.unserved])
        for job_id in choice.granted:
            self._jobs[job_id] = started(self._jobs[job_id], claim, now)
        chosen = {*choice.granted, *choice.repeated}
        running = [whole(self._jobs[key]) for key in dict.fromkeys(claim.job_ids) if key in chosen]
        return Claimed(
            tuple(claimed_job(job, self._types[job.job_type_id], self._checkpoint(job.id)) for job in running),
            choice.deferred,
            unserved=tuple(Backlog(locked[key].queue, locked[key].job_type_id) for key in choice.unserved),
        )

    @override
    async def renew(self, renewal: Renewal) -> Renewed:
        until = self.now() + renewal.lease
        kept = [
            job
            for job_id in renewal.job_ids
            if (job := self._jobs.get(job_id)) is not None
            and job.status is JobStatus.RUNNING
            and job.lease_id in renewal.lease_ids
        ]
        for job in kept:
            # Not a new version of the job.
            self._jobs[job.id] = replace(job, lease_expires_at=until)
        return Renewed(frozenset(job.id for job in kept), until if kept else None)

    @override
    async def apply(self, changes: Sequence[Change]) -> None:
        now = self.now()
        for change in changes:
            row = self._jobs[change.job_id]
            after = applied(row, change, now)
            match change:
                case BillingChange() if after.next_try_at is not None and row.next_try_at is not None:
                    after = replace(after, next_try_at=max(after.next_try_at, row.next_try_at))
                case Retry():
                    after = replace(after, expires_at=now + self._types[row.job_type_id].expires_after)
            if isinstance(change, Ending) and change.status is JobStatus.SUCCEEDED:
                self._said.pop(row.id, None)
            self._jobs[row.id] = after

    @override
    async def report(self, reports: Sequence[Report]) -> None:
        for one in reports:
            before = self._said.get(one.job_id)
            if before is None or before.lease_id != one.lease_id or before.sequence < one.sequence:
                self._said[one.job_id] = said(before, one, self.now())

    def _checkpoint(self, job_id: UUID) -> str | None:
        found = self._said.get(job_id)
        return None if found is None or found.checkpoint is None else found.checkpoint.text

    @override
    async def versions(self, job_ids: Collection[UUID]) -> Mapping[UUID, int]:
        return {key: job.version for key in job_ids if (job := self._jobs.get(key)) is not None}

    @override
    async def revisions(self, job_ids: Collection[UUID]) -> Mapping[UUID, Revision]:
        return {key: job.revision for key, job in (await self.get_many(job_ids)).items()}

    @override
    async def stats(self, queues: Collection[str]) -> list[QueueStats]:
        now = self.now()
        counted: dict[tuple[str, int], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
        for job in self._jobs.values():
            row = counted[job.queue, job.priority.value]
            row["submitted"] += job.created_at > now - _WINDOW
            row["completed"] += job.completed_at is not None and job.completed_at > now - _WINDOW
            row["running"] += job.status is JobStatus.RUNNING
            row["scheduled"] += job.status is JobStatus.SCHEDULED
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

    @override
    async def lock_lost(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        now = self.now()
        lost = (
            job
            for job in self._jobs.values()
            if job.lease_expires_at is not None and job.lease_expires_at < now and job.id not in without
            if job.callback_expires_at is None
        )
        return [bare(job) for job in lost][:limit]

    @override
    async def lock_overdue(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        now = self.now()
        overdue = (
            job
            for job in self._jobs.values()
            if job.callback_expires_at is not None and job.callback_expires_at < now and job.id not in without
        )
        return [bare(job) for job in overdue][:limit]

    @override
    async def begun(self, runner_ids: Collection[UUID], short: timedelta) -> Mapping[UUID, int]:
        counted = Counter(self._lost_runs)
        counted.update(
            job.runner_id
            for job in self._jobs.values()
            if job.runner_id is not None
            and job.started_at is not None
            and job.lease_expires_at is not None
            and job.callback_expires_at is None
            and job.lease_expires_at - job.started_at < short
        )
        return {one: counted[one] for one in runner_ids}

    @override
    async def note_lost(self, losses: Mapping[UUID, int]) -> None:
        for runner_id, count in losses.items():
            self._lost_runs[runner_id] = self._lost_runs.get(runner_id, 0) + count

    @override
    async def lock_expired(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        now = self.now()
        expired = (
            job
            for job in self._jobs.values()
            if job.status in (JobStatus.SCHEDULED, JobStatus.PENDING)
            and job.started_at is None
            and job.expires_at <= now
            and job.id not in without
        )
        return [bare(job) for job in expired][:limit]

    @override
    async def take_unsettled(self, limit: int, settle_after: timedelta, longest: timedelta) -> list[Due]:
        now = self.now()
        due = [row for row in self._jobs.values() if row.billing_status in SETTLERS and (row.next_try_at or now) <= now]
        due = sorted(due, key=lambda row: row.next_try_at or _LONG_AGO)[:limit]
        for row in due:
            next_try_at = now + min(settle_after * 2**row.settle_attempts, longest)
            self._jobs[row.id] = replace(row, settle_attempts=row.settle_attempts + 1, next_try_at=next_try_at)
        return [_due(row) for row in due]

    @override
    async def count_unsettled(self) -> Mapping[BillingStatus, Unsettled]:
        until = self.now() - _OVERDUE_AFTER
        found: dict[BillingStatus, list[Row]] = defaultdict(list)
        for row in self._jobs.values():
            if row.billing_status in SETTLERS or row.billing_status is BillingStatus.CHARGE_BLOCKED:
                found[row.billing_status].append(row)
        return {
            status: Unsettled(len(rows), sum((row.next_try_at or until) < until for row in rows))
            for status, rows in found.items()
        }

    @override
    async def count_unfinished(self, limit: int) -> Mapping[UUID, int]:
        counted = Counter(row.customer_id for row in self._jobs.values() if row.completed_at is None)
        return dict(counted.most_common(limit))

    @override
    async def lock_finished(self, age: timedelta, limit: int, without: Collection[UUID] = ()) -> list[UUID]:
        until = self.now() - age
        finished = [
            (row.completed_at, row.id)
            for row in self._jobs.values()
            if row.completed_at is not None
            and row.completed_at < until
            and row.billing_status in BILLING_IS_OVER
            and row.id not in without
        ]
        return [job_id for _, job_id in sorted(finished)[:limit]]

    @override
    async def delete_many(self, job_ids: Collection[UUID]) -> int:
        receipts = self._transactions.resource.tables.setdefault("receipts", {})
        deleted = [self._jobs.pop(job_id) for job_id in job_ids if job_id in self._jobs]
        for job in deleted:
            self._said.pop(job.id, None)
        for job in deleted:
            if job.billing_status is BillingStatus.CHARGED:
                receipts[job.id] = job.customer_id
        return len(deleted)

    @override
    async def left_alone(self, limit: int) -> list[DataCorrupt]:
        # In memory all values are known.
        return []

    @property
    def _lost_runs(self) -> dict[UUID, int]:
        return self._transactions.resource.tables.setdefault("lost_runs", {})

    def _is_paused(self, job: Job) -> bool:
        return job.queue in self._paused_queues or self._types[job.job_type_id].paused


def _due(row: Row) -> Due:
    if row.billing_status is BillingStatus.RELEASE_DUE and row.hold_id is not None:
        return Release(hold_id=row.hold_id, job_id=row.id)
    return Charge(row.customer_id, row.currency, row.cost_cents or 0, hold_id=row.hold_id, job_id=row.id)
