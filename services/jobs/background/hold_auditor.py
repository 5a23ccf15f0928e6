"""Releases the holds of jobs that were never stored, because the service died between hold and job.

The auditor also finds jobs that are CHARGED while their hold is still active. A charge captures the hold, so no charge
was made, whatever transaction SettleJobs received. The auditor makes the charge due again, and the settler makes it.

Replicas need no locks against each other: releasing a hold twice changes nothing, and the progress never goes back. A
hold that cannot be released does not stop the progress either: it is stored with the progress, and tried again.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from innosystem.shared.crash import crash_point
from services.jobs.metrics import JOBS, UNRELEASED
from services.jobs.rules.entities import HOLD_IN_USE, Billing, BillingStatus, Release
from services.jobs.rules.errors import HoldNotActive
from services.jobs.rules.holds import Hold, HoldState
from services.jobs.rules.transitions.completion import BillingChange
from services.jobs.usecases.ports import AuditProgress, JobRepository, Wallets
from services.kit.data.corrupt import understood_by_key
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DataCorrupt, DomainError

log = structlog.get_logger(__name__)

_BATCH = 500
_WAIT = timedelta(minutes=1)
_WAIT_MAX = timedelta(hours=1)
_BEGINNING = datetime.fromtimestamp(0, UTC)


@dataclass
class _Found:
    """Active holds by what is to be done about them.

    Attributes:
        orphans: Holds that their jobs do not need.
        unpaid: Holds whose jobs are CHARGED.
        left: Holds whose jobs are not understood.
    """

    orphans: list[Release]
    unpaid: list[Release]
    left: list[Release]


class HoldAuditor:
    """The audit of every hold at an age at which its job must be stored, and later from time to time.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        progress: The progress of the audit.
        wallets: The wallets service.
        age: The age at which the job of a hold is stored or never will be. Every attempt to store it must end much
            sooner.
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
        self._older: AsyncIterator[Sequence[Hold]] | None = None

    async def round(self) -> bool:
        """Audit the holds that were left, those that have reached the age since the last round, and some older ones."""
        full = await self._try_again()
        async with self.transactions.begin(read_only=True):
            since, until = await self._progress.window(self._age)
        # Holds have timestamps of the ledger's clock, and so has the progress.
        until += await self._wallets.clock_ahead()
        async for holds in self._wallets.active_holds(since, until):
            left = await self._release(_releases(holds))
            crash_point("jobs.auditor.before_progress")
            await self._move(holds[-1].created_at, left)
        await self._move(until, ())
        await self._look_at_older(since)
        return full

    async def _look_at_older(self, until: datetime) -> None:
        """Look for CHARGED jobs in the next page of holds; after the last page begin with the oldest holds again.

        A job may wait for days before it is settled without a charge.
        """
        if self._older is None:
            self._older = self._wallets.active_holds(_BEGINNING, until)
        # If this page fails, the next round begins with the oldest holds.
        older, self._older = self._older, None
        holds = await anext(older, None)
        if holds is None:
            return
        await self._charge_again((await self._judged(_releases(holds))).unpaid)
        self._older = older

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
        """Release the holds that their jobs do not need; return the holds to try again."""
        found = await self._judged(releases)
        orphans, left = found.orphans, [*found.left, *await self._charge_again(found.unpaid)]
        outcomes = await self._wallets.release_holds(orphans) if orphans else []
        for one, outcome in zip(orphans, outcomes, strict=True):
            if isinstance(outcome, HoldNotActive):
                # The job was charged since the hold was listed.
                continue
            if isinstance(outcome, DomainError):
                left.append(one)
                continue
            log.warning("orphaned_hold_released", hold_id=str(one.hold_id), job_id=str(one.job_id))
            JOBS.labels("hold_auditor", "released").inc()
        for one in left:
            log.error("hold_not_released", hold_id=str(one.hold_id), job_id=str(one.job_id))
        return left

    async def _judged(self, releases: Sequence[Release]) -> _Found:
        async with self.transactions.begin(read_only=True):
            jobs = await self._jobs.get_many({one.job_id for one in releases})
        unknown = {job_id for job_id, job in jobs.items() if isinstance(job, DataCorrupt)}
        status = {job.hold_id: job.billing_status for job in understood_by_key(jobs).values()}
        found = _Found([], [], [])
        for one in releases:
            billing_status = status.get(one.hold_id)
            if billing_status in HOLD_IN_USE:
                continue
            if one.job_id in unknown:
                found.left.append(one)
            elif billing_status is BillingStatus.CHARGED:
                found.unpaid.append(one)
            else:
                found.orphans.append(one)
        return found

    async def _charge_again(self, unpaid: Sequence[Release]) -> list[Release]:
        """Make the charges of CHARGED jobs due whose holds are active; return the holds that could not be read."""
        left: list[Release] = []
        for one in unpaid:
            # Most of these jobs were charged since the hold was listed.
            hold = await self._wallets.read_hold(one.hold_id)
            if isinstance(hold, DomainError):
                left.append(one)
            elif hold.state is HoldState.ACTIVE:
                await self._reopen(one)
        return left

    async def _reopen(self, one: Release) -> None:
        async with self.transactions.begin():
            now = await self._jobs.lock_billing([one.job_id])
            billing = now.get(one.job_id)
            if not isinstance(billing, Billing) or billing.status is not BillingStatus.CHARGED:
                # Another replica was faster.
                return
            await self._jobs.apply([BillingChange(job_id=one.job_id, billing_status=BillingStatus.CHARGE_DUE)])
        log.error("job_settled_without_charge", job_id=str(one.job_id), hold_id=str(one.hold_id))
        JOBS.labels("hold_auditor", "charge_due").inc()

    async def _move(self, done_until: datetime, left: Sequence[Release]) -> None:
        async with self.transactions.begin():
            if left:
                await self._progress.keep(left, _WAIT)
            await self._progress.move(done_until)


def _releases(holds: Sequence[Hold]) -> list[Release]:
    return [Release(hold_id=hold.id, job_id=hold.job_id) for hold in holds if hold.job_id is not None]
