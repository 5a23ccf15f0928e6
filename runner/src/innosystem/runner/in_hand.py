"""The jobs that are in the runner's hands, from the pop of their ID to their settlement."""

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Final

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.process_backpressure import ProcessBackpressure
from innosystem.runner.queue import PoppedId
from innosystem.runner.stop_signal import StopSignal

_UNREPORTED_BYTES_MAX: Final = 64 * 1024 * 1024
_UNREPORTED_JOBS_MAX: Final = 2000


@dataclass(eq=False, slots=True)
class JobInHand:
    """One job on its way through the runner.

    Attributes:
        popped: Its ID and its list.
        stage: Where it is, for the log.
        requested_lease_id: The lease ID that it is to be claimed under; empty before.
        requested_at: When that was asked for first, by time.monotonic().
        lease_id: The lease it is claimed under; empty before.
        leased_at: When it was asked for under this lease first, by time.monotonic().
        request_id: The ID of the request that submitted it; empty before it is claimed.
        run: What runs its handler; None before.
        stop: Tells its run that the result is not wanted any more.
        return_reason: Why it is handed back.
        return_wait: How many seconds nobody is to take it then.
        completion: Its result while that is to be reported.
        was_sent: Whether the server may have its completion.
        bytes: The size of the completion.
        charge: The charge to make.
        settlement: What became of the charge.
        report_until: When reporting is given up, by time.monotonic().
        retries: How often an item-level failure had it sent again in its stage.
        not_served: Whether it is handed back because the runner can't run it.
        removed: Whether the runner has let go of it: then nothing is sent for it any more.
    """

    popped: PoppedId
    stage: str = "claiming"
    requested_lease_id: str = ""
    requested_at: float = 0.0
    lease_id: str = ""
    leased_at: float = 0.0
    request_id: str = ""
    run: asyncio.Task[None] | None = None
    stop: StopSignal = field(default_factory=StopSignal)
    return_reason: str = ""
    return_wait: float = 0.0
    completion: job_service_pb2.JobCompletion | None = None
    was_sent: bool = False
    bytes: int = 0
    charge: job_service_pb2.Charge | None = None
    settlement: job_service_pb2.JobSettlement | None = None
    report_until: float = 0.0
    retries: int = 0
    not_served: bool = False
    removed: bool = False

    @property
    def job_id(self) -> str:
        """The job's UUID."""
        return self.popped.job_id


class Leases:
    """The jobs that run at the server under a lease of this runner, as far as the runner knows.

    The event loop writes, and the thread that renews reads.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, JobInHand] = {}
        self._lock = threading.Lock()

    def add(self, job: JobInHand) -> None:
        """Note a job that was claimed; it takes the place of an earlier run of the same job."""
        with self._lock:
            self._jobs[job.job_id] = job

    def remove(self, job: JobInHand) -> None:
        """Forget a job that does not run at the server any more. It may be forgotten already."""
        with self._lock:
            if self._jobs.get(job.job_id) is job:
                del self._jobs[job.job_id]

    def get(self, job_id: str) -> JobInHand | None:
        """Find the run of a job that has its lease."""
        with self._lock:
            return self._jobs.get(job_id)

    def snapshot(self) -> list[JobInHand]:
        """Renewal all jobs as they are now."""
        with self._lock:
            return list(self._jobs.values())


class JobsInHand:
    """Bounds what is in the runner's hands.

    A slot is held from the pop until the handler has ended. What is finished and not reported yet
    is bounded by number and size: while the jobs service is away, the runner stops taking jobs. Charges
    bound nothing here: `SettlerBackedSender` leaves those to the settler that can't be made.

    Args:
        slots: How many handlers run at once.
        backpressure: Bounds what is taken while jobs wait for processes.

    Attributes:
        leases: The jobs among them that run at the server, as far as the runner knows.
        has_room: Set while more jobs may be taken.
        empty: Set while there is no job that anything is still to be done for.
    """

    def __init__(self, slots: int, backpressure: ProcessBackpressure | None = None) -> None:
        self._slots = slots
        self._stuck = 0
        self._backpressure = backpressure or ProcessBackpressure()
        self._backpressure.changed = self._changed
        self._running: set[JobInHand] = set()
        self._finished: set[JobInHand] = set()
        # Not the runner's any more, but their handlers run on: one in a thread can't be stopped.
        self._stopped: set[JobInHand] = set()
        self._finished_bytes = 0
        self._unreported = 0
        self.leases = Leases()
        self.has_room = asyncio.Event()
        self.empty = asyncio.Event()
        self._changed()

    @property
    def jobs(self) -> list[JobInHand]:
        """All jobs that something is still to be done for."""
        return [*self._running, *self._finished]

    def room(self) -> int:
        """Tell how many more jobs may be taken."""
        if self._finished_bytes > _UNREPORTED_BYTES_MAX:
            return 0
        free = self._slots - len(self._running) - len(self._stopped) - self._stuck + self._backpressure.parked
        free = max(0, min(free, free + _UNREPORTED_JOBS_MAX - self._unreported))
        return self._backpressure.room(free, self._claiming) if free else 0

    def _claiming(self) -> int:
        return sum(not job.lease_id for job in self._running)

    def set_stuck(self, handlers: int) -> None:
        """Keep slots for handlers that do not stop although their runs have ended."""
        self._stuck = handlers
        self._changed()

    @property
    def settling(self) -> int:
        """How many jobs there are whose results the server has, and whose charges are still to be made or recorded."""
        return len(self._finished) - self._unreported

    def add(self, popped: PoppedId) -> JobInHand:
        """Take a slot for an ID that was popped."""
        job = JobInHand(popped)
        self._running.add(job)
        self._changed()
        return job

    def finish(self, job: JobInHand, completion: job_service_pb2.JobCompletion) -> None:
        """Free the slot of a job whose handler has ended, and keep its result to be reported.

        A second result takes the place of the first.
        """
        self._running.discard(job)
        self._finished.add(job)
        self._unreported += job.completion is None
        self._finished_bytes -= job.bytes
        job.completion, job.bytes = completion, completion.ByteSize()
        self._finished_bytes += job.bytes
        self._changed()

    def disown(self, job: JobInHand) -> None:
        """Let go of a running job that is not the runner's any more; its slot is free when it leaves."""
        self.leases.remove(job)
        self._running.discard(job)
        self._stopped.add(job)
        self._changed()

    def drop_result(self, job: JobInHand) -> None:
        """Let go of a result that the server has. The job does not run there any more."""
        self.leases.remove(job)
        self._unreported -= job.completion is not None
        self._finished_bytes -= job.bytes
        job.completion, job.bytes = None, 0
        self._changed()

    def remove(self, job: JobInHand) -> None:
        """Let go of a job. It may have left before."""
        if job in self._finished:
            self.drop_result(job)
        job.removed = True
        self.leases.remove(job)
        self._running.discard(job)
        self._stopped.discard(job)
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
