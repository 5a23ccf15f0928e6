"""Submits batches of jobs, several at a time, and waits for jobs."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from innosystem.client import Innosystem, error_from_status
from innosystem.jobs.v1.job_pb2 import JOB_VIEW_BASIC, JobStatus
from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest, GetJobRequest
from tools.cli.commands.submit.job_lines import Batch, Refused

_CALLS_AT_ONCE: Final = 4
_WAITERS: Final = 16
_POLL_SECONDS: Final = 0.2
_FINAL: Final = frozenset({JobStatus.JOB_STATUS_SUCCEEDED, JobStatus.JOB_STATUS_FAILED, JobStatus.JOB_STATUS_CANCELLED})

T = TypeVar("T")


@dataclass(frozen=True)
class Failed:
    """A job that has ended without success.

    Attributes:
        line: The number of its line.
        job_id: Its ID.
        status: FAILED or CANCELLED.
        message: Why.
    """

    line: int
    job_id: str
    status: str
    message: str


@dataclass
class Report:
    """What became of the lines.

    Attributes:
        accepted: The IDs of new jobs by the numbers of their lines.
        replayed: The IDs of jobs that had been accepted before, likewise.
        refused: The lines that became no job.
        ended: How many jobs have ended, by status: SUCCEEDED, FAILED, CANCELLED; none unless they were waited for.
        failed: Those of them that did not succeed.
    """

    accepted: dict[int, str] = field(default_factory=dict)
    replayed: dict[int, str] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    failed: list[Failed] = field(default_factory=list)

    @property
    def jobs(self) -> dict[int, str]:
        """The IDs of all jobs by the numbers of their lines, in the order of the lines."""
        return dict(sorted({**self.accepted, **self.replayed}.items()))

    @property
    def reasons(self) -> Counter[str]:
        """How many lines were refused, by reason."""
        return Counter(each.reason for each in self.refused)


async def send(client: Innosystem, source: Iterator[Batch], report: Report, changed: Callable[[], None]) -> None:
    """Submits all batches.

    Args:
        client: The platform.
        source: The batches. They are read in a thread: reading may block for as long as it likes.
        report: What became of the lines is added here, so that it is known also when a later batch fails.
        changed: Called after each batch.
    """
    reading = asyncio.Lock()

    async def work() -> None:
        while True:
            async with reading:
                batch = await _in_daemon_thread(lambda: next(source, None))
            if batch is None:
                return
            report.refused += batch.malformed
            if batch.jobs:
                await _send_batch(client, batch, report)
            changed()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_CALLS_AT_ONCE):
            tasks.create_task(work())


async def wait_until_final(client: Innosystem, report: Report, changed: Callable[[], None]) -> None:
    """Waits until all jobs of a report have ended.

    Args:
        client: The platform.
        report: What became of them is added here, so that it is known also when the waiting ends before.
        changed: Called when a job has ended.
    """
    waiting = iter(report.jobs.items())

    async def work() -> None:
        for line, job_id in waiting:
            request = GetJobRequest(job_id=job_id, view=JOB_VIEW_BASIC)
            while (job := (await client.jobs.GetJob(request)).job).status not in _FINAL:  # noqa: ASYNC110 -- another process ends it
                await asyncio.sleep(_POLL_SECONDS)
            status = JobStatus.Name(job.status).removeprefix("JOB_STATUS_")
            report.ended[status] += 1
            if job.status != JobStatus.JOB_STATUS_SUCCEEDED:
                report.failed.append(Failed(line, job_id, status, f"{job.error.type}: {job.error.message}"))
            changed()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_WAITERS):
            tasks.create_task(work())


async def _send_batch(client: Innosystem, batch: Batch, report: Report) -> None:
    requests = [request for _, request in batch.jobs]
    response = await client.jobs.BatchCreateJobs(BatchCreateJobsRequest(requests=requests))
    for (line, request), result in zip(batch.jobs, response.results, strict=True):
        if result.WhichOneof("result") == "response":
            found = report.replayed if result.response.replayed else report.accepted
            found[line] = result.response.job.id
        else:
            error = error_from_status(result.error)
            reason = error.reason or error.code.name
            report.refused.append(Refused(line, reason, _without_reason(str(error)), request.job_id))


def _without_reason(text: str) -> str:
    return text.partition(": ")[2]


def _in_daemon_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """Runs something that may block for ever, such as reading a terminal.

    The program ends without waiting for it, which it would do with a thread of asyncio's own.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: Exception | None = None
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 -- it is raised again where the result is awaited
            failure = error
        # The loop may be closed: then nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True, name="reader").start()
    return future
