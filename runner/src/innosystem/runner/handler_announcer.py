"""Announce the runner's handlers to the jobs service, even while the runner has nothing to claim."""

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
    """Periodic empty claims: the jobs service dispatches jobs that were waiting for one of the handlers.

    Args:
        service: The jobs service.
        stub: Its stub.
        runner_id: The UUID of this runner's process.
        handlers: The runner's handlers.
        queues: The queues that the runner takes jobs from.
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
        """Announce until cancelled."""
        while True:
            request = job_service_pb2.ClaimJobsRequest(
                runner_id=self._runner_id, lease_id=str(new_id()), handlers=self._handlers, queues=self._queues
            )
            try:
                await self._service.call(self._stub.ClaimJobs, request, for_seconds=_EVERY_SECONDS)
            except CallFailed as exc:
                # A service of an older release refuses a claim without IDs, and offers its jobs to every runner.
                log.debug("not_announced", error=str(exc))
            # The jitter spreads runners that were started together.
            await asyncio.sleep(_EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
