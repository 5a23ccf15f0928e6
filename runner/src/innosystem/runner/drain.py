"""The drain of a runner that was asked to stop."""

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
# Background tasks of the jobs service take over these: the reconciler pushes IDs again, the settler charges.
_LEFT_TO_OTHERS: Final = {
    "claiming": "ids_left_to_reconciler",
    "on_failure": "on_failure_not_finished",
    "charge": "charges_left_to_settler",
    "settle": "settlements_left_to_settler",
}


class Drain:
    """The end of a runner's work: finish jobs while time allows, return the rest to the queue.

    Args:
        seconds: How long the drain may take. Returning jobs gets at least a second.
        in_hand: The jobs in the runner's hands.
        runs: The runs of their handlers.
        returns: The sender that returns jobs to the queue.
    """

    def __init__(self, *, seconds: float, in_hand: JobsInHand, runs: Runs, returns: ReturnSender) -> None:
        self._seconds = seconds
        self._hand_back_seconds = min(_HAND_BACK_SECONDS_MAX, max(_HAND_BACK_SECONDS_MIN, seconds / 5))
        self._finish_seconds = max(0.0, seconds - self._hand_back_seconds)
        self._in_hand = in_hand
        self._runs = runs
        self._returns = returns
        self._stops = 0
        self._hurry = asyncio.Event()
        self._leave = asyncio.Event()

    def stop(self) -> None:
        """Start the drain; on the second call return all jobs immediately; on the third stop waiting."""
        self._stops += 1
        if self._stops > 1:
            self._hurry.set()
        if self._stops > 2:  # noqa: PLR2004 - the third call
            self._leave.set()

    async def run(self, stop_taking: Coroutine[Any, Any, None]) -> bool:
        """Drain.

        Args:
            stop_taking: Stops the intake of jobs.

        Returns:
            Whether every job was finished or returned to the queue.
        """
        jobs = len(self._in_hand.jobs)
        note = f"they have up to {self._seconds:g} s to end; a second signal (Ctrl-C) returns them immediately"
        log.info("draining", jobs=jobs, **({"note": note} if jobs else {}))
        finishing = asyncio.create_task(self._finish(stop_taking))
        if not await _within(self._finish_seconds, finishing, unless=self._hurry):
            await self._runs.hand_back(self._hand_back_seconds)
            await _within(self._hand_back_seconds, finishing, unless=self._leave)
        while not finishing.done():
            # Repeatedly: the Redis client may lose a cancellation that arrives just as a command completes.
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
    """Wait for a task until the time is up or an event is set; return whether the task is done."""
    interrupted = asyncio.create_task(unless.wait())
    try:
        await asyncio.wait({task, interrupted}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        interrupted.cancel()
    return task.done()
