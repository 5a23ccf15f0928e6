"""Jobs in PostgreSQL: a batch is a fixed number of statements, and locks rows in the order of their IDs."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy.sql.base import Executable
from typing_extensions import override

from services.jobs.rules import trail
from services.jobs.rules.backlogs import with_unserved
from services.jobs.rules.entities import (
    Backlog,
    Billing,
    BillingStatus,
    Charge,
    Due,
    Job,
    JobStatus,
    Lane,
    ListKey,
    NewJob,
    Payloads,
    QueueStats,
    Release,
    Revision,
    Turns,
    Unsettled,
    Waiting,
)
from services.jobs.rules.indexed_lists import INDEXED_ORDERS, only_dead, only_live
from services.jobs.rules.job_types import JobType, Priority
from services.jobs.rules.resources import COMPLETED_AT, JOBS
from services.jobs.rules.statistics import queue_stats
from services.jobs.rules.transitions.changes import Change
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
from services.jobs.store import stored_values
from services.jobs.store.job_types_sql import SqlJobTypeRepository
from services.jobs.store.statements import housekeeping, progress, queue, statistics, submit, transitions
from services.jobs.store.statements import run as statements
from services.jobs.store.statements.job_types import FREE_TYPES
from services.jobs.store.statements.lists import select_live
from services.jobs.store.tables import jobs
from services.jobs.store.unserved_sql import SqlUnserved
from services.jobs.usecases.ports import JobRepository
from services.kit.auth.tenants import Tenants
from services.kit.data.audit.sql import SqlAuditLog
from services.kit.data.corrupt import noted, understood
from services.kit.data.dialects.postgresql import SHORT_LOCK_TIMEOUT
from services.kit.data.repositories import query_sql
from services.kit.data.repositories.sql import SqlRepository
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DataCorrupt
from services.kit.fast_dataclasses import made
from services.kit.query.page import ListQuery, Page
from services.kit.query.resource import Ordering
from services.kit.query.specification import ALWAYS, Comparison, Specification

# The columns that a new job lacks, as they are stored.
_UNTOUCHED = {field.name: field.default for field in fields(Job) if field.default is not MISSING}
_DECODED = {"error": stored_values.error, "labels": stored_values.labels, "progress": stored_values.progress}
_FIRST_LANE, _LAST_TYPE = Lane(UUID(int=0), UUID(int=0)), UUID(int=2**128 - 1)


class SqlJobRepository(SqlRepository[Job, NewJob], JobRepository):
    """The table `jobs`."""

    table = jobs
    entity = Job
    resource = JOBS
    columns = statements.BARE
    indexed = frozenset({"id", "customer_id"})

    def __init__(self, transactions: SqlTransactions) -> None:
        super().__init__(transactions)
        self._trail = SqlAuditLog(transactions)
        self._known_types: dict[UUID, JobType] = {}

    def _entity(self, row: Mapping[Any, Any]) -> Job:
        if row["error"] is None and not row["labels"] and row["progress"] is None:
            return super()._entity(row)
        decoded = {name: decode(row) for name, decode in _DECODED.items()}
        return super()._entity({**row, **decoded})

    @override
    async def audit(self, changes: Sequence[tuple[Job, Job]]) -> None:
        await self._trail.add(trail.of_jobs(changes, self._transactions.transaction_id))

    @override
    async def get(self, entity_id: UUID, wanted: Specification = ALWAYS, *, full: bool = True) -> Job | None:
        statement = statements.GET_WHOLE if full else statements.GET_BARE
        if wanted != ALWAYS:
            statement = statement.where(query_sql.where(wanted, jobs.c))
        return await self._one(statement, {"entity_id": entity_id})

    @override
    async def own(self, job_ids: Collection[UUID], tenants: Tenants) -> set[UUID]:
        parameters = {
            "ids": list(job_ids),
            "all_customers": tenants.customers is None,
            "customer_ids": list(tenants.customers or ()),
            "all_queues": tenants.queues is None,
            "queues": list(tenants.queues or ()),
        }
        return {job_id for (job_id,) in await self._execute(statements.OWN, parameters)}

    @override
    async def list_page(self, query: ListQuery) -> Page[Job]:
        # Live jobs are few beside history, so a search among them does not end before all have been read.
        live = only_live(query.specification)
        if not live or query.ordering[0].field.attribute in INDEXED_ORDERS:
            page = await super().list_page(query)
            if not live or len(page.items) == query.page_size or page.next_cursor is None:
                return page
        return self._page(list(await self._rows(select_live(query, self.columns))), query)

    def _leads(self, ordering: Ordering, comparison: Comparison) -> bool:
        # The index of completed_at has no other column: only bounds lead along it.
        if ordering[0].field.attribute == COMPLETED_AT.attribute:
            return False
        # Jobs that ended without success have an index of their own.
        return super()._leads(ordering, comparison) or only_dead(comparison)

    @override
    async def get_many(self, ids: Iterable[UUID]) -> dict[UUID, Job | DataCorrupt]:
        return await self._by_id(statements.GET_MANY_SHOWN, {"ids": list(ids)})

    @override
    async def payloads(self, job_ids: Collection[UUID]) -> Mapping[UUID, Payloads]:
        found = await self._execute(statements.PAYLOADS, {"ids": list(job_ids)})
        return {job_id: Payloads(input_data, output_data) for job_id, input_data, output_data in found}

    @override
    async def create_many(
        self, jobs: Sequence[NewJob], withheld: Collection[UUID] = (), *, wait: bool = True
    ) -> dict[UUID, Job]:
        if not wait:
            await self._connection.execute(SHORT_LOCK_TIMEOUT)
            free = await self._execute(FREE_TYPES, {"ids": list({job.job_type_id for job in jobs})})
            jobs = [job for job in jobs if (job.job_type_id,) in free]
        rows = await self._execute(submit.INSERT, submit.insert_parameters(jobs, withheld))
        new = {job.id: job for job in jobs}
        return {
            job_id: made(
                Job,
                {
                    **_UNTOUCHED,
                    **vars(new[job_id]),
                    "input_data": None,
                    "created_at": created_at,
                    "queued_at": queued_at,
                    "dispatched_at": dispatched_at,
                },
            )
            for job_id, created_at, queued_at, dispatched_at in rows
        }

    @override
    async def lock_many(self, job_ids: Collection[UUID], *, wait: bool = True) -> dict[UUID, Job | DataCorrupt]:
        return await self._by_id(statements.LOCK_MANY[wait], {"ids": list(job_ids)})

    @override
    async def lock_billing(self, job_ids: Collection[UUID], *, wait: bool = True) -> dict[UUID, Billing | DataCorrupt]:
        rows = await self._execute(statements.LOCK_BILLING[wait], {"ids": list(job_ids)})
        return {job_id: stored_values.billing(job_id, status, cost_cents) for job_id, status, cost_cents in rows}

    @override
    async def claim(self, claim: Claim, *, wait: bool = True) -> Claimed:
        rows = await self._execute(statements.LOCK_FOR_CLAIM[wait], {"ids": claim.job_ids})
        locked: dict[UUID, Job] = {}
        paused: set[UUID] = set()
        versions: dict[UUID, int] = {}
        now: datetime | None = None
        corrupt: list[DataCorrupt] = []
        for *values, now, is_paused, type_version in rows:  # noqa: B007 - the time is the same in each
            job = self._decoded(values)
            if isinstance(job, DataCorrupt):
                corrupt.append(job)
                continue
            locked[job.id] = job
            versions[job.job_type_id] = type_version
            if is_paused:
                paused.add(job.id)
        if now is None:
            return Claimed((), ())
        types, unusable = await self._types(versions)
        known = {k: job for k, job in locked.items() if job.job_type_id in types}
        left = await self._checkpoint_sizes(known.values())
        choice = choose(claim, known, paused, now, foreign_types(claim, types), left=left)
        if choice.withheld or choice.unserved:
            await self.withhold([*choice.withheld, *choice.unserved])
        running = await self._start(claim, [locked[job_id] for job_id in choice.granted])
        if choice.repeated:
            repeated = await self._all(statements.GET_MANY_WHOLE, {"ids": list(choice.repeated)})
            running.update((job.id, job) for job in understood(repeated))
        checkpoints = await self._checkpoints(running.keys() & left)
        return Claimed(
            jobs=tuple(
                claimed_job(running[job_id], types[running[job_id].job_type_id], checkpoints.get(job_id))
                for job_id in dict.fromkeys(claim.job_ids)
                if job_id in running
            ),
            deferred=choice.deferred,
            corrupt=(*corrupt, *unusable),
            unserved=tuple(Backlog(locked[job_id].queue, locked[job_id].job_type_id) for job_id in choice.unserved),
        )

    async def _start(self, claim: Claim, granted: Sequence[Job]) -> dict[UUID, Job]:
        """Make locked PENDING jobs RUNNING; return them with their input."""
        if not granted:
            return {}
        jobs = {job.id: job for job in granted}
        rows = await self._execute(statements.CLAIM, statements.claim_parameters(claim, jobs.keys()))
        return {job_id: started(jobs[job_id], claim, now, input_data=input_data) for job_id, input_data, now in rows}

    async def _checkpoint_sizes(self, jobs: Iterable[Job]) -> dict[UUID, int]:
        """Return the sizes of the checkpoints that jobs have. Of jobs that have never run nothing is read."""
        again = [job.id for job in jobs if may_have_checkpoint(job)]
        return dict(await self._execute(progress.CHECKPOINT_SIZES, {"ids": again})) if again else {}

    async def _checkpoints(self, job_ids: Collection[UUID]) -> dict[UUID, str]:
        return dict(await self._execute(progress.CHECKPOINTS, {"ids": list(job_ids)})) if job_ids else {}

    async def _types(self, versions: Mapping[UUID, int]) -> tuple[dict[UUID, JobType], tuple[DataCorrupt, ...]]:
        """Return the job types of these versions; read only those that are not known in their version."""
        wanted = {key for key, version in versions.items() if not self._is_known(key, version)}
        corrupt: list[DataCorrupt] = []
        if wanted:
            resolved = await SqlJobTypeRepository(self._transactions).resolve(wanted, ())
            for kind in (resolved[key] for key in wanted):
                if isinstance(kind, JobType):
                    self._known_types[kind.id] = kind
                else:
                    corrupt.append(kind)
        types = {key: self._known_types[key] for key, version in versions.items() if self._is_known(key, version)}
        return types, tuple(corrupt)

    def _is_known(self, job_type_id: UUID, version: int) -> bool:
        known = self._known_types.get(job_type_id)
        # If it was changed after the lock, the known version is later, which is as good.
        return known is not None and known.version >= version

    @override
    async def renew(self, renewal: Renewal) -> Renewed:
        wanted = {"job_id": list(renewal.job_ids), "lease": renewal.lease}
        rows = await self._execute(statements.LOCK_LEASED, wanted)
        leases, running = set(renewal.lease_ids), JobStatus.RUNNING.value
        kept = [job_id for job_id, status, lease_id, _ in rows if status == running and lease_id in leases]
        if not kept:
            return Renewed(frozenset(), None)
        await self._execute(statements.RENEW, {"job_id": kept, "lease": renewal.lease})
        return Renewed(frozenset(kept), rows[0][3])

    @override
    async def apply(self, changes: Sequence[Change]) -> None:
        for kind, same in groupby(changes, type):
            await self._execute(transitions.STATEMENTS[kind], transitions.parameters(kind, list(same)))

    @override
    async def report(self, reports: Sequence[Report]) -> None:
        if reports:
            await self._execute(progress.STORE, progress.parameters(reports))

    @override
    async def revisions(self, job_ids: Collection[UUID]) -> Mapping[UUID, Revision]:
        rows = await self._execute(progress.REVISIONS, {"ids": list(job_ids)})
        return {job_id: Revision(version, sequence) for job_id, version, sequence in rows}

    @override
    async def versions(self, job_ids: Collection[UUID]) -> Mapping[UUID, int]:
        rows = await self._execute(statements.VERSIONS, {"ids": list(job_ids)})
        return dict(rows)

    @override
    async def stats(self, queues: Collection[str]) -> list[QueueStats]:
        parameters = {"queues": list(queues), "window": statistics.STATS_WINDOW_SECONDS}
        counted = await self._connection.execute(statistics.STATS, parameters)
        stats = queue_stats(counted.mappings(), queues, statistics.STATS_WINDOW_SECONDS)
        return with_unserved(stats, await SqlUnserved(self._transactions).counts())

    @override
    async def withhold(self, job_ids: Collection[UUID]) -> None:
        await self._execute(statements.WITHHOLD, {"ids": list(job_ids)})

    @override
    async def withheld_lists(self) -> list[ListKey]:
        return await self._lists(queue.WITHHELD_LISTS)

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
        begin = first or (_FIRST_LANE if only is None else Lane(only, _FIRST_LANE.customer_id))
        parameters = {
            "queue": wanted.queue,
            "priority": wanted.priority.value,
            "limit": limit,
            "excluded": list(excluded),
            "first_type": begin.job_type_id,
            "first_customer": begin.customer_id,
            "last_type": only or _LAST_TYPE,
            "whole": first is None,
        }
        rows = (await self._connection.execute(queue.TAKE_WITHHELD, parameters)).all()
        jobs = [Waiting(row.id, row.queue, Priority(row.priority), row.queued_at) for row in rows if row.id is not None]
        [(lanes, *following)] = {tuple(row[-3:]) for row in rows}
        return Turns(jobs, lanes, Lane(*following) if following[0] is not None else None)

    @override
    async def dispatched_lists(self) -> list[ListKey]:
        return await self._lists(queue.DISPATCHED_LISTS)

    @override
    async def try_turn(self, wanted: ListKey) -> bool:
        name = {"name": f"{wanted.queue}:{wanted.priority.value}"}
        mine: bool = (await self._connection.execute(queue.TRY_TURN, name)).scalar_one()
        return mine

    @override
    async def dispatched(self, wanted: ListKey, before: timedelta, limit: int) -> list[UUID]:
        parameters = {"queue": wanted.queue, "priority": wanted.priority.value, "before": before, "limit": limit}
        return await self._ids(queue.DISPATCHED, parameters)

    @override
    async def still_dispatched(self, job_ids: Collection[UUID]) -> set[UUID]:
        return set(await self._ids(queue.STILL_DISPATCHED, {"ids": list(job_ids)}))

    @override
    async def release_scheduled(self, limit: int) -> list[UUID]:
        return await self._ids(queue.RELEASE_SCHEDULED, {"limit": limit})

    @override
    async def next_scheduled(self) -> timedelta | None:
        wait: timedelta | None = (await self._connection.execute(queue.NEXT_SCHEDULED)).scalar_one()
        return wait

    @override
    async def lock_lost(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        return await self._lock(housekeeping.LOST, limit, without)

    @override
    async def lock_overdue(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        return await self._lock(housekeeping.OVERDUE, limit, without)

    @override
    async def begun(self, runner_ids: Collection[UUID], short: timedelta) -> Mapping[UUID, int]:
        counted: Counter[UUID] = Counter()
        parameters = {"runner_ids": list(runner_ids), "short": short}
        for runner_id, count in await self._execute(statements.BEGUN, parameters):
            counted[runner_id] += count
        return counted

    @override
    async def note_lost(self, losses: Mapping[UUID, int]) -> None:
        parameters = {"runner_ids": list(losses), "jobs": list(losses.values())}
        await self._connection.execute(housekeeping.LOSE_RUNS, parameters)

    @override
    async def lock_expired(self, limit: int, without: Collection[UUID] = ()) -> Sequence[Job | DataCorrupt]:
        return await self._lock(housekeeping.EXPIRED, limit, without)

    @override
    async def take_unsettled(self, limit: int, settle_after: timedelta, longest: timedelta) -> list[Due]:
        parameters = {"limit": limit, "settle_after": settle_after, "longest": longest}
        rows = await self._connection.execute(housekeeping.TAKE_UNSETTLED, parameters)
        return [
            Release(hold_id=row.hold_id, job_id=row.id)
            if row.billing_status == BillingStatus.RELEASE_DUE
            else Charge(row.customer_id, row.currency, row.cost_cents, hold_id=row.hold_id, job_id=row.id)
            for row in rows
        ]

    @override
    async def count_unsettled(self) -> Mapping[BillingStatus, Unsettled]:
        rows = await self._connection.execute(housekeeping.COUNT_UNSETTLED)
        return {BillingStatus(status): Unsettled(jobs, overdue) for status, jobs, overdue in rows}

    @override
    async def count_unfinished(self, limit: int) -> Mapping[UUID, int]:
        rows = await self._connection.execute(statistics.COUNT_UNFINISHED, {"limit": limit})
        return {row.customer_id: row.jobs for row in rows}

    @override
    async def lock_finished(self, age: timedelta, limit: int, without: Collection[UUID] = ()) -> list[UUID]:
        return await self._ids(housekeeping.FINISHED, {"age": age, "limit": limit, "without": list(without)})

    @override
    async def delete_many(self, job_ids: Collection[UUID]) -> int:
        parameters = {"ids": list(job_ids)}
        deleted: int = (await self._connection.execute(housekeeping.DELETE_FINISHED, parameters)).scalar_one()
        return deleted

    @override
    async def left_alone(self, limit: int) -> list[DataCorrupt]:
        rows = await self._connection.execute(housekeeping.LEFT_ALONE, {"limit": limit})
        return [
            noted(stored_values.corrupt(job_id, "status, billing_status, priority", values)) for job_id, *values in rows
        ]

    async def _lock(self, statement: Executable, limit: int, without: Collection[UUID]) -> Sequence[Job | DataCorrupt]:
        found = await self._ids(statement, {"limit": limit, "without": list(without)})
        return await self._all(statements.GET_MANY_BARE, {"ids": found}) if found else []

    async def _ids(self, statement: Executable, parameters: Mapping[str, Any]) -> list[UUID]:
        return list((await self._connection.execute(statement, parameters)).scalars())

    async def _lists(self, statement: Executable) -> list[ListKey]:
        rows = await self._connection.execute(statement)
        return understood(stored_values.list_key(queue, priority) for queue, priority in rows)
