"""What every replica of the jobs service does beside answering calls, so that nothing is lost and nothing is stuck.

There is no leader. Each chore takes a bounded number of rows that no other replica is at, and makes no network call in
a transaction. All times are the database's.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any

import structlog

from services.jobs.completion import Settlement
from services.jobs.control import EXPIRED, RUNNER_LOST, removal
from services.jobs.dispatcher import QueueUnavailable
from services.jobs.domain import Charge, JobStatus, Release
from services.jobs.errors import HoldNotActive
from services.jobs.metrics import FAILURES, JOBS, ROUNDS
from services.jobs.ports import Changes, Queue, Wallets
from services.jobs.repository import JobRepository
from services.jobs.run_service import RunService
from services.kit.crash import crash_point
from services.kit.data.transactions import Transactions
from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

_BATCH = 500
_BACKOFF_MIN = 0.5
_BACKOFF_MAX = 10.0
# Rounds that take long are no outage.
_ROUNDS_MISSED = 3
_SETTLE_LONGEST = timedelta(minutes=10)


@dataclass(frozen=True)
class Chore:
    """Something that is done again and again.

    Attributes:
        name: In logs and metrics.
        every: The pause between two rounds, with jitter.
        round: One round; answers whether there is more to do at once.
        woken: Set when there is something to do before the pause is over.
    """

    name: str
    every: timedelta
    round: Callable[[], Awaitable[bool]]
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Does it until it is cancelled. A failure is logged when it begins and when it is over."""
        backoff_seconds = 0.0
        while True:
            ROUNDS.labels(self.name).inc()
            self.woken.clear()
            try:
                more = await self.round()
            except (DomainError, QueueUnavailable) as error:
                FAILURES.labels(self.name).inc()
                if not backoff_seconds:
                    log.warning("housekeeping waits", chore=self.name, problem=str(error))
                backoff_seconds = min(max(2 * backoff_seconds, _BACKOFF_MIN), _BACKOFF_MAX)
                await asyncio.sleep(backoff_seconds)
                continue
            if backoff_seconds:
                log.info("housekeeping goes on", chore=self.name)
                backoff_seconds = 0.0
            if not more:
                await self._pause()

    async def _pause(self) -> None:
        # Replicas that were started together do not stay together.
        seconds = self.every.total_seconds() * random.uniform(0.8, 1.2)  # noqa: S311
        with suppress(TimeoutError):
            await asyncio.wait_for(self.woken.wait(), seconds)


class Timekeeper:
    """Rescues jobs whose runner is lost, and ends those that nobody has started in their time.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        queue: Takes the IDs of jobs that wait again.
        changes: Is told of jobs that have changed.
        rescues_max: How often a job may lose its runner; then it is FAILED.
        every: How often a round is to be.
        grace: For how long nobody is rescued after the start, and after rounds were missed: the runners could not renew
            their leases either, and get the time to do so.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        queue: Queue,
        changes: Changes,
        *,
        rescues_max: int,
        every: timedelta,
        grace: timedelta,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._queue = queue
        self._changes = changes
        self._rescues_max = rescues_max
        self._grace = grace.total_seconds()
        self._gap = _ROUNDS_MISSED * every.total_seconds()
        self._looked_at: float | None = None
        self._rescues_from = 0.0

    async def round(self) -> bool:
        """Takes some of each."""
        async with self.transactions.begin():
            lost = await self._jobs.lock_lost(_BATCH) if self._may_rescue() else []
            expired = await self._jobs.lock_expired(_BATCH)
            hopeless = [job for job in lost if job.rescue_count >= self._rescues_max]
            message = f"its runner was lost {self._rescues_max + 1} times"
            removals = [removal(job, JobStatus.FAILED, RUNNER_LOST, message) for job in hopeless]
            message = "it was not started in its time"
            removals += [removal(job, JobStatus.CANCELLED, EXPIRED, message) for job in expired]
            await self._jobs.remove_many(removals)
            waiting = await self._jobs.rescue_many({job.id for job in lost} - {job.id for job in hopeless})
            if lost or expired:
                self.transactions.after_commit(lambda: self._queue.put(waiting, first=True))
                self.transactions.after_commit(lambda: self._changes.put([job.id for job in (*lost, *expired)]))
        for job in lost:
            log.warning(
                "job rescued" if job not in hopeless else "job given up",
                job_id=str(job.id),
                runner_id=str(job.runner_id),
                rescues=job.rescue_count,
            )
        self._looked_at = monotonic()
        JOBS.labels("rescuer", "rescued").inc(len(waiting))
        JOBS.labels("rescuer", "failed").inc(len(hopeless))
        JOBS.labels("expiry", "cancelled").inc(len(expired))
        return len(lost) == _BATCH or len(expired) == _BATCH

    def _may_rescue(self) -> bool:
        """Whether this process has seen the database for long enough that a lease can't have ended for want of it."""
        now = monotonic()
        if self._looked_at is None or now - self._looked_at > self._gap:
            self._rescues_from = now + self._grace
        return now >= self._rescues_from


class Settler:
    """Makes the charges that runners have not made, and releases the holds of jobs that ended without success.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        runs: Records what became of charges.
        wallets: Asks the wallets service.
        settle_after: The wait after the first try that failed; it doubles.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        runs: RunService,
        wallets: Wallets,
        *,
        settle_after: timedelta,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._runs = runs
        self._wallets = wallets
        self._settle_after = settle_after

    async def round(self) -> bool:
        """Takes some, charges or releases them, records it."""
        async with self.transactions.begin():
            due = await self._jobs.take_unsettled(_BATCH, self._settle_after, _SETTLE_LONGEST)
        charges = [one for one in due if isinstance(one, Charge)]
        releases = [one for one in due if isinstance(one, Release)]
        outcomes: list[Settlement | DomainError] = []
        if charges:
            crash_point("jobs.settler.before_deduct")
            outcomes += await self._wallets.deduct(charges)
            crash_point("jobs.settler.before_settle")
        if releases:
            crash_point("jobs.settler.before_release")
            outcomes += await self._wallets.release_holds(releases)
            crash_point("jobs.settler.after_release")
        known = [outcome for outcome in outcomes if not isinstance(outcome, DomainError)]
        if known:
            await self._runs.settle(known)
        JOBS.labels("settler", "charged").inc(sum(one.transaction_id is not None for one in known))
        JOBS.labels("settler", "released").inc(sum(one.released for one in known))
        JOBS.labels("settler", "refused").inc(sum(bool(one.declined_reason) for one in known))
        self._report([outcome for outcome in outcomes if isinstance(outcome, DomainError)])
        return len(due) == _BATCH

    @staticmethod
    def _report(failed: list[DomainError]) -> None:
        for error in failed:
            # No try can cure it: a job without success was charged. `innosystem verify` names it as well.
            if isinstance(error, HoldNotActive):
                log.error("hold of a job without success was captured", hold_id=str(error.hold_id))
            else:
                raise error


class Retention:
    """Deletes jobs that have been over for long; of charged ones a receipt is kept.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        age: How long they are kept.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, *, age: timedelta) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._age = age

    async def round(self) -> bool:
        """Deletes some."""
        async with self.transactions.begin():
            deleted = await self._jobs.delete_finished(self._age, _BATCH)
        JOBS.labels("retention", "deleted").inc(deleted)
        return deleted == _BATCH
