"""Two replicas of each service and four runners keep what is promised, also while some of them are killed."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from innosystem.client import Innosystem
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest
from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_ASYNC, JobType
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest, CreditRequest
from services import SERVICES
from tests.chaos.support.verifying import verify
from tests.e2e.replicas import Replicas, replicas
from tests.e2e.submitters import Accepted, in_batches, one_by_one
from tests.support.until import until_sync

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RUNNERS = [f"runner-{number}" for number in range(4)]
CUSTOMERS = 20
COST_CENTS = 5
FUNDS_CENTS = 1_000_000
JOB_TYPE = "replicas"
BATCHED, UNARY = 1_200, 400
JOBS = 2 * BATCHED + 2 * UNARY
SETTLED_SECONDS_MAX = 120.0
DEADLINE_SECONDS = 10.0


@pytest.fixture
def platform(tmp_path: Path, fresh_database: Callable[[str], str], redis_url: str) -> Iterator[Replicas]:
    """The processes."""
    urls = {service: fresh_database(service) for service in SERVICES}
    made = Replicas(tmp_path, urls, redis_url, key_prefix=f"{uuid4()}:")
    try:
        for service in SERVICES:
            made.start(*replicas(service))
        made.start(*RUNNERS)
        yield made
    finally:
        made.close()


def client(platform: Replicas) -> Innosystem:
    """A client that spreads its calls over both replicas of each service."""
    return Innosystem(**{name: platform.target(name) for name in SERVICES}, deadline_seconds=DEADLINE_SECONDS)


async def open_accounts(one: Innosystem) -> list[str]:
    """Create customers with money, and the job type; return the customers' IDs."""
    customers = [str(uuid4()) for _ in range(CUSTOMERS)]
    for customer_id in customers:
        email = f"{customer_id}@example.com"
        await one.customers.CreateCustomer(CreateCustomerRequest(customer_id=customer_id, name="Ada", email=email))
        await one.wallets.CreateWallet(
            CreateWalletRequest(wallet_id=str(uuid4()), customer_id=customer_id, currency="EUR")
        )
        await one.wallets.Credit(
            CreditRequest(customer_id=customer_id, currency="EUR", amount_cents=FUNDS_CENTS, idempotency_key="funds")
        )
    job_type = JobType(
        id=str(uuid4()),
        name=JOB_TYPE,
        processing_logic_id="e2e.double",
        processor_type=PROCESSOR_TYPE_ASYNC,
        standard_cost_cents=COST_CENTS,
        currency="EUR",
    )
    await one.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))
    return customers


def new_jobs(customers: Sequence[str], count: int) -> list[CreateJobRequest]:
    return [
        CreateJobRequest(
            job_id=str(uuid4()),
            customer_id=customers[number % len(customers)],
            job_type=JOB_TYPE,
            input_json=f'{{"n": {number}}}',
        )
        for number in range(count)
    ]


async def kill_and_restart(platform: Replicas, accepted: Accepted) -> None:
    """Kills a replica of wallets, one of jobs, and a runner, one after the other, and starts them again later."""
    victims = ["wallets-0", "jobs-0", "runner-0"]
    for number, victim in enumerate(victims, 1):
        await accepted.until(JOBS * number // 6)
        platform.process(victim).kill()
    # Others continue without them.
    await accepted.until(JOBS * 4 // 6)
    await asyncio.to_thread(platform.start, *victims)


def outcomes(platform: Replicas) -> Counter[tuple[str, str]]:
    """How many jobs are in which status, and how they are charged."""
    with psycopg.connect(platform.database_urls["jobs"]) as connection:
        rows = connection.execute("SELECT status, billing_status, count(*) FROM jobs GROUP BY 1, 2").fetchall()
    return Counter({(status, billing): count for status, billing, count in rows})


def until_settled(platform: Replicas, jobs: int) -> None:
    """Wait until all jobs are run and charged; fail with what they are."""
    until_sync(lambda: outcomes(platform)["SUCCEEDED", "CHARGED"] >= jobs, limit_seconds=SETTLED_SECONDS_MAX)
    assert outcomes(platform) == {("SUCCEEDED", "CHARGED"): jobs}


def deductions(platform: Replicas) -> Counter[tuple[str, int]]:
    """How often each job was charged which amount."""
    with psycopg.connect(platform.database_urls["wallets"]) as connection:
        rows = connection.execute(
            "SELECT job_id, amount_cents FROM wallet_transactions WHERE kind = 'DEDUCTION'"
        ).fetchall()
    return Counter((str(job_id), cents) for job_id, cents in rows)


def balances(platform: Replicas) -> tuple[int, int]:
    """What is in all wallets, and what is held."""
    with psycopg.connect(platform.database_urls["wallets"]) as connection:
        row = connection.execute(
            "SELECT sum(current_balance_cents)::bigint, sum(pending_charges_cents)::bigint FROM wallets"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


async def test_each_job_is_run_and_charged_once_while_replicas_and_a_runner_are_killed(platform: Replicas) -> None:
    accepted = Accepted()
    async with AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(client(platform)) for _ in range(4)]
        customers = await open_accounts(clients[0])
        async with asyncio.TaskGroup() as tasks:
            for one in clients[:2]:
                tasks.create_task(in_batches(one, new_jobs(customers, BATCHED), accepted, size=100))
            for one in clients[2:]:
                tasks.create_task(one_by_one(one, new_jobs(customers, UNARY), accepted, callers=16))
            tasks.create_task(kill_and_restart(platform, accepted))
        await asyncio.to_thread(until_settled, platform, JOBS)
        # Those that came back take their part again.
        while not all(platform.process(name).lines("call") for name in ("wallets-0", "jobs-0")):
            await one_by_one(clients[0], new_jobs(customers, 10), accepted, callers=1)
        await asyncio.to_thread(until_settled, platform, len(accepted.job_ids))

    assert deductions(platform) == dict.fromkeys(((job_id, -COST_CENTS) for job_id in accepted.job_ids), 1)
    assert balances(platform) == (CUSTOMERS * FUNDS_CENTS - COST_CENTS * len(accepted.job_ids), 0)
    assert verify(platform.database_urls) == []
    check_processes(platform)


def check_processes(platform: Replicas) -> None:
    """Check that all have worked, and that they end well."""
    for name in [name for service in SERVICES for name in replicas(service)]:
        assert all(process.lines("call") for process in platform.history[name]), f"{name} was never called"
    for name in RUNNERS:
        assert platform.history[name][0].lines("job_succeeded"), f"{name} ran nothing"
    for name in [*RUNNERS, *(name for service in reversed(SERVICES) for name in replicas(service))]:
        assert platform.process(name).stop() == 0, name
    for name, processes in platform.history.items():
        for process in processes:
            assert process.lines("unexpected_error") == [], name
            assert "Traceback" not in process.errors, name
