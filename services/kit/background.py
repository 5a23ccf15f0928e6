"""What runs in the background for as long as a process serves."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import Counter, Gauge

from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

ROUNDS = Counter("innosystem_background_rounds", "Rounds that a background loop has begun.", ["loop"])
FAILURES = Counter("innosystem_background_failures", "Rounds of a background loop that failed.", ["loop"])
FAILING = Gauge("innosystem_background_failing", "1 while a background loop fails round after round, else 0.", ["loop"])

_CANCEL_SECONDS = 0.5
_BACKOFF_SECONDS_MIN = 0.2
_BACKOFF_SECONDS_MAX = 10.0


class Loop:
    """Does one thing again and again for as long as the process serves, whatever goes wrong with it.

    Any `Exception` of a round is survived: it is counted, and logged when it is the first of its kind since the last
    round that went well; then the next round begins after a pause that doubles up to a limit. Only a cancellation of
    the task ends the loop. So a round must leave nothing half-done that the next one would not find.

    Args:
        name: What it is called in logs and metrics.
        work: One round. Returns whether there is more to do at once.
        every: The pause between two rounds. None for work that waits by itself until there is something to do.
        woken: Set by whoever wants the pause to be over at once.
        known: Exceptions that are conditions and no defects, beside domain errors: they are logged without a traceback.
        backoff_seconds_max: How long the pause after a failure becomes at most.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[bool | None]],
        *,
        every: timedelta | None = None,
        woken: asyncio.Event | None = None,
        known: tuple[type[Exception], ...] = (),
        backoff_seconds_max: float = _BACKOFF_SECONDS_MAX,
    ) -> None:
        self.name = name
        self.woken = woken or asyncio.Event()
        self._work = work
        self._every_seconds = None if every is None else every.total_seconds()
        self._known: tuple[type[Exception], ...] = (DomainError, *known)
        self._backoff_seconds = 0.0
        self._backoff_seconds_max = backoff_seconds_max
        self._told: set[type[BaseException]] = set()
        self._rounds = ROUNDS.labels(name)
        self._failures = FAILURES.labels(name)
        self._failing = FAILING.labels(name)

    async def run(self) -> None:
        """Work until the task is cancelled."""
        while True:
            self._rounds.inc()
            self.woken.clear()
            try:
                more = await self._work()
            except asyncio.CancelledError as error:
                # One that nobody sent to this task comes from what a library has cancelled inside.
                if _is_cancelled():
                    raise
                await self._back_off(error)
            except Exception as error:  # noqa: BLE001 - surviving them is what this class is for
                await self._back_off(error)
            else:
                self.recovered()
                if not more and self._every_seconds is not None:
                    await self._pause(self._every_seconds)

    def recovered(self) -> None:
        """Note that the work goes well. A round that lasts, such as a subscription, says so as soon as it does."""
        if self._told:
            log.info("background_work_recovered", loop=self.name)
            self._told.clear()
        self._backoff_seconds = 0.0
        self._failing.set(0)

    async def _back_off(self, error: BaseException) -> None:
        self._failures.inc()
        self._failing.set(1)
        if type(error) not in self._told:
            self._told.add(type(error))
            problem = f"{type(error).__name__}: {error}"
            if isinstance(error, self._known):
                log.warning("background_work_failing", loop=self.name, error=problem)
            else:
                log.error("background_work_failing", loop=self.name, error=problem, exc_info=error)
        self._backoff_seconds = min(max(2 * self._backoff_seconds, _BACKOFF_SECONDS_MIN), self._backoff_seconds_max)
        await asyncio.sleep(_about(self._backoff_seconds))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.woken.wait(), _about(seconds))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _about(seconds: float) -> float:
    """A time near this one, so that replicas that were started together, or failed together, do not stay together."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Runs coroutines until this is cancelled; the failure of one ends it. None of them is left when it returns.

    Not a TaskGroup: that cancels its tasks once, see `end`. And `gather` returns with the first that is cancelled.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancels tasks until they have ended. What they ended with was logged or raised before.

    Once may not be enough: `asyncio.wait_for` of Python 3.11, which redis-py uses, swallows a cancellation that comes
    at the moment when what it waits for is done. A cancellation of the caller meanwhile asks for what is being done
    already, and is not passed on.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
        pending = {task for task in pending if not task.done()}
    await asyncio.gather(*tasks, return_exceptions=True)
