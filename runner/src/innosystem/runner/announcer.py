"""Describe the runner to the jobs service, even while the runner has nothing to claim."""

import asyncio
import platform
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from os import getpid
from typing import TYPE_CHECKING, Final

import structlog
from grpc import aio

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2, runner_pb2
from innosystem.runner.service_client import CallFailed, ServiceClient

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

log = structlog.get_logger()

_EVERY_SECONDS: Final = 10.0
# A runner that ends waits no longer for its last words.
_END_SECONDS: Final = 1.0
_HOST_MAX: Final = 255
_UPTIME_MAX: Final = timedelta(days=3650)


class Announcer:
    """Periodic claims without IDs: the service lists the runner, and dispatches jobs that wait for its handlers.

    The start, the stop and the end of the runner are announced immediately.

    Args:
        service: The jobs service.
        stub: Its stub.
        runner_id: The UUID of this runner's process.
        handlers: The runner's handlers.
        queues: The queues that the runner takes jobs from.
        slots: How many handlers it runs concurrently.
        processes: How many processes it starts for handlers that run in one.
        busy: Returns how many slots are in use.
    """

    def __init__(
        self,
        *,
        service: ServiceClient,
        stub: "JobServiceAsyncStub",
        runner_id: str,
        handlers: Sequence[str],
        queues: Sequence[str],
        slots: int,
        processes: int,
        busy: Callable[[], int],
    ) -> None:
        self._service = service
        self._stub = stub
        self._runner_id = runner_id
        self._handlers = handlers
        self._queues = queues
        self._busy = busy
        self._started = time.monotonic()
        self._changed = asyncio.Event()
        self._info = runner_pb2.RunnerInfo(
            host=socket.gethostname()[:_HOST_MAX],
            process_id=getpid(),
            version=_version(),
            language=f"python {platform.python_version()}",
            slots=slots,
            processes=processes,
            state=runner_pb2.RUNNER_STATE_ACTIVE,
        )

    async def run(self) -> None:
        """Announce until cancelled."""
        while True:
            self._changed.clear()
            request = self._request()
            try:
                await self._service.call(
                    self._stub.ClaimJobs, request, for_seconds=_EVERY_SECONDS, should_give_up=self._changed.is_set
                )
            except CallFailed as exc:
                # A service of an older release refuses a claim without IDs, and offers its jobs to every runner.
                log.debug("not_announced", error=str(exc))
            with suppress(TimeoutError):
                # The jitter spreads runners that were started together.
                async with asyncio.timeout(_EVERY_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - no secret
                    await self._changed.wait()

    def stop(self) -> None:
        """Announce now that the runner takes no more jobs."""
        self._info.state = runner_pb2.RUNNER_STATE_STOPPING
        self._changed.set()

    async def end(self) -> None:
        """Announce that the runner ends, once: without this the service takes half a minute to notice."""
        self._info.state = runner_pb2.RUNNER_STATE_STOPPED
        try:
            await self._stub.ClaimJobs(self._request(), timeout=_END_SECONDS)
        except aio.AioRpcError as exc:
            log.debug("not_announced", error=exc.details())

    def _request(self) -> job_service_pb2.ClaimJobsRequest:
        self._info.busy = self._busy()
        self._info.uptime.FromTimedelta(min(timedelta(seconds=time.monotonic() - self._started), _UPTIME_MAX))
        return job_service_pb2.ClaimJobsRequest(
            runner_id=self._runner_id,
            lease_id=str(new_id()),
            handlers=self._handlers,
            queues=self._queues,
            info=self._info,
        )


def _version() -> str:
    try:
        return version("innosystem-runner")
    except PackageNotFoundError:
        return ""
