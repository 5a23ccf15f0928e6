"""What submissions know of job types and customers, in two processes of the jobs service (D7)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
import redis.asyncio as redis
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.jobs.clients.caches import CachedCustomers, CachedJobTypes
from services.jobs.clients.schema_checks import IsolatedSchemaChecks
from services.jobs.rules.errors import CustomerInactive, JobTypeDisabled, JobTypeNotFound
from services.jobs.rules.job_types import JobType
from services.jobs.rules.submission import Submission
from services.jobs.usecases.job_types import JobTypeService
from services.jobs.usecases.ports import KnownCustomer
from services.jobs.usecases.submission.known_jobs import Submitted
from services.jobs.usecases.submission.submit import SubmitService
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.cache.invalidations import Invalidations
from services.kit.data.engine.database import Database
from services.kit.data.errors import Conflict
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DependencyUnavailable, DomainError
from services.kit.rates import NO_EXCEPTIONS, CustomerLimits
from services.kit.redis.pubsub import redis_client
from services.kit.settings import CacheSettings, DatabaseSettings, RedisSettings
from tests.support.jobs_examples import NOW, new_job_type
from tests.support.jobs_work import QueueForTests, WalletsForTests, sql_work
from tests.support.until import until

LIMIT_SECONDS = 30
HOURS = 3600.0


class Customers:
    """A customers service that counts how often it is asked."""

    def __init__(self) -> None:
        self.active_or_error: bool | DomainError = True
        self.limits = NO_EXCEPTIONS
        self.asked = 0

    async def read(self, customer_ids: Collection[UUID]) -> dict[UUID, KnownCustomer | DomainError]:
        self.asked += len(customer_ids)
        state = self.active_or_error
        known = state if isinstance(state, DomainError) else KnownCustomer(state, self.limits)
        return dict.fromkeys(customer_ids, known)


class Process:
    """The use cases of one process, with caches of its own."""

    def __init__(self, database: Database, ttl_seconds: float) -> None:
        settings = CacheSettings(ttl_seconds=ttl_seconds)
        work = sql_work(SqlTransactions(database))
        self.customers = Customers()
        self.types = CachedJobTypes(work.transactions, work.job_types, settings)
        self.job_types = JobTypeService(
            work.transactions,
            work.job_types,
            self.types,
            QueueForTests(),
            checks=IsolatedSchemaChecks(),
            callbacks_possible=lambda: True,
        )
        self.jobs = SubmitService(
            work.transactions,
            work.jobs,
            job_types=self.types,
            customers=CachedCustomers(self.customers, settings),
            reservations=WalletsForTests().reservations(),
            queue=QueueForTests(),
            now=lambda: NOW,
            checks=IsolatedSchemaChecks(),
        )

    async def submit(self, job_type: str, customer_id: UUID | None = None) -> Submitted | DomainError:
        one = Submission(job_id=uuid7(), customer_id=customer_id or uuid7(), job_type=job_type)
        [result] = await self.jobs.submit([one], ALL_TENANTS)
        return result


@pytest.fixture
async def open_process(fresh_database: Callable[[str], str]) -> AsyncIterator[Callable[..., Process]]:
    """Make processes on one database."""
    url = SecretStr(fresh_database("jobs"))
    opened: list[Database] = []

    def make(ttl_seconds: float = HOURS) -> Process:
        opened.append(Database.connect(DatabaseSettings(url=url), application_name="test"))
        return Process(opened[-1], ttl_seconds)

    yield make
    for database in opened:
        await database.close()


@pytest.fixture
async def connect(redis_url: str) -> AsyncIterator[Callable[[Process], Awaitable[None]]]:
    """Has processes tell one another what changes, over Redis; they listen when this returns."""
    prefix = f"{uuid7()}:"
    async with AsyncExitStack() as stack:
        tasks: list[asyncio.Task[None]] = []

        async def join(process: Process) -> None:
            client: redis.Redis = redis_client(RedisSettings(url=SecretStr(redis_url)))
            stack.push_async_callback(client.aclose)
            invalidations = Invalidations(client, prefix)
            invalidations.join(process.types.cache)
            tasks.append(asyncio.create_task(invalidations.run()))
            await until(lambda: invalidations.subscribed)

        yield join
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def created(process: Process) -> JobType:
    job_type, _ = await process.job_types.create(new_job_type())
    return job_type


async def until_refused(process: Process, job_type: str) -> DomainError:
    """Submit until it is refused, within a limit."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            result = await process.submit(job_type)
            if isinstance(result, DomainError):
                return result


async def test_a_change_through_the_same_process_is_seen_by_the_next_submission(
    open_process: Callable[..., Process],
) -> None:
    process = open_process()
    job_type = await created(process)
    assert isinstance(await process.submit(job_type.name), Submitted)
    await process.job_types.update(job_type.id, {"enabled": False}, "")
    assert isinstance(await process.submit(job_type.name), JobTypeDisabled)
    await process.job_types.update(job_type.id, {"enabled": True, "standard_cost_cents": 77}, "")
    result = await process.submit(job_type.name)
    assert isinstance(result, Submitted)
    assert result.job.estimated_cost_cents == 77


async def test_a_job_type_disabled_through_one_process_is_refused_by_another_when_it_is_told(
    open_process: Callable[..., Process], connect: Callable[[Process], Awaitable[None]]
) -> None:
    one, other = open_process(), open_process()
    for process in (one, other):
        await connect(process)
    job_type = await created(one)
    assert isinstance(await other.submit(job_type.name), Submitted)
    await one.job_types.update(job_type.id, {"enabled": False}, "")
    assert isinstance(await until_refused(other, job_type.name), JobTypeDisabled)


async def test_without_a_message_a_disabled_job_type_is_refused_when_its_time_has_passed(
    open_process: Callable[..., Process],
) -> None:
    one, other = open_process(), open_process(ttl_seconds=0.5)
    job_type = await created(one)
    assert isinstance(await other.submit(job_type.name), Submitted)
    await one.job_types.update(job_type.id, {"enabled": False}, "")
    assert isinstance(await until_refused(other, job_type.name), JobTypeDisabled)


async def test_a_change_that_is_rolled_back_changes_nothing_that_submissions_see(
    open_process: Callable[..., Process],
) -> None:
    process = open_process()
    first, second = await created(process), await created(process)
    with pytest.raises(DomainError):
        await process.job_types.update(second.id, {"name": first.name, "enabled": False}, "")
    assert isinstance(await process.submit(second.name), Submitted)


async def test_a_job_type_deleted_elsewhere_is_a_conflict_once_and_then_unknown(
    open_process: Callable[..., Process],
) -> None:
    one, other = open_process(), open_process()
    job_type = await created(one)
    await other.types.resolve([job_type.name])
    await one.job_types.delete(job_type.id, "")
    with pytest.raises(Conflict):
        await other.submit(job_type.name)
    assert isinstance(await other.submit(job_type.name), JobTypeNotFound)


async def test_the_customers_service_is_asked_once_about_an_active_customer(
    open_process: Callable[..., Process],
) -> None:
    process = open_process()
    job_type = await created(process)
    customer_id = uuid7()
    for _ in range(3):
        assert isinstance(await process.submit(job_type.name, customer_id), Submitted)
    assert process.customers.asked == 1


@pytest.mark.parametrize(
    ("active_or_error", "refusal"),
    [(False, CustomerInactive), (DependencyUnavailable("customers"), DependencyUnavailable)],
)
async def test_a_customer_that_was_refused_is_asked_for_again(
    open_process: Callable[..., Process], active_or_error: bool | DomainError, refusal: type[DomainError]
) -> None:
    process = open_process()
    job_type = await created(process)
    customer_id = uuid7()
    process.customers.active_or_error = active_or_error
    assert isinstance(await process.submit(job_type.name, customer_id), refusal)
    process.customers.active_or_error = True
    assert isinstance(await process.submit(job_type.name, customer_id), Submitted)


async def test_changed_limits_of_a_customer_are_known_when_the_customer_is_forgotten_or_expires() -> None:
    service, one = Customers(), uuid7()
    cached = CachedCustomers(service, CacheSettings(ttl_seconds=HOURS))
    assert await cached.limits([one]) == {one: NO_EXCEPTIONS}
    service.limits = CustomerLimits(jobs_waiting=5)
    assert await cached.limits([one]) == {one: NO_EXCEPTIONS}
    # As a message of the customers service does.
    cached.cache.forget([one])
    assert await cached.limits([one]) == {one: service.limits}
    assert await cached.active([one]) == {one: True}
    assert service.asked == 2


async def test_limits_of_settings_apply_while_the_customers_service_is_slow_or_unavailable() -> None:
    class Hanging(Customers):
        """A customers service that does not respond."""

        async def read(self, customer_ids: Collection[UUID]) -> dict[UUID, KnownCustomer | DomainError]:
            await asyncio.sleep(HOURS)
            return {}

    assert await CachedCustomers(Hanging(), CacheSettings()).limits([uuid7()]) == {}
    service = Customers()
    service.active_or_error = DependencyUnavailable("customers")
    assert await CachedCustomers(service, CacheSettings()).limits([uuid7()]) == {}
