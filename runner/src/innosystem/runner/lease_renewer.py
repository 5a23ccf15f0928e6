"""Renew leases from a separate thread, so that a handler that keeps the event loop busy does not lose its job."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration

from innosystem.client import NO_TOKEN, Token
from innosystem.client.calls import prepared
from innosystem.client.renewal import client_files, credentials_of, transport_options
from innosystem.client.service_config import service_config
from innosystem.jobs.v1 import job_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.runner.backoff import Backoff
from innosystem.runner.in_hand import JobInHand, Leases
from innosystem.runner.lease_batches import Batch, Renewal, batches, renew_divided
from innosystem.runner.service_client import CHANNEL_OPTIONS
from innosystem.runner.stop_signal import StopReason
from innosystem.shared.transport import Transport

log = structlog.get_logger()

_CALL_SECONDS_MAX: Final = 5.0
_CALL_SECONDS_MIN: Final = 0.5
# For a part of a divided request, which is small.
_DIVIDED_SECONDS: Final = 1.0
# Such a part is sent this many times concurrently, each time to another replica.
_COPIES: Final = 2
_REQUESTS_MAX: Final = 16
_SILENCES_MAX: Final = 2
_JOIN_SECONDS: Final = 2.0
_OPTIONS: Final = (
    *CHANNEL_OPTIONS,
    # Separate connections: those of the other calls may be stuck.
    ("grpc.use_local_subchannel_pool", 1),
    # As in the SDK: requests rotate among all replicas, including those that start later. Otherwise a replica that
    # hangs could be chosen repeatedly.
    ("grpc.service_config", service_config()),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

_REASONS: Final = {
    job_service_pb2.LEASE_END_CANCELLED: StopReason.CANCELLED,
    job_service_pb2.LEASE_END_LOST: StopReason.LOST,
}

Call: TypeAlias = "grpc.Future[job_service_pb2.RenewLeasesResponse]"
LeaseEnded: TypeAlias = Callable[[JobInHand, StopReason], None]


class LeaseRenewer:
    """A daemon thread that renews all leases of a runner at every third of their duration.

    While the service does not respond, requests are retried. A lease that expires meanwhile does not stop its handler:
    only the service can decide whether another runner has the job.

    Args:
        address: The address of the jobs service.
        transport: How the connection is protected.
        runner_id: The UUID of the runner's process.
        lease_seconds: How long a lease lasts.
        leases: The leases.
        broken: Called in the event loop if a defect ends the thread.
        token: The runner's token.
    """

    def __init__(
        self,
        *,
        address: str,
        transport: Transport,
        runner_id: str,
        lease_seconds: float,
        leases: Leases,
        broken: Callable[[BaseException], None],
        token: Token = NO_TOKEN,
    ) -> None:
        self._address = address
        self._files = client_files(address, transport)
        self._options = (*_OPTIONS, *transport_options(address, transport).items())
        self._token = token
        self._runner_id = runner_id
        self._lease_seconds = lease_seconds
        self._lease = Duration()
        self._lease.FromMilliseconds(int(lease_seconds * 1000))
        self._every_seconds = lease_seconds / 3
        # A hanging replica costs one call: another replica receives the next one well before the lease ends.
        self._call_seconds = max(_CALL_SECONDS_MIN, min(_CALL_SECONDS_MAX, self._every_seconds / 2))
        self._backoff = Backoff(first_seconds=0.05, longest_seconds=min(2.0, self._every_seconds))
        self._leases = leases
        self._broken = broken
        self._ended: LeaseEnded
        self._loop = asyncio.get_running_loop()
        self._channel = self._connect()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._renewed_at = time.monotonic()
        self._failed: Batch = []
        self._silences = 0
        self._logged_overdue = self._logged_failure = False
        self._thread = threading.Thread(target=self._run, name="renew-leases", daemon=True)

    def start(self, ended: LeaseEnded) -> None:
        """Start to renew.

        Args:
            ended: Called in the event loop with each job that is no longer the runner's.
        """
        self._ended = ended
        self._thread.start()

    def claimed(self, job: JobInHand) -> None:
        """Note that a job was claimed; renew its lease immediately if the claim took long."""
        if time.monotonic() - job.leased_at > self._every_seconds / 2:
            self._wake.set()

    async def close(self) -> None:
        """End the thread and its pending calls."""
        self._closing.set()
        self._wake.set()
        self._channel.close()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def _run(self) -> None:
        try:
            due = retry_at = time.monotonic() + self._every_seconds
            while not self._closing.is_set():
                next_at = max(min(due, retry_at), time.monotonic())
                woken = self._wake.wait(max(0.0, next_at - time.monotonic()))
                self._wake.clear()
                if self._closing.is_set():
                    return
                began = time.monotonic()
                if began - next_at > self._every_seconds:
                    late = round(began - next_at, 3)
                    log.warning("renewal_late", seconds=late, note="a thread holds the interpreter's lock")
                if woken or began >= due:
                    due = began + self._every_seconds
                    self._renew_all(began)
                else:
                    self._renew([*batches(self._still_leased(self._failed))], began)
                self._follow_files()
                retry_at = time.monotonic() + self._backoff.next_seconds() if self._failed else due
        except BaseException as exc:  # noqa: BLE001 - a runner that cannot renew must stop
            self._in_loop(self._broken, exc)

    def _renew_all(self, began: float) -> None:
        """Renew all leases, in separate requests for those that failed last time."""
        failed = self._still_leased(self._failed)
        others = set(self._leases.snapshot()).difference(failed)
        self._renew([*batches(others), *batches(failed)], began)

    def _still_leased(self, jobs: Batch) -> Batch:
        return [job for job in jobs if self._leases.get(job.job_id) is job]

    def _renew(self, due: list[Batch], began: float) -> None:
        self._failed = renew_divided(due, self._send_all)
        if self._failed:
            self._note_failure(began)
        else:
            self._note_success(began)

    def _send_all(self, due: Sequence[Batch], divided: bool) -> list[Renewal]:
        """Send a request for each batch, a bounded number at a time, and return the results."""
        seconds = min(_DIVIDED_SECONDS, self._call_seconds) if divided else self._call_seconds
        renewals: list[Renewal] = []
        for begin in range(0, len(due), _REQUESTS_MAX):
            some = due[begin : begin + _REQUESTS_MAX]
            stub = JobServiceStub(self._channel)
            try:
                metadata = prepared(None, self._token)
                # The copies of a request are sent consecutively, so that they reach different replicas: rotation alone
                # could send the same jobs to the hanging replica every time.
                calls = [
                    [
                        stub.RenewLeases.future(request, timeout=seconds, metadata=metadata)
                        for _ in range(_COPIES if divided else 1)
                    ]
                    for batch in some
                    for request in [self._request(batch)]
                ]
            except ValueError:
                # The channel was closed meanwhile; otherwise the request is at fault.
                if not self._closing.is_set():
                    raise
                return [Renewal.UNAVAILABLE] * len(due)
            renewals += [self._first_result(batch, copies) for batch, copies in zip(some, calls, strict=True)]
        if Renewal.RENEWED in renewals:
            self._silences = 0
        elif Renewal.HELD_UP in renewals and not self._closing.is_set():
            self._note_silence()
        return renewals

    def _note_silence(self) -> None:
        """Replace silent connections, which may be dead, after a second silence.

        After the first, the next request goes to another replica; through a new channel it might reach the same one.
        """
        self._silences += 1
        if self._silences >= _SILENCES_MAX:
            self._silences = 0
            self._channel.close()
            self._channel = self._connect()

    def _request(self, batch: Batch) -> job_service_pb2.RenewLeasesRequest:
        return job_service_pb2.RenewLeasesRequest(
            runner_id=self._runner_id,
            lease_ids=sorted({job.lease_id for job in batch}),
            lease=self._lease,
            job_ids=[job.job_id for job in batch],
        )

    def _first_result(self, batch: Batch, copies: "Sequence[Call]") -> Renewal:
        """Return RENEWED if one of the copies succeeded, otherwise the result of the last."""
        renewal = Renewal.UNAVAILABLE
        for call in copies:
            renewal = self._result(batch, call)
            if renewal is Renewal.RENEWED:
                break
        return renewal

    def _result(self, batch: Batch, call: Call) -> Renewal:
        """Wait for a call, and stop the jobs whose leases have ended."""
        try:
            response = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as exc:
            return self._failure(exc)
        ends = {each.job_id: _REASONS.get(each.reason, StopReason.LOST) for each in response.not_renewed}
        # Exactly the runs of the request: the same job may run here again by now, under another lease.
        ended = [(job, ends[job.job_id]) for job in batch if job.job_id in ends]
        if ended:
            self._in_loop(self._end_all, ended)
        return Renewal.RENEWED

    def _end_all(self, ended: list[tuple[JobInHand, StopReason]]) -> None:
        for job, reason in ended:
            self._ended(job, reason)

    def _in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        if self._closing.is_set():
            return
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop was closed meanwhile, together with the runner.
            log.debug("loop_closed")

    def _failure(self, exc: grpc.RpcError | grpc.FutureCancelledError) -> Renewal:
        if self._closing.is_set() or not isinstance(exc, grpc.Call):
            return Renewal.UNAVAILABLE
        code = exc.code()
        if not self._logged_failure:
            self._logged_failure = True
            log.warning("leases_not_renewed", error=f"{code.name}: {exc.details()}")
        return Renewal.UNAVAILABLE if code is grpc.StatusCode.UNAVAILABLE else Renewal.HELD_UP

    def _note_success(self, began: float) -> None:
        if self._backoff.failures:
            log.info("leases_renewed_again", failures=self._backoff.failures)
        self._backoff.reset()
        self._renewed_at, self._logged_overdue, self._logged_failure = began, False, False

    def _note_failure(self, began: float) -> None:
        seconds = began - self._renewed_at
        if seconds > self._lease_seconds and not self._logged_overdue and not self._closing.is_set():
            self._logged_overdue = True
            log.error(
                "leases_overdue",
                seconds=round(seconds, 3),
                jobs=len(self._failed),
                note="handlers continue: the jobs service decides which runner has the jobs",
            )

    def _connect(self) -> grpc.Channel:
        if self._files is None:
            return grpc.insecure_channel(self._address, options=self._options)
        self._contents = self._files.current()
        return grpc.secure_channel(self._address, credentials_of(self._contents), options=self._options)

    def _follow_files(self) -> None:
        """Open another channel after the files of TLS have changed; keep the old one while the other can't connect."""
        if self._files is None or self._files.current() is self._contents:
            return
        before = self._contents
        channel = self._connect()
        ready = grpc.channel_ready_future(channel)
        try:
            ready.result(self._call_seconds)
        except grpc.FutureTimeoutError:
            ready.cancel()
            channel.close()
            # The next round tries again.
            self._contents = before
            return
        self._channel.close()
        self._channel = channel
