"""Where the platform is measured: a stack of its own with customers, wallets and job types, and load beside it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from innosystem.client import Innosystem, new_id
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest
from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_ASYNC, JobType
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest, CreditRequest
from tools.bench.load.generator import CURRENCY
from tools.bench.load.load_process import Talker, module_command
from tools.bench.plan import Plan
from tools.bench.platform.databases import service_databases
from tools.bench.platform.settling import JobsReader
from tools.local.environment import environment, owner_variable
from tools.local.stack import Stack

NOOP = "noop"
PICKUP = "bench.pickup"

_HANDLERS = ("innosystem.runner.examples.noop", "tools.bench.platform.handlers")
# Handlers that do nothing leave a runner room for many jobs; the peers are set as suits them best as well.
_SETTINGS = {"RUNNER_CONCURRENCY": "256"}
_CREDIT_CENTS = 10**12
_OPENERS = 16
_DEADLINE_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Arena:
    """A running stack.

    Attributes:
        plan: The sizes of the measures.
        say: Tells people how far it is.
        folder: For logs of what makes load.
        stack: Its processes.
        settings: The environment that its processes have.
        databases: The address of each service's database.
        platform: A client of it.
        customers: The IDs of customers with a full wallet.
        jobs: Looks into the jobs database.
    """

    plan: Plan
    say: Say
    folder: Path
    stack: Stack
    settings: Mapping[str, str]
    databases: Mapping[str, str]
    platform: Innosystem
    jobs: JobsReader
    customers: Sequence[str]
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def talker(self, name: str, module: str, task: Mapping[str, Any]) -> Talker:
        """A process of the platform's own environment that makes load."""
        log = self.folder / f"{name}-{next(self._numbers)}.log"
        return Talker(module_command(module), task, environment(), log)

    def generator(self, kind: str, **task: Any) -> Talker:
        """A load generator.

        Args:
            kind: What it does.
            task: What the kind needs; addresses and customers are known.
        """
        told = {"kind": kind, "addresses": dict(self.stack.addresses), "customers": list(self.customers), **task}
        return self.talker(f"load-{kind}", "tools.bench.load.generator", told)

    async def load(self, kind: str, **task: Any) -> dict[str, Any]:
        """Runs a load generator once."""
        async with self.generator(kind, **task) as generator:
            return await generator.go()

    async def finish(self, jobs: int, *, batch: int = 1, callers: int = 1, **task: Any) -> tuple[float, float]:
        """Submits jobs and waits until they are settled.

        Returns:
            How many jobs a second were submitted, and how many were done end to end.
        """
        done = await self.load("jobs", **{"job_type": NOOP, "jobs": jobs, "batch": batch, "callers": callers, **task})
        settled = await self.jobs.until_settled()
        return jobs / (done["ended"] - done["began"]), jobs / (settled - done["began"])


def own_settings(given: Mapping[str, str], urls: Mapping[str, str]) -> dict[str, str]:
    """Return what a stack of the bench is told: what was given, but for where others have their data.

    Args:
        given: The environment.
        urls: The databases of the stack, by service.
    """
    # The stack migrates as the owner, whose databases these would be.
    owners = {owner_variable(service) for service in urls}
    return {
        **_SETTINGS,
        **{name: value for name, value in given.items() if name not in owners},
        # Jobs of another platform in the same Redis are left alone.
        "REDIS_KEY_PREFIX": f"bench-{new_id()}:",
        **{f"{service.upper()}_DATABASE_URL": url for service, url in urls.items()},
    }


@asynccontextmanager
async def arena(
    plan: Plan, say: Say, folder: Path, *, runners: int = 1, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Arena]:
    """Starts a stack in databases of its own, with accounts and job types; ends everything with the block.

    Args:
        plan: The sizes of the measures.
        say: Tells people how far it is.
        folder: For the stack's data and logs; made if it is missing.
        runners: How many runners to start.
        settings: What its processes are told beside their environment.
    """
    say("starting the stack")
    async with AsyncExitStack() as opened:
        urls = await opened.enter_async_context(service_databases())
        own = own_settings(environment(), urls) | dict(settings or {})
        stack = await opened.enter_async_context(Stack(folder, runners=runners, handlers=_HANDLERS, settings=own))
        platform = await opened.enter_async_context(Innosystem(**stack.addresses, deadline_seconds=_DEADLINE_SECONDS))
        jobs = await opened.enter_async_context(JobsReader.connect(urls["jobs"]))
        say(f"opening {plan.wallets} wallets")
        customers = await _open_accounts(platform, plan.wallets)
        for name in (NOOP, PICKUP):
            await _make_job_type(platform, name)
        # What the stack has found or made itself, such as Redis, is in its file.
        told = {**own, **{name: value for name, value in dotenv_values(stack.settings_file).items() if value}}
        yield Arena(plan, say, folder, stack, told, urls, platform, jobs, customers)


async def watched(place: Arena, work: Callable[[Arena], Any]) -> Any:
    """Does the work, and fails as soon as a process of the stack ends."""
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(place.stack.watch())
        try:
            return await work(place)
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


async def _make_job_type(platform: Innosystem, name: str) -> None:
    job_type = JobType(
        id=str(new_id()),
        name=name,
        processing_logic_id=name,
        processor_type=PROCESSOR_TYPE_ASYNC,
        standard_cost_cents=1,
        currency=CURRENCY,
    )
    await platform.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))
