"""Puts the servicers together as the services' `__main__` do, on a loop thread, for as long as a module needs them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from grpc import aio
from pydantic import SecretStr

from innosystem.client import connect
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from services.customers.rpc.servicer import CustomerServicer
from services.customers.store.sql import SqlApiKeyRepository, SqlCustomerRepository
from services.customers.usecases.api_keys import ApiKeyService
from services.customers.usecases.customers import CustomersService
from services.jobs.__main__ import redis_client
from services.jobs.background.announcements import StoredAnnouncements
from services.jobs.background.dispatcher import Dispatcher
from services.jobs.background.expiry import OverdueCallbacks
from services.jobs.background.hold_auditor import HoldAuditor
from services.jobs.background.settler import Settler
from services.jobs.clients.caches import CachedJobTypes
from services.jobs.clients.customers import GrpcCustomers
from services.jobs.clients.job_changes import JobChanges
from services.jobs.clients.queue_lists import RedisQueueLists
from services.jobs.clients.schema_checks import IsolatedSchemaChecks
from services.jobs.clients.wallets import GrpcWallets
from services.jobs.rpc.job_type_servicer import JobTypeServicer
from services.jobs.rpc.servicer import JobServicer, JobUseCases
from services.jobs.rules.holds import HoldTimes
from services.jobs.store.hold_audit_sql import SqlAuditProgress
from services.jobs.store.job_types_sql import SqlJobTypeRepository
from services.jobs.store.pauses_sql import SqlPauseRepository
from services.jobs.store.runners.sql import SqlRunners
from services.jobs.store.sql import SqlJobRepository
from services.jobs.usecases.callbacks import CallbackService
from services.jobs.usecases.control import ControlService
from services.jobs.usecases.job_types import JobTypeService
from services.jobs.usecases.ports import CustomerReader, KnownCustomer
from services.jobs.usecases.progress import ProgressService
from services.jobs.usecases.queries import QueryService
from services.jobs.usecases.run import RunService
from services.jobs.usecases.runners import RunnerService
from services.jobs.usecases.submission.reservations import Reservations
from services.jobs.usecases.submission.submit import SubmitService
from services.jobs.usecases.watch import Watching
from services.jobs.usecases.write_off import WriteOffs
from services.kit.background import Loop
from services.kit.charges.callbacks import CallbackTokens
from services.kit.charges.keys import KeyRing, new_key
from services.kit.charges.vouchers import Vouchers
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DomainError
from services.kit.query.page import PageTokens
from services.kit.redis.pubsub import redis_client as pubsub_client
from services.kit.rpc.validation import ContractValidator
from services.kit.settings import CacheSettings, DatabaseSettings, RedisSettings
from services.wallets.rpc.servicer import WalletServicer
from services.wallets.store.ledger_sql import SqlLedger
from services.wallets.store.sql import SqlHoldRepository, SqlTransactionRepository, SqlWalletRepository
from services.wallets.store.verify_sql import SqlBooksReader
from services.wallets.usecases.verify_ledger import LedgerVerification
from services.wallets.usecases.wallets import WalletsService
from tests.conftest import as_service
from tests.support.jobs_work import QueueForTests, UnservedForTests, nobody
from tests.support.rpc.loop_thread import LoopThread

_HOLD_TIMES = HoldTimes(orphan_after=timedelta(minutes=10))
# No test wants the settler to make a charge.
_SETTLE_AFTER = timedelta(hours=1)
_TOKENS = PageTokens(b"the key of the page tokens of tests")
#: What both services vouch for charges with.
CHARGE_KEY = new_key("of-tests")
CALLBACK_TOKENS = CallbackTokens(partial(KeyRing, [CHARGE_KEY]), lambda: datetime.now(UTC))
CALLBACK_URL = "https://jobs.example.com"
VOUCHERS = Vouchers(partial(KeyRing, [CHARGE_KEY]), lambda: datetime.now(UTC))


def _nobody(_changed: object) -> None:
    """Tells nobody of a change."""


@contextmanager
def _database(loop: LoopThread, service: str, url: str) -> Iterator[Database]:
    # As the service connects, so that a grant that it lacks is found.
    settings = DatabaseSettings(url=SecretStr(as_service(service, url)))
    database = Database.connect(settings, application_name="tests")
    yield database
    loop.run(database.close())


@contextmanager
def customers_servicer(loop: LoopThread, url: str) -> Iterator[CustomerServicer]:
    """CustomerService on a database."""
    with _database(loop, "customers", url) as database:
        transactions = SqlTransactions(database)
        customers, api_keys = SqlCustomerRepository(transactions), SqlApiKeyRepository(transactions)
        yield CustomerServicer(
            CustomersService(transactions, customers, api_keys, _nobody),
            ApiKeyService(transactions, customers, api_keys, lambda: datetime.now(UTC), changed=_nobody, used=_nobody),
            _TOKENS,
        )


class Uncached:
    """The active customers, read anew each time."""

    def __init__(self, customers: CustomerReader) -> None:
        self._customers = customers

    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        """Return whether each customer is active."""
        found = await self._customers.read(customer_ids)
        return {one: known.active if isinstance(known, KnownCustomer) else known for one, known in found.items()}


def wallets_service(database: Database) -> WalletsService:
    """The use cases of wallets on a database."""
    transactions = SqlTransactions(database)
    return WalletsService(
        transactions,
        SqlWalletRepository(transactions),
        SqlTransactionRepository(transactions),
        SqlHoldRepository(transactions),
        SqlLedger(transactions),
    )


@contextmanager
def wallets_servicer(loop: LoopThread, url: str) -> Iterator[WalletServicer]:
    """WalletService on a database."""
    with _database(loop, "wallets", url) as database:
        verification = LedgerVerification(transactions := SqlTransactions(database), SqlBooksReader(transactions))
        yield WalletServicer(
            wallets_service(database),
            verification,
            _TOKENS,
            ContractValidator(),
            lambda: datetime.now(UTC),
            vouchers=VOUCHERS,
        )


def uncached(transactions: SqlTransactions, job_types: SqlJobTypeRepository) -> CachedJobTypes:
    """Job types that are read anew for each submission: the two services of a module don't share a cache."""
    return CachedJobTypes(transactions, job_types, CacheSettings(ttl_seconds=1e-9))


@contextmanager
def job_types_servicer(loop: LoopThread, url: str) -> Iterator[JobTypeServicer]:
    """JobTypeService on a database."""
    with _database(loop, "jobs", url) as database:
        transactions = SqlTransactions(database)
        job_types = SqlJobTypeRepository(transactions)
        known = uncached(transactions, job_types)
        yield JobTypeServicer(
            JobTypeService(
                transactions,
                job_types,
                known,
                QueueForTests(),
                checks=IsolatedSchemaChecks(),
                callbacks_possible=lambda: True,
            ),
            _TOKENS,
        )


@dataclass(frozen=True)
class JobsParts:
    """JobService, and the chores that tests have done when they want; to the auditor no hold is too young."""

    servicer: JobServicer
    settler: Settler
    auditor: HoldAuditor
    overdue: OverdueCallbacks


@contextmanager
def jobs_servicer(
    loop: LoopThread, url: str, *, redis_url: str, redis_prefix: str, customers_address: str, wallets_address: str
) -> Iterator[JobsParts]:
    """JobService on a database, a Redis, a customers and a wallets service."""

    async def connected(address: str) -> aio.Channel:
        return connect(address, deadline_seconds=3)

    client = redis_client(RedisSettings(url=SecretStr(redis_url)))
    with _database(loop, "jobs", url) as database:
        channels = [loop.run(connected(address)) for address in (customers_address, wallets_address)]
        customers = Uncached(GrpcCustomers(CustomerServiceStub(channels[0])))
        wallets = GrpcWallets(WalletServiceStub(channels[1]), lambda: datetime.now(UTC))
        reservations = Reservations(wallets, _HOLD_TIMES)
        transactions = SqlTransactions(database)
        jobs = SqlJobRepository(transactions)
        job_types = SqlJobTypeRepository(transactions)
        pauses = SqlPauseRepository(transactions)
        pubsub = pubsub_client(RedisSettings(url=SecretStr(redis_url)))
        watching = Watching(transactions, jobs)
        changes = JobChanges(watching, pubsub, redis_prefix)
        lists = RedisQueueLists(client, redis_prefix)
        dispatcher = Dispatcher(transactions, jobs, pauses, lists, changes, window=10_000)
        runners = SqlRunners(transactions)
        announcements = StoredAnnouncements(transactions, runners)
        storing = Loop("runners", announcements.round, every=timedelta(seconds=0.05))
        works = (dispatcher.run, watching.run, changes.run, storing.run)
        background = [loop.start(work()) for work in works]
        known = uncached(transactions, job_types)
        runs = RunService(
            transactions,
            jobs,
            job_types=known,
            queue=dispatcher,
            changes=changes,
            unserved=UnservedForTests(),
            wake_settler=nobody,
            settle_after=_SETTLE_AFTER,
        )
        control = ControlService(
            transactions,
            jobs,
            pauses,
            customers=customers,
            reservations=reservations,
            queue=dispatcher,
            changes=changes,
            wake_settler=nobody,
        )
        settler = Settler(transactions, jobs, runs, wallets, settle_after=_SETTLE_AFTER)
        auditor = HoldAuditor(transactions, jobs, SqlAuditProgress(transactions), wallets, age=timedelta(0))
        submissions = SubmitService(
            transactions,
            jobs,
            job_types=known,
            customers=customers,
            reservations=reservations,
            queue=dispatcher,
            now=lambda: datetime.now(UTC),
            checks=IsolatedSchemaChecks(),
        )
        servicer = JobServicer(
            JobUseCases(
                submissions,
                QueryService(transactions, jobs, job_types, runners),
                control,
                runs,
                ProgressService(transactions, jobs, changes=changes),
                RunnerService(transactions, runners, announcements),
                WriteOffs(transactions, jobs, runs, wallets),
                watching,
                CallbackService(
                    transactions,
                    jobs,
                    job_types=known,
                    queue=dispatcher,
                    changes=changes,
                    tokens=CALLBACK_TOKENS,
                    wake_settler=nobody,
                ),
            ),
            ContractValidator(),
            _TOKENS,
            VOUCHERS,
            CALLBACK_URL,
        )
        overdue = OverdueCallbacks(
            transactions, jobs, job_types, queue=dispatcher, changes=changes, wake_settler=nobody
        )
        yield JobsParts(servicer, settler, auditor, overdue)
        for task in background:
            loop.cancel(task)
        loop.run(pubsub.aclose())
        for channel in channels:
            loop.run(channel.close())
        loop.run(client.aclose())
