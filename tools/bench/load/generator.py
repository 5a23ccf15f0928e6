"""The load generator: `python -m tools.bench.load.generator`, a process that makes the calls of its task."""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvloop

from innosystem.client import Innosystem, error_from_status, new_id
from innosystem.jobs.v1.job_pb2 import BillingStatus
from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest, CreateJobRequest, GetJobRequest
from innosystem.wallets.v1.wallet_service_pb2 import DeductRequest
from tools.bench.load import listener

CURRENCY = "EUR"
INPUT = json.dumps({"text": "a job input of about fifty bytes in all"})

_DEADLINE_SECONDS = 60.0
_SETTLED_SECONDS_MAX = 60.0
_UNAVAILABLE = "DEPENDENCY_UNAVAILABLE"
# Long after an idle system has picked a job up, so that polling does not disturb the measurement.
_FIRST_POLL_SECONDS = 0.05
_POLL_SECONDS = 0.02
_SETTLED = (BillingStatus.BILLING_STATUS_CHARGED, BillingStatus.BILLING_STATUS_NOT_BILLABLE)

Call = Callable[[], Awaitable[None]]


@dataclass
class Load:
    """A task, and its progress.

    Attributes:
        platform: The services.
        task: The task: `kind`, `customers` and the parameters of the kind.
        sent_ns: When each job was sent, by its ID, for the kinds that record it.
    """

    platform: Innosystem
    task: Mapping[str, Any]
    sent_ns: dict[str, int] = field(default_factory=dict)

    def requests(self, count: int) -> list[CreateJobRequest]:
        """Return requests for jobs whose customers take turns."""
        customers = itertools.cycle(self.task["customers"])
        return [
            CreateJobRequest(
                job_id=str(new_id()), customer_id=customer, job_type=self.task["job_type"], input_json=INPUT
            )
            for customer in itertools.islice(customers, count)
        ]


def _jobs(load: Load) -> list[Call]:
    """Return calls that create one job each, or a batch."""
    requests = load.requests(load.task["jobs"])
    size = load.task["batch"]
    if size == 1:
        return [_create(load, request) for request in requests]
    return [_create_batch(load, requests[start : start + size]) for start in range(0, len(requests), size)]


def _create(load: Load, request: CreateJobRequest) -> Call:
    async def call() -> None:
        await load.platform.jobs.CreateJob(request)

    return call


def _create_batch(load: Load, requests: list[CreateJobRequest]) -> Call:
    batch = BatchCreateJobsRequest(requests=requests)
    tries = load.task.get("tries", 1)

    async def call() -> None:
        for number in range(1, tries + 1):
            results = (await load.platform.jobs.BatchCreateJobs(batch)).results
            failed = [error_from_status(result.error) for result in results if result.HasField("error")]
            if not failed:
                return
            # Stored jobs are returned again, as their IDs are the same.
            if number == tries or any(error.reason != _UNAVAILABLE for error in failed):
                raise failed[0]

    return call


def _deductions(load: Load) -> list[Call]:
    """Return calls that charge one job each; customers take turns."""
    customers = itertools.cycle(load.task["customers"])

    def deduct(customer: str) -> Call:
        job_id = str(new_id())
        request = DeductRequest(
            customer_id=customer, currency=CURRENCY, amount_cents=1, idempotency_key=f"job:{job_id}", job_id=job_id
        )

        async def call() -> None:
            await load.platform.wallets.Deduct(request)

        return call

    return [deduct(next(customers)) for _ in range(load.task["calls"])]


def _idle_jobs(load: Load) -> list[Call]:
    """Return calls that create one job each and wait until it is settled. For one caller."""

    def alone(request: CreateJobRequest) -> Call:
        async def call() -> None:
            load.sent_ns[request.job_id] = time.monotonic_ns()
            await load.platform.jobs.CreateJob(request)
            await asyncio.sleep(_FIRST_POLL_SECONDS)
            async with asyncio.timeout(_SETTLED_SECONDS_MAX):
                await _until_settled(load.platform, request.job_id)

        return call

    return [alone(request) for request in load.requests(load.task["jobs"])]


async def _until_settled(platform: Innosystem, job_id: str) -> None:
    while True:
        job = (await platform.jobs.GetJob(GetJobRequest(job_id=job_id))).job
        if job.billing_status in _SETTLED:
            return
        await asyncio.sleep(_POLL_SECONDS)


_CALLS: Mapping[str, Callable[[Load], list[Call]]] = {
    "jobs": _jobs,
    "deductions": _deductions,
    "idle_jobs": _idle_jobs,
}


async def _callers(calls: Iterable[Call], count: int) -> None:
    """Make the calls with concurrent callers: each makes the next call when its last has returned."""
    waiting = iter(calls)

    async def caller() -> None:
        for call in waiting:
            await call()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(caller())


async def _offer(load: Load) -> None:
    """Send jobs at a constant rate, whether the earlier calls have returned or not."""
    rate = load.task["rate"]
    requests = load.requests(int(rate * load.task["seconds"]))

    async def send(request: CreateJobRequest) -> None:
        await load.platform.jobs.CreateJob(request)

    began = time.monotonic_ns()
    async with asyncio.TaskGroup() as tasks:
        for number, request in enumerate(requests):
            due_ns = began + int(number / rate * 1e9)
            if (wait_ns := due_ns - time.monotonic_ns()) > 0:
                await asyncio.sleep(wait_ns / 1e9)
            # The time at which the job was due, so that the delay of a late generator counts.
            load.sent_ns[request.job_id] = due_ns
            tasks.create_task(send(request))


async def main() -> None:
    """Connect, work on signal, and send begin and end by the machine's monotonic clock, and the CPU time."""
    task = await asyncio.to_thread(listener.read_task)
    async with Innosystem(**task["addresses"], deadline_seconds=_DEADLINE_SECONDS) as platform:
        load = Load(platform, task)
        calls = _CALLS[task["kind"]](load) if task["kind"] in _CALLS else []
        await asyncio.to_thread(listener.wait_for_go)
        cpu, main_cpu = time.process_time(), time.thread_time()
        began = time.monotonic()
        if task["kind"] == "offer":
            await _offer(load)
        else:
            await _callers(calls, task["callers"])
        ended = time.monotonic()
        used = {"cpu_seconds": time.process_time() - cpu, "main_cpu_seconds": time.thread_time() - main_cpu}
    listener.send({"began": began, "ended": ended, "sent_ns": load.sent_ns, **used})


if __name__ == "__main__":
    uvloop.run(main())
