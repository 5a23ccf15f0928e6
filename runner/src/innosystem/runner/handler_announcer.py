"""Tells the jobs service which handlers a runner has, also while it has nothing to claim."""

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.service_client import CallFailed, ServiceClient

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

log = structlog.get_logger()

_EVERY_SECONDS: Final = 10.0


class HandlerAnnouncer:
    """Sends claims of nothing: what waits for a handler that nobody had is then handed out.

    Args:
        service: The jobs service.
        stub: Its stub.
        runner_id: The UUID of this runner's process.
        handlers: The handlers that it has.
        queues: The queues that it takes jobs from.
    """

    def __init__(
        self,
        *,
        service: ServiceClient,
        stub: "JobServiceAsyncStub",
        runner_id: str,
        handlers: Sequence[str],
        queues: Sequence[str],
    ) -> None:
        self._service = service
        self._stub = stub
        self._runner_id = runner_id
        self._handlers = handlers
        self._queues = queues

    async def run(self) -> None:
        """Tell it until cancelled."""
        while True:
            request = job_service_pb2.ClaimJobsRequest(
                runner_id=self._runner_id, lease_id=str(new_id()), handlers=self._handlers, queues=self._queues
            )
            try:
                await self._service.call(self._stub.ClaimJobs, request, for_seconds=_EVERY_SECONDS)
            except CallFailed as exc:
                # A service of an older release refuses a claim without IDs, and gives its jobs to anybody.
                log.debug("not_announced", error=str(exc))
            # Runners that were started together do not stay together.
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
