"""Releases the holds of jobs that were never stored, because the service died between the two.

No claim of another replica is needed: releasing a hold twice changes nothing, and the progress never goes back.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from services.jobs.domain import UNSETTLED, Release
from services.jobs.errors import HoldNotActive
from services.jobs.holds import Hold
from services.jobs.metrics import JOBS
from services.jobs.ports import Wallets
from services.jobs.repository import AuditProgress, JobRepository
from services.kit.crash import crash_point
from services.kit.data.corrupt import understood_by_key
from services.kit.data.transactions import Transactions
from services.kit.errors import DataCorrupt, DomainError

log = structlog.get_logger(__name__)


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
        """Looks at those that have reached the age since the round before."""
        async with self.transactions.begin(read_only=True):
            since, until = await self._progress.window(self._age)
        # Holds are stamped by the ledger's clock, and so is how far we have come.
        until += await self._wallets.clock_ahead()
        async for holds in self._wallets.active_holds(since, until):
            await self._release(await self._orphans(holds))
            crash_point("jobs.auditor.before_progress")
            await self._move(holds[-1].created_at)
        await self._move(until)
        return False

    async def _orphans(self, holds: Sequence[Hold]) -> list[Release]:
        """The holds that are not those of a job that still needs them."""
        releases = [Release(hold_id=hold.id, job_id=hold.job_id) for hold in holds if hold.job_id is not None]
        async with self.transactions.begin(read_only=True):
            jobs = await self._jobs.get_many({one.job_id for one in releases})
        needed = {job.hold_id for job in understood_by_key(jobs).values() if job.billing_status in UNSETTLED}
        # What a job needs that is not understood is not known: its hold is left alone.
        unknown = {job_id for job_id, job in jobs.items() if isinstance(job, DataCorrupt)}
        return [one for one in releases if one.hold_id not in needed and one.job_id not in unknown]

    async def _release(self, orphans: Sequence[Release]) -> None:
        if not orphans:
            return
        outcomes = await self._wallets.release_holds(orphans)
        for one, outcome in zip(orphans, outcomes, strict=True):
            # Its job was charged since the hold was listed.
            if isinstance(outcome, HoldNotActive):
                continue
            # What is not known to be released is looked at again: the progress stays where it is.
            if isinstance(outcome, DomainError):
                raise outcome
            log.warning("hold without a job released", hold_id=str(one.hold_id), job_id=str(one.job_id))
            JOBS.labels("hold_auditor", "released").inc()

    async def _move(self, done_until: datetime) -> None:
        async with self.transactions.begin():
            await self._progress.move(done_until)
