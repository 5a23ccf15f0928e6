"""Makes scheduled jobs PENDING when they are due, also while the lists cannot be fed."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from services.jobs.metrics import JOBS
from services.jobs.usecases.ports import Changes, JobRepository
from services.kit.background import Loop
from services.kit.data.transactions.ambient import Transactions

_BATCH = 1000
# The interval of looking for jobs that other replicas, also dead ones, have stored.
_POLL_SECONDS = 2.0
# A job that is due already is locked by another replica.
_DUE_POLL_SECONDS = 0.02


class Scheduler:
    """Releases SCHEDULED jobs that are due.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        changes: Notified of the released jobs.
        released: Called when some were released.
    """

    def __init__(
        self, transactions: Transactions[Any], jobs: JobRepository, changes: Changes, released: Callable[[], None]
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._changes = changes
        self._released = released
        self._look_at = math.inf
        self._sooner = asyncio.Event()
        self.loop = Loop("scheduler", self._round)

    def expect(self, wait: timedelta) -> None:
        """Note that a job becomes due after this time."""
        due_at = asyncio.get_running_loop().time() + wait.total_seconds()
        if due_at < self._look_at:
            self._look_at = due_at
            self._sooner.set()

    async def _round(self) -> None:
        # A job that is expected from here on may be stored after the query.
        self._look_at = math.inf
        async with self.transactions.begin():
            released = await self._jobs.release_scheduled(_BATCH)
            self.transactions.after_commit(lambda: self._changes.put(released))
            next_due = await self._jobs.next_scheduled()
        if released:
            JOBS.labels("scheduler", "released").inc(len(released))
            self._released()
        if len(released) < _BATCH:
            due_in = math.inf if next_due is None else max(next_due.total_seconds(), _DUE_POLL_SECONDS)
            await self._wait(min(due_in, _POLL_SECONDS))

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._look_at = min(self._look_at, loop.time() + seconds)
        while loop.time() < self._look_at:
            self._sooner.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._look_at):
                    await self._sooner.wait()
