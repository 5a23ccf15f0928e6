"""What a runner does with its jobs once it is told to stop."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from innosystem.runner.in_hand import JobsInHand
from innosystem.runner.returning import ReturnSender
from innosystem.runner.runs import Runs

log = structlog.get_logger()

_HAND_BACK_SECONDS_MAX: Final = 5.0
_HAND_BACK_SECONDS_MIN: Final = 1.0
_CANCEL_SECONDS: Final = 0.2
# Others do these for a runner that is gone: the reconciler pushes IDs again, the settler charges.
_LEFT_TO_OTHERS: Final = {
    "claiming": "ids_left_to_reconciler",
    "charge": "charges_left_to_settler",
    "settle": "settlements_left_to_settler",
}


class Drain:
    """Finishes what there is time for, and hands the rest back.

    Args:
        seconds: How long all of it may take. Handing back gets a second in any case.
        in_hand: The jobs in the runner's hands.
        runs: Their handlers.
        returns: The stage that hands jobs back.
    """

    def __init__(self, *, seconds: float, in_hand: JobsInHand, runs: Runs, returns: ReturnSender) -> None:
        self._hand_back_seconds = min(_HAND_BACK_SECONDS_MAX, max(_HAND_BACK_SECONDS_MIN, seconds / 5))
        self._finish_seconds = max(0.0, seconds - self._hand_back_seconds)
        self._in_hand = in_hand
        self._runs = runs
        self._returns = returns
        self._stops = 0
        self._hurry = asyncio.Event()
        self._leave = asyncio.Event()

    def stop(self) -> None:
        """Begin; called again, hand back at once; called once more, wait for nothing."""
        self._stops += 1
        if self._stops > 1:
            self._hurry.set()
        if self._stops > 2:  # noqa: PLR2004 - as often as there are steps
            self._leave.set()

    async def run(self, stop_taking: Coroutine[Any, Any, None]) -> bool:
        """Drain.

        Args:
            stop_taking: Has no further jobs come in.

        Returns:
            Whether every job was finished or handed back.
        """
        log.info("draining", jobs=len(self._in_hand.jobs))
        finishing = asyncio.create_task(self._finish(stop_taking))
        if not await _within(self._finish_seconds, finishing, unless=self._hurry):
            await self._runs.hand_back(self._hand_back_seconds)
            await _within(self._hand_back_seconds, finishing, unless=self._leave)
        while not finishing.done():
            # More than once: a cancellation that comes as a call to Redis ends may be lost in its client.
            finishing.cancel()
            await asyncio.wait([finishing], timeout=_CANCEL_SECONDS)
        return self._conclude()

    async def _finish(self, stop_taking: Coroutine[Any, Any, None]) -> None:
        await stop_taking
        await self._in_hand.empty.wait()

    def _conclude(self) -> bool:
        left = self._in_hand.jobs
        for stage, event in _LEFT_TO_OTHERS.items():
            ids = [job.job_id for job in left if job.stage == stage]
            if ids:
                log.warning(event, job_ids=ids)
        lost = [job for job in left if job.stage not in _LEFT_TO_OTHERS]
        if lost:
            log.error("drain_incomplete", jobs=[{"id": job.job_id, "stage": job.stage} for job in lost])
        elif not self._returns.failed:
            log.info("drained")
            return True
        return False


async def _within(seconds: float, task: "asyncio.Task[None]", *, unless: asyncio.Event) -> bool:
    """Wait for a task, unless time is up or something happens before; tell whether it has ended."""
    happening = asyncio.create_task(unless.wait())
    try:
        await asyncio.wait({task, happening}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happening.cancel()
    return task.done()
