"""The jobs process: `python -m services.jobs`. The only place where its parts are put together."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

import redis.asyncio as redis
from prometheus_client import REGISTRY
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from innosystem.client import connect
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1 import job_service_pb2, job_type_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from innosystem.jobs.v1.job_type_service_pb2_grpc import add_JobTypeServiceServicer_to_server
from innosystem.shared.redis_connections import connect as connect_redis
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from services.jobs.background.dispatcher import Dispatcher
from services.jobs.background.expiry import Expiry
from services.jobs.background.gauges import Gauges
from services.jobs.background.hold_auditor import HoldAuditor
from services.jobs.background.reconciler import Reconciler
from services.jobs.background.rescuer import Rescuer
from services.jobs.background.retention import Retention
from services.jobs.background.settler import Settler
from services.jobs.background.unserved import UnservedJobs
from services.jobs.clients.caches import CachedCustomers, CachedJobTypes
from services.jobs.clients.customers import GrpcCustomers
from services.jobs.clients.queue import RedisLists
from services.jobs.clients.schema_checks import SchemaChecks
from services.jobs.clients.wallets import GrpcWallets
from services.jobs.rpc.job_type_servicer import JobTypeServicer
from services.jobs.rpc.servicer import JobServicer
from services.jobs.rules.holds import HoldTimes
from services.jobs.settings import (
    CustomersClientSettings,
    HousekeepingSettings,
    JobsServerSettings,
    SchemaSettings,
    WalletsClientSettings,
)
from services.jobs.store.sql import (
    SqlAuditProgress,
    SqlJobRepository,
    SqlJobTypeRepository,
    SqlPauseRepository,
)
from services.jobs.store.tables import metadata
from services.jobs.store.unserved_sql import SqlUnserved
from services.jobs.usecases.control import ControlService
from services.jobs.usecases.job_types import JobTypeService
from services.jobs.usecases.ports import QueueUnavailable
from services.jobs.usecases.reservations import Reservations
from services.jobs.usecases.run import RunService
from services.jobs.usecases.submit import JobsService
from services.jobs.usecases.watch import Watching
from services.jobs.usecases.write_off import WriteOffs
from services.kit.background import Loop
from services.kit.batching.locked_lane import LockTimes
from services.kit.cache.invalidations import Invalidations
from services.kit.cache.metrics import CacheCollector
from services.kit.clocks import Skew
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.migrations.startup import SchemaGate
from services.kit.query.page import PageTokens
from services.kit.redis.pubsub import redis_client as pubsub_client
from services.kit.rpc.serving.server import Served, Server, serve
from services.kit.rpc.validation import ContractValidator
from services.kit.settings import CacheSettings, DatabaseSettings, RedisSettings, load

_RETENTION_EVERY = timedelta(minutes=1)
_UNSERVED_EVERY = timedelta(seconds=0.5)
_GAUGES_EVERY = timedelta(seconds=15)


def redis_client(settings: RedisSettings) -> redis.Redis:
    """Makes a client for commands: a short limit, and one more try; a push that is sent twice is harmless."""
    return connect_redis(
        settings.url.get_secret_value(),
        lifetime_seconds=settings.connection_lifetime_seconds,
        socket_timeout=settings.command_timeout_seconds,
        socket_connect_timeout=settings.command_timeout_seconds,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), retries=1),
    )


async def main() -> None:  # noqa: PLR0915 - one statement for each part
    """Builds the service and serves until it is told to stop."""
    server_settings = load(JobsServerSettings, "JOBS_")
    database_settings = load(DatabaseSettings, "JOBS_DATABASE_")
    redis_settings = load(RedisSettings, "REDIS_")
    customers_settings = load(CustomersClientSettings, "CUSTOMERS_")
    wallets_settings = load(WalletsClientSettings, "WALLETS_")
    settings = load(HousekeepingSettings, "JOBS_")
    cache_settings = load(CacheSettings, "JOBS_CACHE_")

    async with AsyncExitStack() as opened:
        database = Database.connect(database_settings, application_name="innosystem-jobs")
        schema = SchemaGate.of("jobs", database_settings, metadata, database)
        opened.push_async_callback(database.close)
        client = await opened.enter_async_context(redis_client(redis_settings))
        lists = RedisLists(client, redis_settings.key_prefix)
        channel = connect(customers_settings.address, deadline_seconds=customers_settings.deadline_seconds)
        customers = GrpcCustomers(
            CustomerServiceStub(await opened.enter_async_context(channel)), customers_settings.deadline_seconds
        )

        channel = connect(wallets_settings.address, deadline_seconds=wallets_settings.deadline_seconds)
        clock_skew = Skew("wallets", database_settings.clock_skew_seconds_max)
        wallets = GrpcWallets(
            WalletServiceStub(await opened.enter_async_context(channel)),
            database.now,
            clock_skew,
            wallets_settings.deadline_seconds,
        )
        pubsub = await opened.enter_async_context(pubsub_client(redis_settings))

        transactions = SqlTransactions(database)
        jobs = SqlJobRepository(transactions)
        job_types = SqlJobTypeRepository(transactions)
        pauses = SqlPauseRepository(transactions)
        known_types = CachedJobTypes(transactions, job_types, cache_settings)
        known_customers = CachedCustomers(customers, cache_settings)
        invalidations = Invalidations(pubsub, redis_settings.key_prefix)
        invalidations.join(known_types.cache, known_customers.cache)
        opened.push_async_callback(invalidations.flush)
        REGISTRY.register(CacheCollector([known_types.cache.statistics, known_customers.cache.statistics]))
        watching = Watching(transactions, jobs, pubsub, redis_settings.key_prefix)
        hold_times = HoldTimes(orphan_after=timedelta(seconds=settings.hold_orphan_seconds))
        reservations = Reservations(wallets, hold_times)
        dispatcher = Dispatcher(transactions, jobs, pauses, lists, watching, window=settings.window)
        checks = SchemaChecks(load(SchemaSettings, "JOBS_SCHEMA_").cpu_seconds_max)
        service = JobsService(
            transactions,
            jobs,
            job_types=known_types,
            customers=known_customers,
            reservations=reservations,
            queue=dispatcher,
            now=database.now,
            checks=checks,
            lock_times=LockTimes(patient_seconds=database_settings.locked_row_seconds),
        )
        unserved = UnservedJobs(
            transactions,
            SqlUnserved(transactions),
            jobs,
            dispatcher,
            wait_max=timedelta(seconds=settings.unserved_wait_seconds),
        )
        settle_after = timedelta(seconds=settings.settle_after_seconds)
        settling = asyncio.Event()
        runs = RunService(
            transactions,
            jobs,
            job_types=known_types,
            queue=dispatcher,
            changes=watching,
            unserved=unserved,
            wake_settler=settling.set,
            settle_after=settle_after,
            deaths=settings.deaths,
        )
        control = ControlService(
            transactions,
            jobs,
            pauses,
            reservations=reservations,
            queue=dispatcher,
            changes=watching,
            wake_settler=settling.set,
        )
        reconciler = Reconciler(
            transactions,
            jobs,
            lists,
            window=settings.window,
            apart=timedelta(seconds=settings.reconcile_seconds),
        )
        every = timedelta(seconds=settings.housekeeping_seconds)
        rescuer = Rescuer(
            transactions,
            jobs,
            dispatcher,
            watching,
            deaths=settings.deaths,
            every=every,
            grace=timedelta(seconds=settings.rescue_grace_seconds),
        )
        settler = Settler(transactions, jobs, runs, wallets, settle_after=settle_after)
        progress = SqlAuditProgress(transactions)
        auditor = HoldAuditor(transactions, jobs, progress, wallets, age=hold_times.orphan_after)
        retention = Retention(transactions, jobs, age=timedelta(days=settings.retention_days))
        reconciling = timedelta(seconds=settings.reconcile_seconds)
        chores = [
            Loop("rescuer", rescuer.round, every=every),
            Loop("expiry", Expiry(transactions, jobs, watching).round, every=every),
            Loop("settler", settler.round, every=every, woken=settling),
            Loop("reconciler", reconciler.round, every=reconciling, known=(QueueUnavailable,)),
            Loop("hold auditor", auditor.round, every=hold_times.orphan_after / 20),
            Loop("gauges", Gauges(transactions, jobs).round, every=_GAUGES_EVERY),
            Loop("unserved", unserved.round, every=_UNSERVED_EVERY),
            Loop("retention", retention.round, every=_RETENTION_EVERY),
        ]
        tokens = PageTokens(schema.page_token_key)
        write_offs = WriteOffs(transactions, jobs, runs, wallets)
        job_servicer = JobServicer(
            service, runs, control, watching, write_offs=write_offs, validator=ContractValidator(), tokens=tokens
        )
        job_types_service = JobTypeService(transactions, job_types, known_types, dispatcher, checks)
        job_type_servicer = JobTypeServicer(job_types_service, tokens)
        server = Server(
            settings=server_settings,
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
            required={"database": schema.check},
            optional={"redis": lists.check},
            background=[
                invalidations.run,
                *(schema.before(work) for work in (dispatcher.run, watching.run, *(chore.run for chore in chores))),
            ],
            on_drain=[watching.drain],
        )
        opened.push_async_callback(dispatcher.flush)
        await server.run()


def run(arguments: Sequence[str] = ()) -> None:
    """Runs the service as a process, or as several: `--processes 2`."""
    serve("jobs", main, JobsServerSettings, arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
