"""Renews leases, from a thread of its own: a handler that keeps the event loop busy must not lose its job."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.runner.backoff import Backoff
from innosystem.runner.calls import CHANNEL_OPTIONS
from innosystem.runner.flight import FlyingJob
from innosystem.runner.leases import Leases, Renewal, renewals
from innosystem.runner.stopping import StopReason

log = structlog.get_logger()

_CALL_SECONDS_MAX: Final = 5.0
_CALL_SECONDS_MIN: Final = 0.5
_JOIN_SECONDS: Final = 2.0
# Its connection is its own: the one of the other calls may be the one that is stuck.
_OPTIONS: Final = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))

_REASONS: Final = {
    job_service_pb2.LEASE_END_CANCELLED: StopReason.CANCELLED,
    job_service_pb2.LEASE_END_LOST: StopReason.LOST,
}

LeaseEnded: TypeAlias = Callable[[FlyingJob, StopReason], None]


class LeaseRenewer:
    """Renews all leases of a runner every third of their time, in a daemon thread.

    While the service does not answer, it is asked again and again. A lease that runs out meanwhile
    stops no handler: only the service knows whether the job was given to others.

    Args:
        address: Where the jobs service listens.
        runner_id: The UUID of the runner's process.
        lease_seconds: How long a lease lasts.
        leases: The leases.
        broken: Called in the event loop if the thread ends by a defect of ours.
    """

    def __init__(
        self,
        *,
        address: str,
        runner_id: str,
        lease_seconds: float,
        leases: Leases,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._address = address
        self._runner_id = runner_id
        self._lease_seconds = lease_seconds
        self._lease = Duration()
        self._lease.FromMilliseconds(int(lease_seconds * 1000))
        self._every_seconds = lease_seconds / 3
        self._call_seconds = max(_CALL_SECONDS_MIN, min(_CALL_SECONDS_MAX, self._every_seconds))
        self._backoff = Backoff(first_seconds=0.05, longest_seconds=min(2.0, self._every_seconds))
        self._leases = leases
        self._broken = broken
        self._ended: LeaseEnded
        self._loop = asyncio.get_running_loop()
        self._channel = self._connect()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._renewed_at = time.monotonic()
        self._said_overdue = False
        self._thread = threading.Thread(target=self._run, name="renew-leases", daemon=True)

    def start(self, ended: LeaseEnded) -> None:
        """Begin to renew.

        Args:
            ended: Called in the event loop with each job that is not the runner's any more.
        """
        self._ended = ended
        self._thread.start()

    def claimed(self, job: FlyingJob) -> None:
        """Note that a job was claimed; one whose claim took long is renewed at once."""
        if time.monotonic() - job.leased_at > self._every_seconds / 2:
            self._wake.set()

    async def close(self) -> None:
        """End the thread, and the call that it may be waiting for."""
        self._closing.set()
        self._wake.set()
        self._channel.close()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def _run(self) -> None:
        try:
            due = time.monotonic() + self._every_seconds
            while not self._closing.is_set():
                self._wake.wait(max(0.0, due - time.monotonic()))
                self._wake.clear()
                if not self._closing.is_set():
                    due = self._renew_all(due)
        except Exception as exc:  # noqa: BLE001 - a runner that does not renew must not go on unnoticed
            self._in_loop(self._broken, exc)

    def _renew_all(self, due: float) -> float:
        """Renew all leases, and tell when to do it again."""
        began = time.monotonic()
        if began - due > self._every_seconds:
            log.warning("renewal_late", seconds=round(began - due, 3), note="something holds the interpreter's lock")
        # One that fails has no part in the others.
        answered = [self._renew(renewal) for renewal in renewals(self._leases.snapshot())]
        if all(answered):
            self._note_success(began)
            return began + self._every_seconds
        self._note_failure(began)
        return time.monotonic() + self._backoff.next_seconds()

    def _renew(self, renewal: Renewal) -> bool:
        """Send one request, and tell whether it was answered."""
        if self._closing.is_set():
            return False
        request = job_service_pb2.RenewLeasesRequest(
            runner_id=self._runner_id,
            lease_ids=renewal.lease_ids,
            lease=self._lease,
            job_ids=[job.job_id for job in renewal.jobs],
        )
        try:
            response = JobServiceStub(self._channel).RenewLeases(
                request, timeout=self._call_seconds, metadata=(("x-request-id", str(new_id())),)
            )
        except grpc.RpcError as exc:
            self._failed(exc)
            return False
        except ValueError:
            # The channel was closed meanwhile; if it was not, the request is at fault.
            if self._closing.is_set():
                return False
            raise
        ends = {each.job_id: _REASONS.get(each.reason, StopReason.LOST) for each in response.not_renewed}
        # The very runs that were asked for: the same job may run here again by now, under another lease.
        ended = [(job, ends[job.job_id]) for job in renewal.jobs if job.job_id in ends]
        if ended:
            self._in_loop(self._tell, ended)
        return True

    def _tell(self, ended: list[tuple[FlyingJob, StopReason]]) -> None:
        for job, reason in ended:
            self._ended(job, reason)

    def _in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        if self._closing.is_set():
            return
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop was closed under our hands, and the runner with it.
            log.debug("loop_closed")

    def _failed(self, exc: grpc.RpcError) -> None:
        if self._closing.is_set():
            return
        code = exc.code()
        if not self._backoff.failures:
            log.warning("leases_not_renewed", error=f"{code.name}: {exc.details()}")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            # A connection that says nothing may be dead without knowing: the next try gets a new one.
            self._channel.close()
            self._channel = self._connect()

    def _note_success(self, began: float) -> None:
        if self._backoff.failures:
            log.info("leases_renewed_again", failures=self._backoff.failures)
        self._backoff.reset()
        self._renewed_at, self._said_overdue = began, False

    def _note_failure(self, began: float) -> None:
        seconds = began - self._renewed_at
        if seconds > self._lease_seconds and not self._said_overdue and not self._closing.is_set():
            self._said_overdue = True
            log.error(
                "leases_overdue",
                seconds=round(seconds, 3),
                jobs=len(self._leases.snapshot()),
                note="handlers go on: the jobs service decides whose the jobs are",
            )

    def _connect(self) -> grpc.Channel:
        return grpc.insecure_channel(self._address, options=_OPTIONS)
