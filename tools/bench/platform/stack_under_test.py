"""The platform under measurement: a separate stack with customers, wallets and job types, and load on it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dotenv import dotenv_values

from innosystem.client import Innosystem, new_id
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest
from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_ASYNC, JobType
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.shared.settings_names import CREDENTIALS
from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest, CreditRequest
from tools.bench.load.generator import CURRENCY
from tools.bench.load.load_process import LoadProcess, module_command
from tools.bench.plan import Plan
from tools.bench.platform.databases import service_databases
from tools.bench.platform.settling import JobsReader
from tools.local.environment import database_variable, environment, owner_variable
from tools.local.stack import Stack

NOOP = "noop"
PICKUP = "bench.pickup"

_HANDLERS = ("innosystem.runner.examples.noop", "tools.bench.platform.handlers")
# Handlers that do nothing leave a runner room for many jobs; the peers have their best settings as well.
_SETTINGS = {
    "RUNNER_CONCURRENCY": "256",
    # The load comes from one operator, for whom these are limits of what a person does.
    "INNOSYSTEM_LIMITS_OPERATOR_REQUESTS": "0",
    "INNOSYSTEM_LIMITS_OPERATOR_SUBMISSIONS": "0",
}
_CREDIT_CENTS = 10**12
_OPENERS = 16
_DEADLINE_SECONDS = 60.0

Say = Callable[[str], None]
T = TypeVar("T")


class Rates(NamedTuple):
    """Jobs a second: submitted, and finished end to end."""

    submitted: float
    finished: float


@dataclass(frozen=True)
class StackUnderTest:
    """A running stack with customers, wallets and job types.

    Attributes:
        plan: The sizes of the measures.
        say: Prints the progress for people.
        folder: For the logs of the processes that generate load.
        processes: The databases, services and runners.
        settings: The environment of these processes.
        databases: The address of each service's database.
        platform: A client of the services.
        customers: The IDs of customers with a full wallet.
        jobs: Reads the jobs database.
    """

    plan: Plan
    say: Say
    folder: Path
    processes: Stack
    settings: Mapping[str, str]
    databases: Mapping[str, str]
    platform: Innosystem
    jobs: JobsReader
    customers: Sequence[str]
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def load_process(self, name: str, module: str, task: Mapping[str, Any]) -> LoadProcess:
        """Return a process that generates load from the platform's own environment."""
        log = self.folder / f"{name}-{next(self._numbers)}.log"
        credentials = {name: value for name, value in self.settings.items() if name in CREDENTIALS}
        return LoadProcess(module_command(module), task, {**environment(), **credentials}, log)

    def generator(self, kind: str, **task: Any) -> LoadProcess:
        """Return a load generator.

        Args:
            kind: The kind of load.
            task: The parameters of that kind; addresses and customers are added.
        """
        message = {
            "kind": kind,
            "addresses": dict(self.processes.addresses),
            "customers": list(self.customers),
            **task,
        }
        return self.load_process(f"load-{kind}", "tools.bench.load.generator", message)

    async def load(self, kind: str, **task: Any) -> dict[str, Any]:
        """Run a load generator once."""
        async with self.generator(kind, **task) as generator:
            return await generator.go()

    async def finish(self, jobs: int, *, batch: int = 1, callers: int = 1, **task: Any) -> Rates:
        """Submit jobs and wait until they are settled."""
        done = await self.load("jobs", **{"job_type": NOOP, "jobs": jobs, "batch": batch, "callers": callers, **task})
        settled = await self.jobs.until_settled()
        return Rates(jobs / (done["ended"] - done["began"]), jobs / (settled - done["began"]))


def own_settings(given: Mapping[str, str], urls: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a stack under test: the given ones, without the databases and keys of other platforms.

    Args:
        given: The environment.
        urls: The databases of the stack, by service.
    """
    # The stack would migrate the databases of these owners.
    owners = {owner_variable(service) for service in urls}
    return {
        **_SETTINGS,
        **{name: value for name, value in given.items() if name not in owners},
        # Jobs of another platform in the same Redis stay untouched.
        "REDIS_KEY_PREFIX": f"bench-{new_id()}:",
        **{database_variable(service): url for service, url in urls.items()},
    }


@asynccontextmanager
async def start_stack(
    plan: Plan, say: Say, folder: Path, *, runners: int = 1, settings: Mapping[str, str] | None = None
) -> AsyncIterator[StackUnderTest]:
    """Start a stack on temporary databases, with accounts and job types; stop everything at the end of the block.

    Args:
        plan: The sizes of the measures.
        say: Prints the progress for people.
        folder: For the stack's data and logs; created if it is missing.
        runners: How many runners to start.
        settings: Settings of the processes in addition to the environment.
    """
    say("starting the stack")
    async with AsyncExitStack() as opened:
        urls = await opened.enter_async_context(service_databases())
        own = own_settings(environment(), urls) | dict(settings or {})
        processes = await opened.enter_async_context(Stack(folder, runners=runners, handlers=_HANDLERS, settings=own))
        platform = await opened.enter_async_context(processes.client(deadline_seconds=_DEADLINE_SECONDS))
        jobs = await opened.enter_async_context(JobsReader.connect(urls["jobs"]))
        say(f"opening {plan.wallets} wallets")
        customers = await _open_accounts(platform, plan.wallets)
        for name in (NOOP, PICKUP):
            await _create_job_type(platform, name)
        # The file names the servers that the stack itself has started, such as Redis.
        complete = {**own, **{name: value for name, value in dotenv_values(processes.settings_file).items() if value}}
        yield StackUnderTest(plan, say, folder, processes, complete, urls, platform, jobs, customers)


async def watched(stack: StackUnderTest, work: Callable[[StackUnderTest], Awaitable[T]]) -> T:
    """Do the work, and fail as soon as a process of the stack ends."""
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(stack.processes.watch())
        try:
            return await work(stack)
        finally:
            watch.cancel()


async def _open_accounts(platform: Innosystem, count: int) -> list[str]:
    customers = [str(new_id()) for _ in range(count)]
    waiting = iter(customers)

    async def opener() -> None:
        for customer_id in waiting:
            await _open_account(platform, customer_id)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_OPENERS):
            tasks.create_task(opener())
    return customers


async def _open_account(platform: Innosystem, customer_id: str) -> None:
    await platform.customers.CreateCustomer(
        CreateCustomerRequest(customer_id=customer_id, name="Ada Example", email=f"{customer_id}@example.com")
    )
    await platform.wallets.CreateWallet(
        CreateWalletRequest(wallet_id=str(new_id()), customer_id=customer_id, currency=CURRENCY)
    )
    credit = CreditRequest(
        customer_id=customer_id, currency=CURRENCY, amount_cents=_CREDIT_CENTS, idempotency_key="bench"
    )
    await platform.wallets.Credit(credit)


async def _create_job_type(platform: Innosystem, name: str) -> None:
    job_type = JobType(
        id=str(new_id()),
        name=name,
        processing_logic_id=name,
        processor_type=PROCESSOR_TYPE_ASYNC,
        standard_cost_cents=1,
        currency=CURRENCY,
    )
    await platform.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))
