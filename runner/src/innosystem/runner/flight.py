"""The jobs that are in the runner's hands, from the pop of their ID to their settlement."""

import asyncio
from dataclasses import dataclass
from typing import Final

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.queue import PoppedId

_UNREPORTED_BYTES_MAX: Final = 64 * 1024 * 1024
_UNREPORTED_JOBS_MAX: Final = 2000


@dataclass(eq=False, slots=True)
class FlyingJob:
    """One job on its way through the runner.

    Attributes:
        popped: Its ID and its list.
        stage: Where it is, for the log.
        lease_id: The lease it is claimed under; empty before.
        request_id: The ID of the request that submitted it; empty before it is claimed.
        completion: Its result while that is to be reported.
        bytes: The size of the completion.
        charge: The charge to make.
        settlement: What became of the charge.
        report_until: When reporting is given up, by time.monotonic().
        retries: How often an item-level failure had it sent again in its stage.
    """

    popped: PoppedId
    stage: str = "claiming"
    lease_id: str = ""
    request_id: str = ""
    completion: job_service_pb2.JobCompletion | None = None
    bytes: int = 0
    charge: job_service_pb2.Charge | None = None
    settlement: job_service_pb2.JobSettlement | None = None
    report_until: float = 0.0
    retries: int = 0

    @property
    def job_id(self) -> str:
        """The job's UUID."""
        return self.popped.job_id


class Flight:
    """Bounds what is in the runner's hands.

    A slot is held from the pop until the handler has ended. What is finished and not reported yet
    is bounded by number and size: while the services are away, the runner stops taking jobs.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: set[FlyingJob] = set()
        self._finished: set[FlyingJob] = set()
        self._finished_bytes = 0
        self.has_room = asyncio.Event()
        self.empty = asyncio.Event()
        self._changed()

    @property
    def jobs(self) -> list[FlyingJob]:
        """All jobs in the runner's hands."""
        return [*self._running, *self._finished]

    def room(self) -> int:
        """Tell how many more jobs may be taken."""
        if self._finished_bytes > _UNREPORTED_BYTES_MAX:
            return 0
        unreported = _UNREPORTED_JOBS_MAX + self._slots - len(self._finished) - len(self._running)
        return max(0, min(self._slots - len(self._running), unreported))

    def enter(self, popped: PoppedId) -> FlyingJob:
        """Take a slot for an ID that was popped."""
        job = FlyingJob(popped)
        self._running.add(job)
        self._changed()
        return job

    def finish(self, job: FlyingJob, completion: job_service_pb2.JobCompletion) -> None:
        """Free the slot of a job whose handler has ended, and keep its result to be reported.

        A second result takes the place of the first.
        """
        self._running.discard(job)
        self._finished.add(job)
        self._finished_bytes -= job.bytes
        job.completion, job.bytes = completion, completion.ByteSize()
        self._finished_bytes += job.bytes
        self._changed()

    def forget_result(self, job: FlyingJob) -> None:
        """Let go of a result that the server has."""
        self._finished_bytes -= job.bytes
        job.completion, job.bytes = None, 0
        self._changed()

    def leave(self, job: FlyingJob) -> None:
        """Let go of a job. It may have left before."""
        if job in self._finished:
            self.forget_result(job)
        self._running.discard(job)
        self._finished.discard(job)
        self._changed()

    def _changed(self) -> None:
        if self.room():
            self.has_room.set()
        else:
            self.has_room.clear()
        if self._running or self._finished:
            self.empty.clear()
        else:
            self.empty.set()
