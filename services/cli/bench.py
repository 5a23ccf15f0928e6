"""`innosystem bench`: how many jobs a second the platform takes and finishes, on a stack of its own.

A job is submitted, stored, queued, claimed, run by a handler that does nothing, completed, charged and settled, all of
it durable in PostgreSQL. The load comes from this process, on the same machine.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators

from innosystem.client import Innosystem, new_id
from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest, CreateJobRequest
from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_ASYNC, JobType
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from services.cli.bench_data import data
from services.cli.demo_work import Account, open_accounts, rest
from services.cli.errors import CommandError
from services.cli.output import print_table
from services.cli.stack import Stack
from services.cli.stopping import until_stopped

app = App(name="bench", help="Measure how many jobs a second are taken and finished, on a stack of its own.")
app.command(data)

_HANDLERS = ("innosystem.runner.examples.noop",)
_INPUT = json.dumps({"text": "a job input of about fifty bytes in all"})
_BATCH = 200
_CALLERS = 64

Submit = Callable[[Innosystem, list[CreateJobRequest]], Coroutine[Any, Any, None]]


@app.default
async def bench(
    *,
    jobs: Annotated[
        int, Parameter(validator=validators.Number(gte=_CALLERS), help="How many jobs a measurement.")
    ] = 4000,
    json: Annotated[Path | None, Parameter(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Measure how many jobs a second are taken and finished, on a stack of its own."""
    with tempfile.TemporaryDirectory(prefix="innosystem-bench-", ignore_cleanup_errors=True) as folder:
        figures = await until_stopped(_run(Stack(Path(folder), handlers=_HANDLERS), jobs))
    print_table(
        ["measure", "jobs a second"],
        [[name.replace("_", " "), f"{figure:,.0f}"] for name, figure in figures.items()],
    )
    if json is not None:
        _write(json, figures)


async def _run(stack: Stack, jobs: int) -> dict[str, float]:
    async with stack, Innosystem(**stack.addresses) as platform, asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(stack.watch())
        accounts = await open_accounts(platform, jobs * 100)
        job_type = JobType(
            id=str(new_id()),
            name="noop",
            processing_logic_id="noop",
            processor_type=PROCESSOR_TYPE_ASYNC,
            standard_cost_cents=1,
        )
        await platform.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))
        figures: dict[str, float] = {}
        for name, submit in (("p1", _batches), ("p2", _one_by_one)):
            await _measure(platform, accounts, _CALLERS, submit)  # warms connections and statements up
            submitted, finished = await _measure(platform, accounts, jobs, submit)
            figures[f"{name}_submitted_per_second"] = jobs / submitted
            figures[f"{name}_jobs_per_second"] = jobs / finished
        watch.cancel()
    return figures


async def _measure(platform: Innosystem, accounts: list[Account], jobs: int, submit: Submit) -> tuple[float, float]:
    """Submits jobs and waits for them; answers the seconds until all were submitted, and until all were settled."""
    requests = [
        CreateJobRequest(
            job_id=str(new_id()), customer_id=accounts[number % 3].customer_id, job_type="noop", input_json=_INPUT
        )
        for number in range(jobs)
    ]
    began = time.perf_counter()
    await submit(platform, requests)
    submitted = time.perf_counter() - began
    await rest(platform, accounts, jobs, lambda _: None)
    return submitted, time.perf_counter() - began


async def _batches(platform: Innosystem, requests: list[CreateJobRequest]) -> None:
    """One caller, 200 jobs a call (P1)."""
    for start in range(0, len(requests), _BATCH):
        batch = BatchCreateJobsRequest(requests=requests[start : start + _BATCH])
        response = await platform.jobs.BatchCreateJobs(batch)
        if any(result.HasField("error") for result in response.results):
            raise CommandError("a job was refused")


async def _one_by_one(platform: Innosystem, requests: list[CreateJobRequest]) -> None:
    """64 callers at once, one job a call (P2)."""

    async def caller(first: int) -> None:
        for request in requests[first::_CALLERS]:
            await platform.jobs.CreateJob(request)

    await asyncio.gather(*(caller(first) for first in range(_CALLERS)))


def _write(file: Path, figures: dict[str, float]) -> None:
    file.write_text(json.dumps({name: round(figure, 1) for name, figure in figures.items()}, indent=2) + "\n", "utf-8")
