"""Report what handlers say during their runs: progress at most once a second a job, and checkpoints immediately."""

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import structlog
from grpc import StatusCode
from typing_extensions import override

from innosystem.client import InnosystemError, error_from_status
from innosystem.jobs.v1 import job_pb2, job_service_pb2
from innosystem.runner.batch_sender import BatchSender
from innosystem.runner.errors import CheckpointError
from innosystem.runner.in_hand import JobInHand
from innosystem.runner.reporting import is_transient
from innosystem.runner.saying import Listener, Progress
from innosystem.runner.service_client import HeldUp, Refused, ServiceClient

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

log = structlog.get_logger()

_EVERY_SECONDS: Final = 1.0
_SEND_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 0.2
_REPORT_BYTES: Final = 1024
# The data is not at fault.
_RETRYABLE: Final = frozenset({StatusCode.ABORTED, StatusCode.NOT_FOUND})


class JobReports(Listener):
    """What the handler of one job says, until it is sent. One report of a job is under way at a time.

    Args:
        job: The job.
        sender: Sends the reports.

    Attributes:
        report: The report under way, the same in each attempt to send it.
        send_until: When the attempts end, by time.monotonic().
    """

    def __init__(self, job: JobInHand, sender: "ProgressSender") -> None:
        self.job = job
        self.report: job_service_pb2.ProgressReport | None = None
        self.send_until = 0.0
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._checkpoint: str | None = None
        # Those who wait for the checkpoint that is to be sent, and for the one under way.
        self._waiting: list[Future[None]] = []
        self._sent: list[Future[None]] = []
        self._sequence = 0
        self._sent_at = -_EVERY_SECONDS
        self._is_queued = False
        self._timer: asyncio.TimerHandle | None = None

    @override
    def progress(self, progress: Progress) -> None:
        with self._lock:
            is_noted, self._progress = self._progress is not None, progress
        if not is_noted:
            self._loop.call_soon_threadsafe(self._schedule)

    @override
    def checkpoint(self, text: str) -> "Future[None]":
        waiting: Future[None] = Future()
        with self._lock:
            self._checkpoint = text
            self._waiting.append(waiting)
        self._loop.call_soon_threadsafe(self._schedule)
        return waiting

    def dropped(self) -> None:
        """Note that the report is not sent because it was not wanted any more."""
        self._is_queued = False

    @property
    def is_wanted(self) -> bool:
        """Whether the run is not over, or its handler waits for a checkpoint."""
        return bool(self._waiting or self._sent) or (self.job.stage == "run" and not self.job.removed)

    @property
    def size(self) -> int:
        """The size of the next report in bytes."""
        checkpoint = self.report.checkpoint_json if self.report else self._checkpoint
        return _REPORT_BYTES + len((checkpoint or "").encode())

    def _schedule(self) -> None:
        """Send what was said: a checkpoint immediately, progress in its turn."""
        if self._is_queued or not self.is_wanted or (self._progress is None and not self._waiting):
            return
        if self._timer is not None:
            self._timer.cancel()
        wait = 0.0 if self._waiting else self._sent_at + _EVERY_SECONDS - time.monotonic()
        if wait > 0:
            self._timer = self._loop.call_later(wait, self._put)
        else:
            self._put()

    def _put(self) -> None:
        self._timer, self._is_queued = None, True
        self._sender.put(self)

    def taken(self) -> job_service_pb2.ProgressReport:
        """Return the report to send."""
        if self.report is None:
            with self._lock:
                progress, self._progress = self._progress, None
                checkpoint, self._checkpoint = self._checkpoint, None
                self._sent, self._waiting = self._waiting, []
            self._sequence += 1
            self.report = job_service_pb2.ProgressReport(
                job_id=self.job.job_id,
                lease_id=self.job.lease_id,
                sequence=self._sequence,
                progress=None if progress is None else _message(progress),
                checkpoint_json=checkpoint or "",
            )
            self._sent_at = time.monotonic()
            self.send_until = self._sent_at + _SEND_SECONDS
        return self.report

    def ended(self, error: CheckpointError | None = None) -> None:
        """Note that the report is stored, or given up; then send what was said meanwhile."""
        sent, self._sent = self._sent, []
        self.report, self._is_queued = None, False
        for waiting in sent:
            # The handler may have been cancelled while it waited.
            if not waiting.set_running_or_notify_cancel():
                continue
            if error is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(error)
        self._schedule()


def _message(progress: Progress) -> job_pb2.JobProgress:
    return job_pb2.JobProgress(percent=progress.percent, message=progress.message)


class ProgressSender(BatchSender[JobReports]):
    """The sender of ReportProgress. Progress that cannot be reported is dropped, a checkpoint raises in its handler.

    Args:
        service: The jobs service.
        stub: Its stub.
    """

    name = "progress"
    rest = 1.0

    def __init__(self, *, service: ServiceClient, stub: "JobServiceAsyncStub") -> None:
        super().__init__()
        self._service = service
        self._stub = stub
        self._logged_unsupported = False

    def listener(self, job: JobInHand) -> JobReports:
        """Return what takes what the handler of a job says."""
        return JobReports(job, self)

    @override
    def is_wanted(self, item: JobReports) -> bool:
        """Return whether the run is not over, or its handler waits for a checkpoint."""
        if not item.is_wanted:
            item.dropped()
            return False
        return True

    @override
    def size(self, item: JobReports) -> int:
        """Return the size of the report in the batch."""
        return item.size

    @override
    async def send(self, batch: list[JobReports], *, suspect: bool) -> None:
        request = job_service_pb2.ReportProgressRequest(reports=[one.taken() for one in batch])
        try:
            response = await self._service.call(
                self._stub.ReportProgress,
                request,
                for_seconds=max(one.send_until for one in batch) - time.monotonic(),
                suspect=suspect,
                refusals=(StatusCode.UNIMPLEMENTED,),
            )
        except Refused as refusal:
            if refusal.code is not StatusCode.UNIMPLEMENTED:
                raise
            self._unsupported(batch)
            return
        for one, result in zip(batch, response.results, strict=True):
            self._handle_result(one, error_from_status(result.error) if result.HasField("error") else None)

    def _handle_result(self, one: JobReports, error: InnosystemError | None) -> None:
        if error is None:
            one.ended()
        elif is_transient(error):
            self._retry(one, error)
        else:
            # LEASE_LOST: the renewal of the lease stops the handler.
            one.ended(CheckpointError(f"The checkpoint is not stored: {error}", retryable=error.code in _RETRYABLE))

    def _retry(self, one: JobReports, error: Exception) -> None:
        """Report again what a locked row has held up, apart from others, until its time is up."""
        if time.monotonic() < one.send_until:
            self.put_alone_later(one, _RETRY_SECONDS)
        else:
            self._drop([one], error)

    def _unsupported(self, batch: list[JobReports]) -> None:
        if not self._logged_unsupported:
            log.warning("progress_not_supported", note="the jobs service is of an older release; progress is dropped")
        self._logged_unsupported = True
        for one in batch:
            one.ended(CheckpointError("Checkpoints are not stored: the jobs service is of an older release"))

    def _drop(self, batch: list[JobReports], error: Exception) -> None:
        log.warning("progress_not_reported", job_ids=[one.job.job_id for one in batch], error=str(error))
        for one in batch:
            one.ended(CheckpointError(f"The checkpoint is not stored: {error}"))

    @override
    async def give_up(self, batch: list[JobReports], error: Exception) -> None:
        """Drop reports that the service has refused, or that it was unavailable for too long for."""
        self._drop(batch, error)

    @override
    async def put_aside(self, item: JobReports, error: HeldUp) -> None:
        """Report again later what is held up even alone."""
        self._retry(item, error)

    @override
    def abandon(self, items: list[JobReports]) -> None:
        """Drop reports after a defect, or at the end of the runner."""
        for one in items:
            one.ended(CheckpointError("The checkpoint is not stored: the runner has stopped"))
