"""The runner: pops, claims, runs, completes, charges and settles jobs, all concurrently."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from innosystem.client import NO_TOKEN, Token, connect, new_id
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.runner.announcer import Announcer
from innosystem.runner.charging import ChargeSender, SettlementSender
from innosystem.runner.claiming import ClaimSender
from innosystem.runner.completing import CompletionSender
from innosystem.runner.drain import Drain
from innosystem.runner.executor import Executor
from innosystem.runner.in_hand import JobsInHand
from innosystem.runner.lease_renewer import LeaseRenewer
from innosystem.runner.metrics import InHandCollector
from innosystem.runner.poll_watchdog import PollWatchdog
from innosystem.runner.process_pool import Recycling
from innosystem.runner.progress_sender import ProgressSender
from innosystem.runner.queue import JobQueue, list_keys
from innosystem.runner.registry import Registry
from innosystem.runner.resources import made
from innosystem.runner.returning import ReturnSender
from innosystem.runner.runs import Runs
from innosystem.runner.service_client import CHANNEL_OPTIONS, ServiceClient
from innosystem.runner.settings import RunnerSettings
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceAsyncStub

log = structlog.get_logger()

# Tasks that are cancelled at the end have this long to finish.
_CANCEL_SECONDS: Final = 2.0
# The parts that end when the runner stops.
_INTAKE_PARTS: Final = ("fetch", "watchdog")


class StuckHandlers(Exception):
    """So many handlers that do not stop that the runner has to be restarted."""


class Runner:
    """One runner process. Use it in `async with Runner.open(...)`.

    A job passes through the stages

        pop -> claim -> (handler) -> complete -> charge -> settle

    each of which sends everything that is waiting for it as one batch. `JobsInHand` counts and bounds the jobs. From
    the claim until the result is recorded, a separate thread renews the job's lease.
    """

    def __init__(
        self,
        settings: RunnerSettings,
        *,
        queue: JobQueue,
        executor: Executor,
        jobs: "JobServiceAsyncStub",
        wallets: "WalletServiceAsyncStub",
        token: Token = NO_TOKEN,
    ) -> None:
        self.runner_id = str(new_id())
        self.queue = queue
        self._executor = executor
        self._stopping = asyncio.Event()
        self._broken = False
        self._asked_to_stop = False
        self._lost_slots = False
        self._ending = False
        self._parts: dict[str, asyncio.Task[None]] = {}
        self._slots = settings.runner_concurrency
        self._in_hand = JobsInHand(self._slots, executor.backpressure)
        self.metrics = InHandCollector(self._in_hand, self._slots)
        executor.tasks_and_threads.stuck_changed = self._stuck
        jobs_service, wallets_service = ServiceClient("jobs"), ServiceClient("wallets")
        charge_seconds = settings.runner_charge_seconds
        self._settle = SettlementSender(service=jobs_service, stub=jobs, in_hand=self._in_hand, seconds=charge_seconds)
        self._charge = ChargeSender(
            service=wallets_service,
            stub=wallets,
            in_hand=self._in_hand,
            seconds=charge_seconds,
            settlements=self._settle,
        )
        self._complete = CompletionSender(service=jobs_service, stub=jobs, in_hand=self._in_hand, charges=self._charge)
        self._return = ReturnSender(service=jobs_service, stub=jobs, in_hand=self._in_hand)
        self._progress = ProgressSender(service=jobs_service, stub=jobs)
        self._renewer = LeaseRenewer(
            address=settings.jobs_address,
            transport=settings.transport,
            runner_id=self.runner_id,
            lease_seconds=settings.runner_lease_seconds,
            leases=self._in_hand.leases,
            broken=lambda error: self._break("renew", error),
            token=token,
        )
        self._runs = Runs(
            executor=executor,
            in_hand=self._in_hand,
            completions=self._complete,
            returns=self._return,
            progress=self._progress,
            report_seconds=settings.runner_report_seconds,
            claimed=self._renewer.claimed,
        )
        self._claim = ClaimSender(
            service=jobs_service,
            stub=jobs,
            runner_id=self.runner_id,
            lease_seconds=settings.runner_lease_seconds,
            handlers=executor.handlers,
            queues=settings.runner_queues,
            in_hand=self._in_hand,
            queue=queue,
            start=self._runs.start,
            stopping=self._stopping.is_set,
        )
        self._announcer = Announcer(
            service=jobs_service,
            stub=jobs,
            runner_id=self.runner_id,
            handlers=executor.handlers,
            queues=settings.runner_queues,
            slots=self._slots,
            processes=settings.runner_processes,
            busy=self._in_hand.busy,
        )
        self._watchdog = PollWatchdog(
            limit_seconds=settings.runner_watchdog_seconds,
            has_room=lambda: self._in_hand.room() > 0,
            health_file=Path(settings.runner_health_file) if settings.runner_health_file else None,
        )
        self._drain = Drain(
            seconds=settings.runner_drain_seconds, in_hand=self._in_hand, runs=self._runs, returns=self._return
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: RunnerSettings, registry: Registry) -> AsyncIterator[Self]:
        """Open a runner with its connections, and close them at the end.

        Args:
            settings: The settings.
            registry: The handlers.

        Raises:
            ValueError: The file of the token can't be read.
            TransportError: The connections can't be protected as the settings say.
            HandlerRegistrationError: A resource of the handlers can't be made.
        """
        token, transport = settings.token(), settings.transport
        async with AsyncExitStack() as closing:
            channels = [
                await closing.enter_async_context(
                    connect(address, transport=transport, token=token, options=CHANNEL_OPTIONS)
                )
                for address in (settings.jobs_address, settings.wallets_address)
            ]
            keys = list_keys(settings.runner_queues, settings.redis_key_prefix)
            queue = JobQueue(settings.redis_url.get_secret_value(), keys)
            closing.push_async_callback(queue.close)
            built_in_handlers = settings.built_in_handlers()
            if built_in_handlers is not None:
                closing.push_async_callback(built_in_handlers.close)
            executor = Executor(
                registry,
                threads=settings.runner_concurrency,
                processes=settings.runner_processes,
                stop_seconds=settings.runner_stop_seconds,
                recycling=Recycling(settings.runner_process_jobs_max, settings.runner_process_memory_max_mb),
                built_in_handlers=built_in_handlers,
                resources=await closing.enter_async_context(made(registry.resources_of_runner())),
            )
            closing.push_async_callback(executor.close)
            await executor.start()
            runner = cls(
                settings,
                queue=queue,
                executor=executor,
                jobs=JobServiceStub(channels[0]),
                wallets=WalletServiceStub(channels[1]),
                token=token,
            )
            closing.push_async_callback(runner._renewer.close)
            yield runner

    @property
    def handlers(self) -> tuple[str, ...]:
        """The IDs of all handlers."""
        return self._executor.handlers

    @property
    def has_stuck_handlers(self) -> bool:
        """Whether any handlers are still running that only the end of the process stops."""
        return self._executor.has_running or bool(self._runs.tasks)

    @property
    def must_restart(self) -> bool:
        """Whether handlers that do not stop have ended the runner, which nobody has asked to stop."""
        return self._lost_slots and not self._asked_to_stop

    def stop(self) -> None:
        """Make `run` drain and return; on the second call return all jobs immediately; on the third stop waiting."""
        self._asked_to_stop = True
        self._begin_stop()

    def _begin_stop(self) -> None:
        self._stopping.set()
        self._drain.stop()
        self._executor.hurry()
        # Wake up the part that waits for room, so that it notices the stop.
        self._in_hand.has_room.set()

    async def run(self) -> bool:
        """Run jobs until `stop` is called, then drain.

        Returns:
            Whether every job was finished or returned within the drain time, and no part broke.
        """
        stages = (self._claim, self._progress, self._complete, self._return, self._charge, self._settle)
        parts = {
            "fetch": self._fetch,
            "watchdog": self._watchdog.run,
            "announce": self._announcer.run,
            **{each.name: each.run for each in stages},
        }
        for name, run in parts.items():
            self._start(name, run)
        self._renewer.start(self._runs.lease_ended)
        try:
            await self._stopping.wait()
            self._parts["watchdog"].cancel()
            self._announcer.stop()
            drained = await self._drain.run(self._stop_taking())
        finally:
            self._ending = True
            left = [*self._parts.values(), *self._runs.tasks]
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CANCEL_SECONDS)
        await self._announcer.end()
        return drained and not self._broken

    def _start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._parts[name] = asyncio.create_task(run(), name=name)
        task.add_done_callback(partial(self._ended, run))

    def _ended(self, run: Callable[[], Coroutine[Any, Any, None]], task: "asyncio.Task[None]") -> None:
        name = task.get_name()
        if not task.cancelled():
            if (error := task.exception()) is not None:
                self._break(name, error)
        elif not self._ending and not (self._stopping.is_set() and name in _INTAKE_PARTS):
            # For example by a handler that cancels every task it finds: restart the part here.
            log.error("part_cancelled", part=name)
            self._start(name, run)

    def _break(self, part: str, error: BaseException) -> None:
        """Stop the runner when a part of it breaks: a runner that does no work is worse than none."""
        log.critical("runner_broken", part=part, exc_info=error)
        self._broken = True
        if not self._stopping.is_set():
            self._begin_stop()

    def _stuck(self, handlers: int) -> None:
        """Keep the slots of handlers that do not stop, and stop the runner once half of its slots are lost this way."""
        self._in_hand.set_stuck(handlers)
        if handlers * 2 >= self._slots and not self._stopping.is_set():
            self._lost_slots = True
            self._break(
                "handlers", StuckHandlers(f"{handlers} of {self._slots} slots are held by handlers that do not stop")
            )

    async def _fetch(self) -> None:
        """Pop IDs while there is room for their jobs."""
        while not self._stopping.is_set():
            if not self._in_hand.room():
                await self._in_hand.has_room.wait()
                continue
            popped = await self.queue.pop(self._in_hand.room)
            self._watchdog.polled()
            if self._stopping.is_set():
                await self.queue.push_back(popped)
                return
            for each in popped:
                self._claim.put(self._in_hand.add(each))

    async def _stop_taking(self) -> None:
        await self._claim.give_back_waiting()
        fetching = self._parts["fetch"]
        if self._broken:
            # This part may be the broken one, which would never end.
            fetching.cancel()
        else:
            await self.queue.wake()
        await asyncio.wait([fetching])
