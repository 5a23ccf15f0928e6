"""Jobs and job types in PostgreSQL: a batch is a fixed number of statements, and locks rows in the order of IDs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.jobs import statements
from services.jobs.completion import Completion, Ending, Settlement
from services.jobs.domain import BillingStatus, Job, JobError, NewJob, QueueStats
from services.jobs.job_types import JobType, NewJobType, Priority
from services.jobs.leasing import choose, claimed_job
from services.jobs.models import job_types, jobs
from services.jobs.repository import JOB_TYPES, JOBS, Claim, Claimed, Payloads, Waiting
from services.jobs.statistics import queue_stats
from services.kit.data.repository_sql import SqlRepository
from services.kit.errors import DataCorrupt


class SqlJobTypeRepository(SqlRepository[JobType, NewJobType]):
    """The table `job_types`."""

    table = job_types
    entity = JobType
    resource = JOB_TYPES
    audited = True

    async def get_by_name(self, name: str) -> JobType | None:
        """Looks the name up."""
        return await self._one(self._select().where(job_types.c.name == name))

    async def resolve(
        self, ids: Collection[UUID], names: Collection[str]
    ) -> Mapping[UUID | str, JobType | DataCorrupt]:
        """Looks IDs and names up in one statement."""
        wanted = {"ids": list(ids), "names": list(names)}
        found: dict[UUID | str, JobType | DataCorrupt] = {}
        for row in (await self._connection.execute(statements.RESOLVE, wanted)).mappings():
            found[row["id"]] = found[row["name"]] = self._judged(row)
        return found

    def _judged(self, row: Mapping[Any, Any]) -> JobType | DataCorrupt:
        try:
            return self._entity(row)
        except DataCorrupt as error:
            return error


class SqlJobRepository(SqlRepository[Job, NewJob]):
    """The table `jobs`."""

    table = jobs
    entity = Job
    resource = JOBS
    columns = statements.BARE

    def _entity(self, row: Mapping[Any, Any]) -> Job:
        stored = row["error"]
        error = stored and JobError(**{**stored, "at": datetime.fromisoformat(stored["at"])})
        return super()._entity({**row, "error": error})

    async def get(self, entity_id: UUID) -> Job | None:
        """Answers the job with its payloads."""
        return await self._one(statements.GET_WHOLE, {"entity_id": entity_id})

    async def payloads(self, job_ids: Collection[UUID]) -> Mapping[UUID, Payloads]:
        """Reads the payloads alone."""
        found = await self._connection.execute(statements.PAYLOADS, {"ids": list(job_ids)})
        return {job_id: Payloads(input_data, output_data) for job_id, input_data, output_data in found}

    async def create_many(self, jobs: Sequence[NewJob]) -> dict[UUID, Job]:
        """Inserts them in one statement."""
        parameters = statements.insert_parameters(jobs)
        return {job.id: job for job in await self._all(statements.INSERT, parameters)}

    async def lock_many(self, job_ids: Collection[UUID]) -> dict[UUID, Job]:
        """Locks them in the order of their IDs, so that two batches can't wait for each other."""
        return {job.id: job for job in await self._all(statements.LOCK_MANY, {"ids": list(job_ids)})}

    async def claim(self, claim: Claim) -> Claimed:
        """Locks, chooses, changes, reads."""
        locked = await self.lock_many(claim.job_ids)
        types, corrupt = await self._types(locked.values())
        choice = choose(claim, {k: job for k, job in locked.items() if job.job_type_id in types})
        if choice.granted:
            await self._connection.execute(statements.claimed(claim, choice.granted))
        chosen = [*choice.repeated, *choice.granted]
        running = {job.id: job for job in await self._all(statements.GET_MANY_WHOLE, {"ids": chosen})}
        return Claimed(
            jobs=tuple(
                claimed_job(running[job_id], types[running[job_id].job_type_id])
                for job_id in dict.fromkeys(claim.job_ids)
                if job_id in running
            ),
            deferred=choice.deferred,
            corrupt=corrupt,
        )

    async def _types(self, found: Iterable[Job]) -> tuple[dict[UUID, JobType], tuple[DataCorrupt, ...]]:
        wanted = {job.job_type_id for job in found}
        resolved = await SqlJobTypeRepository(self._transactions).resolve(wanted, ())
        types = {key: resolved[key] for key in wanted}
        return (
            {key: kind for key, kind in types.items() if isinstance(kind, JobType)},
            tuple(kind for kind in types.values() if isinstance(kind, DataCorrupt)),
        )

    async def complete_many(self, endings: Sequence[tuple[Completion, Ending]]) -> None:
        """Updates them in one statement."""
        if endings:
            await self._connection.execute(statements.COMPLETE, statements.complete_parameters(endings))

    async def settle_many(self, settlements: Sequence[tuple[Settlement, BillingStatus]]) -> None:
        """Updates them in one statement."""
        if settlements:
            await self._connection.execute(statements.SETTLE, statements.settle_parameters(settlements))

    async def stats(self, queues: Collection[str]) -> list[QueueStats]:
        """Counts in one statement."""
        parameters = {"queues": list(queues), "window": statements.STATS_WINDOW_SECONDS}
        counted = await self._connection.execute(statements.STATS, parameters)
        return queue_stats(counted.mappings(), queues, statements.STATS_WINDOW_SECONDS)

    async def waiting_after(self, last: Waiting | None, limit: int) -> list[Waiting]:
        """Reads along the index of live jobs."""
        place = None if last is None else (last.queue, last.priority.value, last.queued_at, last.id)
        return await self._waiting(statements.waiting_after(place, limit))

    async def withhold(self, job_ids: Collection[UUID]) -> None:
        """Updates them in one statement."""
        await self._connection.execute(statements.withheld(job_ids))

    async def take_undispatched(self, limit: int) -> list[Waiting]:
        """Updates them in one statement, passing by rows that another replica is at."""
        taken = await self._waiting(statements.dispatched(limit))
        return sorted(taken, key=lambda waiting: (waiting.priority, waiting.queued_at))

    async def _waiting(self, statement: Any) -> list[Waiting]:
        return [
            Waiting(job_id, queue, Priority(priority), queued_at)
            for job_id, queue, priority, queued_at in await self._connection.execute(statement)
        ]
