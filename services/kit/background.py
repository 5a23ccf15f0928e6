"""Background work, for as long as a process serves."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import Counter, Gauge

from services.kit.errors import DomainError, without_advice

log = structlog.get_logger(__name__)

ROUNDS = Counter("innosystem_background_rounds", "Rounds that a background loop has begun.", ["loop"])
FAILURES = Counter("innosystem_background_failures", "Rounds of a background loop that failed.", ["loop"])
FAILING = Gauge("innosystem_background_failing", "1 while a background loop fails round after round, else 0.", ["loop"])

_CANCEL_SECONDS = 0.5
_BACKOFF_SECONDS_MIN = 0.2
_BACKOFF_SECONDS_MAX = 10.0


class Loop:
    """Work that repeats for as long as the process serves, and survives any failure.

    Any `Exception` of a round is counted, and logged if it is the first of its kind since the last successful round;
    the next round begins after a pause that doubles up to a limit. Only a cancellation of the task ends the loop. A
    round must therefore leave nothing half-done that the next round would not find.

    Args:
        name: The name of the loop in logs and metrics.
        work: One round. Returns whether more work is waiting, which skips the pause.
        every: The pause between two rounds. None for work that waits by itself until work arrives.
        woken: Ends the pause when set.
        known: Exceptions that are conditions and no defects, beside domain errors: they are logged without a traceback.
        backoff_seconds_max: The maximum pause after a failure.
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
        self._logged: set[type[BaseException]] = set()
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
                # Without a cancellation of this task, it comes from a task that a library cancelled inside the work.
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
        """Record success. A long round, such as a subscription, calls it as soon as it succeeds."""
        if self._logged:
            log.info("background_work_recovered", loop=self.name)
            self._logged.clear()
        self._backoff_seconds = 0.0
        self._failing.set(0)

    async def _back_off(self, error: BaseException) -> None:
        self._failures.inc()
        self._failing.set(1)
        if type(error) not in self._logged:
            self._logged.add(type(error))
            description = f"{type(error).__name__}: {without_advice(str(error))}"
            if isinstance(error, self._known):
                log.warning("background_work_failing", loop=self.name, error=description)
            else:
                log.error("background_work_failing", loop=self.name, error=description, exc_info=error)
        self._backoff_seconds = min(max(2 * self._backoff_seconds, _BACKOFF_SECONDS_MIN), self._backoff_seconds_max)
        await asyncio.sleep(_about(self._backoff_seconds))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.woken.wait(), _about(seconds))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _about(seconds: float) -> float:
    """Return a time near this one, so that replicas that started or failed together spread out."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until cancelled, or until one fails. All of them have ended when it returns.

    A TaskGroup would not do: it cancels its tasks only once, see `end`. And `gather` returns with the first cancelled
    task.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended. Their exceptions were logged or raised before.

    One cancellation may not be enough: `asyncio.wait_for` of Python 3.11, which redis-py uses, swallows a cancellation
    at the moment when its awaitable is done. A cancellation of the caller in the meantime asks for the same and is not
    raised.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
        pending = {task for task in pending if not task.done()}
    await asyncio.gather(*tasks, return_exceptions=True)
