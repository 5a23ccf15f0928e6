"""The runner: pops, claims, runs, completes, charges and settles, all at the same time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

import structlog

from innosystem.client import connect, new_id
from innosystem.jobs.v1 import job_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.runner.calls import CHANNEL_OPTIONS, Service
from innosystem.runner.charging import ChargeStage, SettleStage
from innosystem.runner.claiming import ClaimStage
from innosystem.runner.completing import CompleteStage, completion_of
from innosystem.runner.execution import Executor
from innosystem.runner.flight import Flight, FlyingJob
from innosystem.runner.outcome import failed
from innosystem.runner.queue import JobQueue, list_keys
from innosystem.runner.registry import Registry
from innosystem.runner.settings import RunnerSettings
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceAsyncStub

log = structlog.get_logger()

# When a drain fails, what is cancelled has this long to let go.
_CANCEL_SECONDS: Final = 2.0


class Runner:
    """One runner process. Use it in `async with Runner.open(...)`.

    A job goes through the stages

        pop -> claim -> (handler) -> complete -> charge -> settle

    each of which sends whatever waits for it as one batch. `Flight` counts the jobs and bounds them.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        *,
        queue: JobQueue,
        executor: Executor,
        jobs: "JobServiceAsyncStub",
        wallets: "WalletServiceAsyncStub",
    ) -> None:
        self.runner_id = str(new_id())
        self._settings = settings
        self._queue = queue
        self._executor = executor
        self._stopping = asyncio.Event()
        self._drain_limit: asyncio.Timeout | None = None
        self._broken = False
        self._flight = Flight(settings.runner_concurrency)
        self._runs: set[asyncio.Task[None]] = set()
        jobs_service, wallets_service = Service("jobs"), Service("wallets")
        self._settle = SettleStage(service=jobs_service, stub=jobs, flight=self._flight)
        self._charge = ChargeStage(service=wallets_service, stub=wallets, flight=self._flight, settlements=self._settle)
        self._complete = CompleteStage(service=jobs_service, stub=jobs, flight=self._flight, charges=self._charge)
        self._claim = ClaimStage(
            service=jobs_service,
            stub=jobs,
            runner_id=self.runner_id,
            lease_seconds=settings.runner_lease_seconds,
            flight=self._flight,
            queue=queue,
            start=self._start,
            stopping=self._stopping.is_set,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: RunnerSettings, registry: Registry) -> AsyncIterator[Self]:
        """Make a runner with its connections, and close them after it.

        Args:
            settings: What it is told.
            registry: The handlers that it has.
        """
        async with AsyncExitStack() as closing:
            channels = [
                await closing.enter_async_context(connect(address, options=CHANNEL_OPTIONS))
                for address in (settings.jobs_address, settings.wallets_address)
            ]
            keys = list_keys(settings.runner_queues, settings.redis_key_prefix)
            queue = JobQueue(settings.redis_url.get_secret_value(), keys)
            closing.push_async_callback(queue.close)
            executor = Executor(
                registry,
                threads=settings.runner_concurrency,
                processes=settings.runner_processes,
            )
            closing.push_async_callback(executor.close)
            yield cls(
                settings,
                queue=queue,
                executor=executor,
                jobs=JobServiceStub(channels[0]),
                wallets=WalletServiceStub(channels[1]),
            )

    @property
    def has_stuck_threads(self) -> bool:
        """Whether handlers still run in threads, which nothing but the end of the process stops."""
        return self._executor.has_stuck_threads

    def stop(self) -> None:
        """Have `run` drain and return; called again, have it return without waiting any longer."""
        self._stopping.set()
        if self._drain_limit is not None and not self._drain_limit.expired():
            self._drain_limit.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> bool:
        """Run jobs until `stop` is called, then drain.

        Returns:
            Whether all jobs were finished and reported within the drain time.
        """
        stages = [
            asyncio.create_task(stage.run(), name=stage.name)
            for stage in (self._claim, self._complete, self._charge, self._settle)
        ]
        fetching = asyncio.create_task(self._fetch(), name="fetch")
        for task in (fetching, *stages):
            task.add_done_callback(self._ended)
        await self._stopping.wait()
        drained = await self._drain(fetching)
        for task in (fetching, *stages, *self._runs):
            task.cancel()
        await asyncio.wait([fetching, *stages, *self._runs], timeout=_CANCEL_SECONDS)
        return drained and not self._broken

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Stop the runner when a part of it breaks: one that is deaf is worse than none."""
        if not task.cancelled() and task.exception() is not None:
            log.critical("runner_broken", part=task.get_name(), exc_info=task.exception())
            self._broken = True
            self._stopping.set()

    async def _fetch(self) -> None:
        """Pop IDs as long as there is room for their jobs."""
        while not self._stopping.is_set():
            if not self._flight.room():
                await self._flight.has_room.wait()
                continue
            popped = await self._queue.pop(self._flight.room)
            if self._stopping.is_set():
                await self._queue.push_back(popped)
                return
            for each in popped:
                self._claim.put(self._flight.enter(each))

    def _start(self, job: FlyingJob, claimed: job_service_pb2.ClaimedJob) -> None:
        job.stage = "run"
        task = asyncio.create_task(self._run(job, claimed))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)

    async def _run(self, job: FlyingJob, claimed: job_service_pb2.ClaimedJob) -> None:
        try:
            outcome = await self._executor.execute(claimed)
        except Exception as exc:
            # A defect of ours, not of the handler: the customer still gets an answer.
            log.exception("execution_failed", job_id=job.job_id, request_id=job.request_id)
            outcome = failed(exc)
        job.report_until = time.monotonic() + self._settings.runner_report_seconds
        self._flight.finish(job, completion_of(job, outcome))
        self._complete.enter(job)

    async def _drain(self, fetching: "asyncio.Task[None]") -> bool:
        """Give back what is not claimed, and wait for the rest as long as the settings say."""
        log.info("draining", jobs=len(self._flight.jobs))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.runner_drain_seconds) as self._drain_limit:
                await self._claim.give_back_waiting()
                await self._queue.wake()
                await asyncio.wait([fetching])
                await self._flight.empty.wait()
        self._drain_limit = None
        left = self._flight.jobs
        if left:
            log.error("drain_incomplete", jobs=[{"id": j.job_id, "stage": j.stage} for j in left])
        else:
            log.info("drained")
        return not left
