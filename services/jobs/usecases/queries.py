"""Reading: one job, pages of jobs, the counts of the queues."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from services.jobs.rules.entities import FIXED_BYTES_MAX, Job, QueueStats
from services.jobs.rules.errors import JobNotFound
from services.jobs.rules.indexed_lists import check_order
from services.jobs.rules.job_types import JobType
from services.jobs.rules.resources import JOB_TYPES
from services.jobs.rules.runners import with_runners
from services.jobs.rules.statistics import queue_stats
from services.jobs.rules.type_names import by_type_id, wanted_types
from services.jobs.usecases.own_jobs import narrowing
from services.jobs.usecases.ports import JobRepository, JobTypeRepository, RunnerRepository
from services.kit.auth.tenants import Tenants
from services.kit.data.transactions.ambient import Isolation, Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import InvalidFilter
from services.kit.query.page import PAGE_SIZE_MAX, ListQuery, Page

PAGE_BYTES_MAX = 4_000_000


class QueryService:
    """The use cases that read jobs and change nothing.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        job_types: The stored job types, which filters name.
        runners: The stored runners.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        job_types: JobTypeRepository,
        runners: RunnerRepository,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._job_types = job_types
        self._runners = runners

    @transactional(read_only=True)
    async def get(self, job_id: UUID, tenants: Tenants, *, full: bool) -> Job:
        """Return a job, with its payloads if `full`.

        Raises:
            JobNotFound: If the job does not exist.
        """
        job = await self._jobs.get(job_id, narrowing(tenants).specification, full=full)
        if job is None:
            raise JobNotFound(job_id)
        return job

    @transactional(read_only=True, isolation=Isolation.REPEATABLE_READ)
    async def list_page(self, query: ListQuery, *, full: bool) -> Page[Job]:
        """Return a page of jobs, with their payloads if `full`; a shorter page where more would not fit a message.

        Raises:
            InvalidFilter: If the filter names too many job types.
            InvalidOrderBy: If the order requires sorting all jobs that ever existed.
        """
        query = await self._by_type_id(query)
        check_order(query)
        page = await self._jobs.list_page(query)
        items = _fitting(page.items, full=full)
        if full:
            payloads = await self._jobs.payloads([job.id for job in items])
            items = [replace(job, **vars(payloads[job.id])) for job in items]
        if len(items) == len(page.items):
            return Page(tuple(items), page.next_cursor)
        return Page.cut([*items, page.items[len(items)]], replace(query, page_size=len(items)))

    @transactional(read_only=True)
    async def by_type_id(self, query: ListQuery) -> ListQuery:
        """Return the query with the IDs of job types in place of their names.

        Raises:
            InvalidFilter: If the filter names too many job types.
        """
        return await self._by_type_id(query)

    async def _by_type_id(self, query: ListQuery) -> ListQuery:
        wanted = wanted_types(query.specification)
        if wanted is None:
            types: Sequence[JobType] = ()
        else:
            page = await self._job_types.list_page(ListQuery(JOB_TYPES.default_ordering, wanted, PAGE_SIZE_MAX))
            if page.next_cursor is not None:
                raise InvalidFilter(f"more than {PAGE_SIZE_MAX} job types have such a name")
            types = page.items
        return replace(query, specification=by_type_id(query.specification, types))

    @transactional(read_only=True)
    async def stats(self, queues: Collection[str], tenants: Tenants) -> list[QueueStats]:
        """Count the waiting and running jobs per queue and priority, and the runners.

        Args:
            queues: The queues; if none is named, all that have something to count, or all that the caller is bound to.
            tenants: Whose queues exist for the caller. One that is bound to customers has none: queues mix customers.
        """
        own = frozenset[str]() if tenants.customers is not None else tenants.queues
        if own is None:
            return with_runners(await self._jobs.stats(queues), *await self._runners.active())
        named = sorted(set(queues) or own)
        counted = [name for name in named if name in own]
        found = await self._jobs.stats(counted) if counted else []
        runners, anywhere = await self._runners.active()
        # All others are as a queue that nobody has used, which is counted as well if it is named.
        unknown = queue_stats((), [name for name in named if name not in own], 1) if len(counted) < len(named) else []
        stats = sorted([*found, *unknown], key=lambda one: (one.queue, one.priority.value))
        return with_runners(stats, {name: runners[name] for name in own & runners.keys()}, anywhere)


def _fitting(jobs: Sequence[Job], *, full: bool) -> Sequence[Job]:
    size = 0
    for count, job in enumerate(jobs):
        size += FIXED_BYTES_MAX + job.notes_bytes
        if full:
            size += job.input_bytes + job.output_bytes
        if size > PAGE_BYTES_MAX and count:
            return jobs[:count]
    return jobs
