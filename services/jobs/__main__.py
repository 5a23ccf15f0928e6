"""The jobs process: `python -m services.jobs`. The only place that puts its parts together."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import redis.asyncio as redis
from prometheus_client import REGISTRY
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from innosystem.client import connect
from innosystem.customers.v1.customer_service_pb2 import ResolveApiKeyRequest
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1 import job_service_pb2, job_type_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from innosystem.jobs.v1.job_type_service_pb2_grpc import add_JobTypeServiceServicer_to_server
from innosystem.shared.redis_connections import connect as connect_redis
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from services.jobs.background.announcements import StoredAnnouncements
from services.jobs.background.dispatcher import Dispatcher
from services.jobs.background.expiry import Expiry, OverdueCallbacks
from services.jobs.background.gauges import BacklogGauges, Gauges
from services.jobs.background.hold_auditor import HoldAuditor
from services.jobs.background.reconciler import Reconciler
from services.jobs.background.rescuer import Rescuer
from services.jobs.background.retention import Retention
from services.jobs.background.settler import Settler
from services.jobs.background.unserved import UnservedJobs
from services.jobs.clients.caches import CachedCustomers, CachedJobTypes
from services.jobs.clients.customers import GrpcCustomers
from services.jobs.clients.job_changes import JobChanges
from services.jobs.clients.queue_lists import RedisQueueLists
from services.jobs.clients.schema_checks import IsolatedSchemaChecks
from services.jobs.clients.wallets import GrpcWallets
from services.jobs.rpc.job_type_servicer import JobTypeServicer
from services.jobs.rpc.servicer import JobServicer, JobUseCases
from services.jobs.rules.holds import HoldTimes
from services.jobs.settings import (
    CallbackSettings,
    HousekeepingSettings,
    JobsServerSettings,
    SchemaSettings,
    WalletsClientSettings,
)
from services.jobs.store.hold_audit_sql import SqlAuditProgress
from services.jobs.store.job_types_sql import SqlJobTypeRepository
from services.jobs.store.pauses_sql import SqlPauseRepository
from services.jobs.store.runners.sql import SqlRunners
from services.jobs.store.sql import SqlJobRepository
from services.jobs.store.tables import metadata
from services.jobs.store.unserved_sql import SqlUnserved
from services.jobs.usecases.callbacks import CallbackService
from services.jobs.usecases.control import ControlService
from services.jobs.usecases.job_types import JobTypeService
from services.jobs.usecases.ports import QueueUnavailable
from services.jobs.usecases.progress import ProgressService
from services.jobs.usecases.queries import QueryService
from services.jobs.usecases.run import RunService
from services.jobs.usecases.runners import RunnerService
from services.jobs.usecases.submission.limits import COUNT_EVERY_SECONDS, SubmissionLimits, UnfinishedJobs
from services.jobs.usecases.submission.reservations import Reservations
from services.jobs.usecases.submission.submit import SubmitService
from services.jobs.usecases.watch import Watching
from services.jobs.usecases.write_off import WriteOffs
from services.kit.auth.api_keys import ApiKeys, KnownKeys
from services.kit.auth.settings import ApiKeySettings, authentication, own_token
from services.kit.background import Loop
from services.kit.batching.locked_lane import LockTimes
from services.kit.cache.invalidations import Invalidations
from services.kit.cache.metrics import CacheCollector
from services.kit.charges.callbacks import CallbackTokens
from services.kit.charges.keys import ChargeKeys
from services.kit.charges.vouchers import Vouchers
from services.kit.clocks import Skew
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.limits.limits import Limits
from services.kit.limits.settings import LimitSettings
from services.kit.limits.sharing import open_limits
from services.kit.migrations.startup import SchemaGate
from services.kit.query.page import PageTokens
from services.kit.redis.pubsub import redis_client as pubsub_client
from services.kit.rpc.api_keys import RemoteApiKeys
from services.kit.rpc.serving.server import Served, Server, serve
from services.kit.rpc.serving.transport import client_transport, server_transport
from services.kit.rpc.validation import ContractValidator
from services.kit.settings import (
    CacheSettings,
    ChargeKeySettings,
    CustomersClientSettings,
    DatabaseSettings,
    RedisSettings,
    load,
)

_RETENTION_EVERY = timedelta(minutes=1)
_ANNOUNCEMENTS_EVERY = timedelta(seconds=1)
_UNSERVED_EVERY = timedelta(seconds=0.5)
_GAUGES_EVERY = timedelta(seconds=15)


def redis_client(settings: RedisSettings) -> redis.Redis:
    """Create a client for commands: a short limit, and one retry; a push that is sent twice is harmless."""
    return connect_redis(
        settings.url.get_secret_value(),
        lifetime_seconds=settings.connection_lifetime_seconds,
        socket_timeout=settings.command_timeout_seconds,
        socket_connect_timeout=settings.command_timeout_seconds,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), retries=1),
    )


@dataclass(frozen=True)
class Settings:
    """The settings of the process, each part from the environment variables of its prefix."""

    server: JobsServerSettings
    database: DatabaseSettings
    redis: RedisSettings
    customers: CustomersClientSettings
    wallets: WalletsClientSettings
    housekeeping: HousekeepingSettings
    cache: CacheSettings
    api_keys: ApiKeySettings
    schemas: SchemaSettings
    limits: LimitSettings
    charge_keys: ChargeKeySettings
    callbacks: CallbackSettings

    @classmethod
    def load(cls) -> "Settings":
        """Read the environment."""
        return cls(
            server=load(JobsServerSettings, "JOBS_"),
            database=load(DatabaseSettings, "JOBS_DATABASE_"),
            redis=load(RedisSettings, "REDIS_"),
            customers=load(CustomersClientSettings, "CUSTOMERS_"),
            wallets=load(WalletsClientSettings, "WALLETS_"),
            housekeeping=load(HousekeepingSettings, "JOBS_"),
            cache=load(CacheSettings, "JOBS_CACHE_"),
            api_keys=load(ApiKeySettings, "INNOSYSTEM_API_KEY_"),
            schemas=load(SchemaSettings, "JOBS_SCHEMA_"),
            limits=load(LimitSettings, "INNOSYSTEM_LIMITS_"),
            charge_keys=load(ChargeKeySettings, "INNOSYSTEM_CHARGE_"),
            callbacks=load(CallbackSettings, "JOBS_CALLBACK_"),
        )

    @property
    def hold_times(self) -> HoldTimes:
        """The limits of holds without a job."""
        return HoldTimes(orphan_after=timedelta(seconds=self.housekeeping.hold_orphan_seconds))

    @property
    def settle_after(self) -> timedelta:
        """The time that a runner has to make a charge."""
        return timedelta(seconds=self.housekeeping.settle_after_seconds)


@dataclass(frozen=True)
class Stores:
    """The database, Redis and the other services, with their repositories, clients and caches."""

    database: Database
    schema: SchemaGate
    transactions: SqlTransactions
    jobs: SqlJobRepository
    job_types: SqlJobTypeRepository
    pauses: SqlPauseRepository
    runners: SqlRunners
    lists: RedisQueueLists
    pubsub: redis.Redis
    customers: CachedCustomers
    known_types: CachedJobTypes
    wallets: GrpcWallets
    api_keys: ApiKeys
    invalidations: Invalidations


@dataclass(frozen=True)
class UseCases:
    """The use cases, and the parts of the background that they notify."""

    jobs: JobUseCases
    job_types: JobTypeService
    changes: JobChanges
    dispatcher: Dispatcher
    unserved: UnservedJobs
    announcements: StoredAnnouncements
    settling: asyncio.Event
    unfinished: UnfinishedJobs


async def open_stores(settings: Settings, opened: AsyncExitStack) -> Stores:
    """Open what the service reads and writes.

    Args:
        settings: The settings.
        opened: Closes all of it.
    """
    database = Database.connect(settings.database, application_name="innosystem-jobs")
    opened.push_async_callback(database.close)
    transactions = SqlTransactions(database)
    job_types = SqlJobTypeRepository(transactions)

    client = await opened.enter_async_context(redis_client(settings.redis))
    pubsub = await opened.enter_async_context(pubsub_client(settings.redis))
    connected = partial(connect, transport=client_transport(), token=own_token())
    channel = connected(settings.customers.address, deadline_seconds=settings.customers.deadline_seconds)
    customers_stub = CustomerServiceStub(await opened.enter_async_context(channel))
    channel = connected(settings.wallets.address, deadline_seconds=settings.wallets.deadline_seconds)
    wallets_stub = WalletServiceStub(await opened.enter_async_context(channel))

    customers = CachedCustomers(GrpcCustomers(customers_stub, settings.customers.deadline_seconds), settings.cache)
    known_types = CachedJobTypes(transactions, job_types, settings.cache)
    known_keys = KnownKeys(settings.api_keys)
    resolve = RemoteApiKeys(
        customers_stub.ResolveApiKey, ResolveApiKeyRequest, settings.api_keys.deadline_seconds
    ).resolve
    invalidations = Invalidations(pubsub, settings.redis.key_prefix)
    invalidations.join(known_types.cache, customers.cache, known_keys)
    opened.push_async_callback(invalidations.flush)
    REGISTRY.register(CacheCollector([one.statistics for one in (known_types.cache, customers.cache, known_keys)]))
    return Stores(
        database=database,
        schema=SchemaGate.of("jobs", settings.database, metadata, database),
        transactions=transactions,
        jobs=SqlJobRepository(transactions),
        job_types=job_types,
        pauses=SqlPauseRepository(transactions),
        runners=SqlRunners(transactions),
        lists=RedisQueueLists(client, settings.redis.key_prefix),
        pubsub=pubsub,
        customers=customers,
        known_types=known_types,
        wallets=GrpcWallets(
            wallets_stub,
            database.now,
            Skew("wallets", settings.database.clock_skew_seconds_max),
            settings.wallets.deadline_seconds,
        ),
        api_keys=ApiKeys(resolve, known_keys, database.now),
        invalidations=invalidations,
    )


def build_use_cases(settings: Settings, stores: Stores, limits: Limits, charge_keys: ChargeKeys) -> UseCases:
    """Build the use cases on the stores."""
    transactions, jobs = stores.transactions, stores.jobs
    watching = Watching(transactions, jobs)
    changes = JobChanges(watching, stores.pubsub, settings.redis.key_prefix)
    dispatcher = Dispatcher(
        transactions, jobs, stores.pauses, stores.lists, changes, window=settings.housekeeping.window
    )
    unserved = UnservedJobs(
        transactions,
        SqlUnserved(transactions),
        jobs,
        dispatcher,
        wait_max=timedelta(seconds=settings.housekeeping.unserved_wait_seconds),
    )
    announcements = StoredAnnouncements(transactions, stores.runners)
    settling = asyncio.Event()
    reservations = Reservations(stores.wallets, settings.hold_times)
    unfinished = UnfinishedJobs(transactions, jobs)
    submission_limits = SubmissionLimits(limits, stores.customers, unfinished)
    checks = IsolatedSchemaChecks(settings.schemas.cpu_seconds_max)
    callback_tokens = CallbackTokens(charge_keys, stores.database.now)
    runs = RunService(
        transactions,
        jobs,
        job_types=stores.known_types,
        queue=dispatcher,
        changes=changes,
        unserved=unserved,
        wake_settler=settling.set,
        settle_after=settings.settle_after,
        deaths=settings.housekeeping.deaths,
    )
    job_use_cases = JobUseCases(
        submissions=SubmitService(
            transactions,
            jobs,
            job_types=stores.known_types,
            customers=stores.customers,
            reservations=reservations,
            queue=dispatcher,
            now=stores.database.now,
            checks=checks,
            lock_times=LockTimes(patient_seconds=settings.database.locked_row_seconds),
            limits=submission_limits,
        ),
        queries=QueryService(transactions, jobs, stores.job_types, stores.runners),
        control=ControlService(
            transactions,
            jobs,
            stores.pauses,
            customers=stores.customers,
            reservations=reservations,
            queue=dispatcher,
            changes=changes,
            wake_settler=settling.set,
            limits=submission_limits,
        ),
        runs=runs,
        progress=ProgressService(transactions, jobs, changes=changes),
        runners=RunnerService(transactions, stores.runners, announcements),
        write_offs=WriteOffs(transactions, jobs, runs, stores.wallets),
        watching=watching,
        callbacks=CallbackService(
            transactions,
            jobs,
            job_types=stores.known_types,
            queue=dispatcher,
            changes=changes,
            tokens=callback_tokens,
            wake_settler=settling.set,
        ),
    )
    job_types = JobTypeService(
        transactions,
        stores.job_types,
        stores.known_types,
        dispatcher,
        checks=checks,
        callbacks_possible=lambda: callback_tokens.are_possible,
    )
    return UseCases(job_use_cases, job_types, changes, dispatcher, unserved, announcements, settling, unfinished)


def background(
    settings: Settings, stores: Stores, use_cases: UseCases
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Build what runs beside the server; all of it but the invalidations waits for the schema."""
    transactions, jobs, changes = stores.transactions, stores.jobs, use_cases.changes
    housekeeping, dispatcher = settings.housekeeping, use_cases.dispatcher
    every = timedelta(seconds=housekeeping.housekeeping_seconds)
    reconcile_every = timedelta(seconds=housekeeping.reconcile_seconds)
    orphan_after = settings.hold_times.orphan_after
    rescuer = Rescuer(
        transactions,
        jobs,
        dispatcher,
        changes,
        deaths=housekeeping.deaths,
        every=every,
        grace=timedelta(seconds=housekeeping.rescue_grace_seconds),
    )
    settler = Settler(transactions, jobs, use_cases.jobs.runs, stores.wallets, settle_after=settings.settle_after)
    overdue_callbacks = OverdueCallbacks(
        transactions,
        jobs,
        stores.job_types,
        queue=dispatcher,
        changes=changes,
        wake_settler=use_cases.settling.set,
    )
    reconciler = Reconciler(transactions, jobs, stores.lists, window=housekeeping.window, apart=reconcile_every)
    auditor = HoldAuditor(transactions, jobs, SqlAuditProgress(transactions), stores.wallets, age=orphan_after)
    retention = Retention(transactions, jobs, age=timedelta(days=housekeeping.retention_days))
    loops = [
        Loop("rescuer", rescuer.round, every=every),
        Loop("expiry", Expiry(transactions, jobs, changes).round, every=every),
        Loop("overdue callbacks", overdue_callbacks.round, every=every),
        Loop("settler", settler.round, every=every, woken=use_cases.settling),
        Loop("reconciler", reconciler.round, every=reconcile_every, known=(QueueUnavailable,)),
        Loop("hold auditor", auditor.round, every=orphan_after / 20),
        Loop("gauges", Gauges(transactions, jobs).round, every=_GAUGES_EVERY),
        Loop("backlog", BacklogGauges(transactions, jobs, stores.known_types).round, every=_GAUGES_EVERY),
        Loop("unfinished jobs", use_cases.unfinished.round, every=timedelta(seconds=COUNT_EVERY_SECONDS)),
        Loop("unserved", use_cases.unserved.round, every=_UNSERVED_EVERY),
        Loop("runners", use_cases.announcements.round, every=_ANNOUNCEMENTS_EVERY),
        Loop("gone runners", use_cases.announcements.delete_gone, every=_RETENTION_EVERY),
        Loop("retention", retention.round, every=_RETENTION_EVERY),
    ]
    works = [dispatcher.run, use_cases.jobs.watching.run, changes.run, *(loop.run for loop in loops)]
    return [stores.invalidations.run, *map(stores.schema.before, works)]


async def main() -> None:
    """Serve until the process is asked to stop."""
    settings = Settings.load()
    async with AsyncExitStack() as opened:
        stores = await open_stores(settings, opened)
        limits = await opened.enter_async_context(open_limits("jobs", settings.limits, settings.redis))
        chosen = settings.charge_keys
        charge_keys = ChargeKeys(chosen.keys.get_secret_value(), chosen.keys_file, chosen.keys_kept_seconds)
        use_cases = build_use_cases(settings, stores, limits, charge_keys)
        tokens = PageTokens(stores.schema.page_token_key)
        vouchers = Vouchers(charge_keys, stores.database.now)
        job_servicer = JobServicer(use_cases.jobs, ContractValidator(), tokens, vouchers, settings.callbacks.url)
        job_type_servicer = JobTypeServicer(use_cases.job_types, tokens)
        server = Server(
            settings=settings.server,
            served=[
                Served(
                    job_service_pb2.DESCRIPTOR.services_by_name["JobService"],
                    lambda grpc_server: add_JobServiceServicer_to_server(job_servicer, grpc_server),
                ),
                Served(
                    job_type_service_pb2.DESCRIPTOR.services_by_name["JobTypeService"],
                    lambda grpc_server: add_JobTypeServiceServicer_to_server(job_type_servicer, grpc_server),
                ),
            ],
            authentication=authentication(stores.api_keys),
            transport=server_transport(),
            limits=limits,
            required={"database": stores.schema.check},
            database=lambda: stores.schema.identity,
            optional={"redis": stores.lists.check},
            background=[*background(settings, stores, use_cases), *(loop.run for loop in charge_keys.loops)],
            on_drain=[use_cases.jobs.watching.drain],
        )
        opened.push_async_callback(use_cases.announcements.flush)
        opened.push_async_callback(use_cases.dispatcher.flush)
        await server.run()


def run(arguments: Sequence[str] = ()) -> None:
    """Run the service as one process, or as several: `--processes 2`."""
    serve("jobs", main, JobsServerSettings, arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
