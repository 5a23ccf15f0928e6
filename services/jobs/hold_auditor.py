"""Releases the holds of jobs that were never stored, because the service died between the two.

No claim of another replica is needed: releasing a hold twice changes nothing, and the progress never goes back. It does
not wait for a hold that can't be released either: such a hold is stored, together with the progress, and tried again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from services.jobs.domain import UNSETTLED, Release
from services.jobs.errors import HoldNotActive
from services.jobs.metrics import JOBS, UNRELEASED
from services.jobs.ports import Wallets
from services.jobs.repository import AuditProgress, JobRepository
from services.kit.crash import crash_point
from services.kit.data.corrupt import understood_by_key
from services.kit.data.transactions import Transactions
from services.kit.errors import DataCorrupt, DomainError

log = structlog.get_logger(__name__)

_BATCH = 500
_WAIT = timedelta(minutes=1)
_WAIT_MAX = timedelta(hours=1)


class HoldAuditor:
    """Looks once at every hold that has reached an age at which its job must be there.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        progress: Until when holds have been looked at.
        wallets: Asks the wallets service.
        age: By then the job of a hold is stored, or never will be. All that stores jobs must be over much sooner.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        progress: AuditProgress,
        wallets: Wallets,
        *,
        age: timedelta,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._progress = progress
        self._wallets = wallets
        self._age = age

    async def round(self) -> bool:
        """Look at what was left, and at those that have reached the age since the round before."""
        full = await self._try_again()
        async with self.transactions.begin(read_only=True):
            since, until = await self._progress.window(self._age)
        # Holds are stamped by the ledger's clock, and so is how far we have come.
        until += await self._wallets.clock_ahead()
        async for holds in self._wallets.active_holds(since, until):
            releases = [Release(hold_id=hold.id, job_id=hold.job_id) for hold in holds if hold.job_id is not None]
            left = await self._release(releases)
            crash_point("jobs.auditor.before_progress")
            await self._move(holds[-1].created_at, left)
        await self._move(until, ())
        return full

    async def _try_again(self) -> bool:
        async with self.transactions.begin():
            taken = await self._progress.take(_BATCH, _WAIT, _WAIT_MAX)
        if taken:
            left = await self._release(taken)
            async with self.transactions.begin():
                await self._progress.forget({one.hold_id for one in taken} - {one.hold_id for one in left})
        async with self.transactions.begin(read_only=True):
            UNRELEASED.set(await self._progress.count())
        return len(taken) == _BATCH

    async def _release(self, releases: Sequence[Release]) -> list[Release]:
        """Releases the holds of jobs that do not need them. Answers those of which it is not known what to do."""
        orphans, left = await self._orphans(releases)
        outcomes = await self._wallets.release_holds(orphans) if orphans else []
        for one, outcome in zip(orphans, outcomes, strict=True):
            if isinstance(outcome, HoldNotActive):
                # Its job was charged since the hold was listed.
                continue
            if isinstance(outcome, DomainError):
                left.append(one)
                continue
            log.warning("hold without a job released", hold_id=str(one.hold_id), job_id=str(one.job_id))
            JOBS.labels("hold_auditor", "released").inc()
        for one in left:
            log.error("hold not released", hold_id=str(one.hold_id), job_id=str(one.job_id))
        return left

    async def _orphans(self, releases: Sequence[Release]) -> tuple[list[Release], list[Release]]:
        """The holds that are not those of a job that still needs them, and those of jobs that are not understood."""
        async with self.transactions.begin(read_only=True):
            jobs = await self._jobs.get_many({one.job_id for one in releases})
        needed = {job.hold_id for job in understood_by_key(jobs).values() if job.billing_status in UNSETTLED}
        not_needed = [one for one in releases if one.hold_id not in needed]
        unknown = {job_id for job_id, job in jobs.items() if isinstance(job, DataCorrupt)}
        orphans = [one for one in not_needed if one.job_id not in unknown]
        return orphans, [one for one in not_needed if one.job_id in unknown]

    async def _move(self, done_until: datetime, left: Sequence[Release]) -> None:
        async with self.transactions.begin():
            if left:
                await self._progress.keep(left, _WAIT)
            await self._progress.move(done_until)
