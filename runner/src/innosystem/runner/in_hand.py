"""The jobs in the runner's hands, from the pop of their ID to their settlement."""

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.process_backpressure import ProcessBackpressure
from innosystem.runner.queue import PoppedId
from innosystem.runner.stop_signal import StopSignal

if TYPE_CHECKING:
    from innosystem.runner.failure_hooks import FailureHook

_UNREPORTED_BYTES_MAX: Final = 64 * 1024 * 1024
_UNREPORTED_JOBS_MAX: Final = 2000


@dataclass(eq=False, slots=True)
class JobInHand:
    """One job on its way through the runner.

    Attributes:
        popped: The job's ID and the list that it came from.
        stage: The current stage, for the log.
        requested_lease_id: The lease ID of the claim; empty before the first attempt to claim.
        requested_at: The time of that first attempt, by time.monotonic().
        lease_id: The lease under which the job runs; empty before it is claimed.
        leased_at: The time of the first attempt to claim under this lease, by time.monotonic().
        request_id: The ID of the request that submitted the job; empty before it is claimed.
        handler: The ID of its handler; empty before it is claimed.
        run_seconds: How long the run took, once it has ended.
        run: The task that runs the handler; None before.
        stop: Signals the run that its result is no longer wanted.
        job_return: The return to the queue while it is to be reported.
        completion: The result while it is to be reported.
        was_sent: Whether the server may have the completion.
        bytes: The size of the completion.
        charge: The charge to make.
        settlement: The result of the charge while it is to be reported.
        on_failure: What to call if the result turns out to be a final failure.
        report_until: When reporting is given up, by time.monotonic().
        retries: How many times the current stage has retried the job because of a failure that concerns it alone.
        removed: Whether the job has left the runner's hands: then nothing more is sent for it.
    """

    popped: PoppedId
    stage: str = "claiming"
    requested_lease_id: str = ""
    requested_at: float = 0.0
    lease_id: str = ""
    leased_at: float = 0.0
    request_id: str = ""
    handler: str = ""
    run_seconds: float = 0.0
    run: asyncio.Task[None] | None = None
    stop: StopSignal = field(default_factory=StopSignal)
    job_return: job_service_pb2.JobReturn | None = None
    completion: job_service_pb2.JobCompletion | None = None
    was_sent: bool = False
    bytes: int = 0
    charge: job_service_pb2.Charge | None = None
    settlement: job_service_pb2.JobSettlement | None = None
    on_failure: "FailureHook | None" = None
    report_until: float = 0.0
    retries: int = 0
    removed: bool = False

    @property
    def job_id(self) -> str:
        """The job's UUID."""
        return self.popped.job_id


class Leases:
    """The jobs that run at the server under a lease of this runner, to the runner's knowledge.

    Written by the event loop, read by the thread that renews leases.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, JobInHand] = {}
        self._lock = threading.Lock()

    def add(self, job: JobInHand) -> None:
        """Add a job that was claimed; it replaces an earlier run of the same job."""
        with self._lock:
            self._jobs[job.job_id] = job

    def remove(self, job: JobInHand) -> None:
        """Remove a job that no longer runs at the server. Safe to repeat."""
        with self._lock:
            if self._jobs.get(job.job_id) is job:
                del self._jobs[job.job_id]

    def get(self, job_id: str) -> JobInHand | None:
        """Return the run that holds the lease of a job."""
        with self._lock:
            return self._jobs.get(job_id)

    def snapshot(self) -> list[JobInHand]:
        """Return all current jobs."""
        with self._lock:
            return list(self._jobs.values())


class JobsInHand:
    """The bounded set of jobs in the runner's hands.

    A job holds a slot from the pop until its handler has ended; those that are called together share one. Results that
    are not reported yet are bounded by number and size: while the jobs service is unavailable, the runner stops taking
    jobs. Charges impose no bound: `SettlerBackedSender` leaves those that fail to the settler.

    Args:
        slots: How many handlers run concurrently.
        backpressure: Bounds the intake while jobs wait for processes.

    Attributes:
        leases: The jobs among them that run at the server, to the runner's knowledge.
        has_room: Set while more jobs may be taken.
        empty: Set while no job has work left.
    """

    def __init__(self, slots: int, backpressure: ProcessBackpressure | None = None) -> None:
        self._slots = slots
        self._stuck = 0
        self._backpressure = backpressure or ProcessBackpressure()
        self._backpressure.changed = self._changed
        self._running: set[JobInHand] = set()
        self._finished: set[JobInHand] = set()
        # No longer the runner's, but their handlers are still running: a thread cannot be stopped.
        self._stopped: set[JobInHand] = set()
        self._finished_bytes = 0
        self._unreported = 0
        self.leases = Leases()
        self.has_room = asyncio.Event()
        self.empty = asyncio.Event()
        self._changed()

    @property
    def jobs(self) -> list[JobInHand]:
        """All jobs with work left."""
        return [*self._running, *self._finished]

    def room(self) -> int:
        """Return how many more jobs may be taken."""
        if self._finished_bytes > _UNREPORTED_BYTES_MAX:
            return 0
        free = self._slots - len(self._running) - len(self._stopped) - self._stuck + self._backpressure.without_slot
        free = max(0, min(free, free + _UNREPORTED_JOBS_MAX - self._unreported))
        return self._backpressure.room(free, self._claiming) if free else 0

    def busy(self) -> int:
        """Return how many slots are in use."""
        return max(0, len(self._running) + len(self._stopped) + self._stuck - self._backpressure.without_slot)

    def _claiming(self) -> int:
        return sum(not job.lease_id for job in self._running)

    @property
    def stuck(self) -> int:
        """The number of slots held by handlers that still run although their runs have ended."""
        return self._stuck

    def set_stuck(self, handlers: int) -> None:
        """Set the number of slots held by handlers that still run although their runs have ended."""
        self._stuck = handlers
        self._changed()

    @property
    def settling(self) -> int:
        """The number of jobs whose results are recorded, and whose charges are still to be made or settled."""
        return len(self._finished) - self._unreported

    def add(self, popped: PoppedId) -> JobInHand:
        """Occupy a slot with a popped ID."""
        job = JobInHand(popped)
        self._running.add(job)
        self._changed()
        return job

    def finish(self, job: JobInHand, completion: job_service_pb2.JobCompletion) -> None:
        """Free the slot of a job whose handler has ended, and keep its result until it is reported.

        A second result replaces the first.
        """
        self._running.discard(job)
        self._finished.add(job)
        self._unreported += job.completion is None
        self._finished_bytes -= job.bytes
        job.completion, job.bytes = completion, completion.ByteSize()
        self._finished_bytes += job.bytes
        self._changed()

    def disown(self, job: JobInHand) -> None:
        """Give up a running job that is no longer the runner's; its slot is freed by `remove`."""
        self.leases.remove(job)
        self._running.discard(job)
        self._stopped.add(job)
        self._changed()

    def drop_result(self, job: JobInHand) -> None:
        """Drop a result that the server has recorded. The job no longer runs there."""
        self.leases.remove(job)
        self._unreported -= job.completion is not None
        self._finished_bytes -= job.bytes
        job.completion, job.bytes = None, 0
        self._changed()

    def remove(self, job: JobInHand) -> None:
        """Remove a job. Safe to repeat."""
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
