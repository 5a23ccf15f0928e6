"""The submission of batches, several at the same time, and the wait for their jobs."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from innosystem.client import Innosystem, error_from_status
from innosystem.jobs.v1.job_pb2 import JOB_VIEW_BASIC, JobStatus
from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest, GetJobRequest
from tools.cli.commands.jobs.selection import RETRY, status_of
from tools.cli.commands.submit.job_lines import Batch, RefusedLine
from tools.cli.errors import with_commands
from tools.cli.unserved import saying_unserved

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status

_CONCURRENT_CALLS: Final = 4
_WAITERS: Final = 16
_POLL_SECONDS: Final = 0.2
_FINAL: Final = frozenset({JobStatus.JOB_STATUS_SUCCEEDED, JobStatus.JOB_STATUS_FAILED, JobStatus.JOB_STATUS_CANCELLED})

T = TypeVar("T")


@dataclass(frozen=True)
class FailedJob:
    """A job that has ended without success.

    Attributes:
        line: The number of its line.
        job_id: Its ID.
        status: FAILED or CANCELLED.
        message: The error.
    """

    line: int
    job_id: str
    status: str
    message: str


@dataclass
class SubmissionReport:
    """The outcome of each line.

    Attributes:
        accepted: The IDs of new jobs, by the numbers of their lines.
        replayed: The IDs of jobs that had been accepted before, likewise.
        refused: The lines that were refused.
        ended: The number of ended jobs by status: SUCCEEDED, FAILED, CANCELLED; empty without --wait.
        failed: The ended jobs that did not succeed.
        queues: The queues of the jobs.
        job_type_ids: The UUIDs of their types.
        retryable: The IDs of jobs that had been accepted before, and were FAILED or CANCELLED.
    """

    accepted: dict[int, str] = field(default_factory=dict)
    replayed: dict[int, str] = field(default_factory=dict)
    refused: list[RefusedLine] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    failed: list[FailedJob] = field(default_factory=list)
    queues: set[str] = field(default_factory=set)
    job_type_ids: set[str] = field(default_factory=set)
    retryable: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> dict[int, str]:
        """The IDs of all jobs by the numbers of their lines, in the order of the lines."""
        return dict(sorted({**self.accepted, **self.replayed}.items()))

    @property
    def reasons(self) -> Counter[str]:
        """The number of refused lines, by reason."""
        return Counter(each.reason for each in self.refused)


async def send(
    client: Innosystem, source: Iterator[Batch], report: SubmissionReport, changed: Callable[[], None]
) -> None:
    """Submit all batches.

    Args:
        client: The platform.
        source: The batches, read in a thread, because reading may block.
        report: Receives the outcome of each line, so that none is lost when a later batch fails.
        changed: Called after each batch.
    """
    reading = asyncio.Lock()

    async def work() -> None:
        while True:
            async with reading:
                batch = await in_daemon_thread(lambda: next(source, None))
            if batch is None:
                return
            report.refused += batch.malformed
            if batch.jobs:
                await _send_batch(client, batch, report)
            changed()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_CONCURRENT_CALLS):
            tasks.create_task(work())


async def wait_until_final(client: Innosystem, report: SubmissionReport, changed: Callable[[], None]) -> None:
    """Wait until all jobs of a report have ended. Standard error says which of them no runner takes.

    Args:
        client: The platform.
        report: Receives the outcome of each job, so that none is lost when the wait is interrupted.
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
                report.failed.append(FailedJob(line, job_id, status, f"{job.error.type}: {job.error.message}"))
            changed()

    # A large response leaves out the queues and types of its jobs.
    async with (
        saying_unserved(client, report.queues - {""}, report.job_type_ids - {""}),
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(_WAITERS):
            tasks.create_task(work())


async def _send_batch(client: Innosystem, batch: Batch, report: SubmissionReport) -> None:
    requests = [request for _, request in batch.jobs]
    response = await client.jobs.BatchCreateJobs(BatchCreateJobsRequest(requests=requests))
    for (line, request), result in zip(batch.jobs, response.results, strict=True):
        if result.WhichOneof("result") == "response":
            found = report.replayed if result.response.replayed else report.accepted
            found[line] = result.response.job.id
            report.queues.add(result.response.job.queue)
            report.job_type_ids.add(result.response.job.job_type_id)
            if result.response.replayed and status_of(result.response.job) in RETRY.statuses:
                report.retryable.append(result.response.job.id)
        else:
            report.refused.append(refused_line(line, result.error, request.job_id))


def refused_line(line: int, status: "Status", job_id: str) -> RefusedLine:
    """Describe why a line was refused."""
    error = error_from_status(status)
    return RefusedLine(line, error.reason or error.code.name, _without_reason(with_commands(str(error))), job_id)


def _without_reason(text: str) -> str:
    # The place in the batch says nothing to the reader of a file, whose line is named.
    return re.sub(r"requests\[\d+\]\.", "", text.partition(": ")[2])


def in_daemon_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """Run a call that may block for ever, such as reading a terminal.

    The program exits without waiting for the call, unlike with a thread of asyncio.
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
        # The loop may be closed: then the result is no longer needed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, daemon=True, name="reader").start()
    return future
