"""What runners can do with jobs: claim them, report how they ended, and say what became of the charges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import structlog

from services.jobs.completion import (
    Completion,
    Ending,
    Settlement,
    ended,
    ending,
    holds_lease,
    is_repeated,
    settled,
)
from services.jobs.domain import BillingStatus, Charge, Job, JobStatus, charge_due
from services.jobs.errors import JobNotFound, LeaseLost
from services.jobs.repository import Claim, Claimed, JobRepository
from services.kit.data.transactions import Transactions
from services.kit.errors import DomainError

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Recorded:
    """The answer to a completion: what the job is now, and the charge to make, if any."""

    status: JobStatus
    charge: Charge | None


class RunService:
    """The use cases of runners. Each is one transaction for a whole batch.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository) -> None:
        self.transactions = transactions
        self._jobs = jobs

    async def claim(self, claim: Claim) -> Claimed:
        """Makes PENDING jobs RUNNING under the claim's lease; the same claim again is answered the same jobs."""
        async with self.transactions.begin():
            claimed = await self._jobs.claim(claim)
        for error in claimed.corrupt:
            log.error("jobs left waiting", reason=error.reason, problem=error.message)
        return claimed

    async def complete(self, completions: Sequence[Completion]) -> list[Recorded | DomainError]:
        """Records how runs ended; status and the charge that is due are stored together.

        The same completion again is answered the same; any other completion of a job that does not run under the lease
        is refused and changes nothing.

        Returns:
            The results, aligned with the completions.
        """
        async with self.transactions.begin():
            jobs = await self._jobs.lock_many({one.job_id for one in completions})
            chosen: dict[UUID, tuple[Completion, Ending]] = {}
            for one in completions:
                job = jobs.get(one.job_id)
                if job is not None and holds_lease(job, one.lease_id):
                    chosen.setdefault(job.id, (one, ending(job, one)))
            await self._jobs.complete_many(_in_order(chosen))
        jobs.update({key: ended(jobs[key], one, end) for key, (one, end) in chosen.items()})
        return [_recorded(one, jobs.get(one.job_id)) for one in completions]

    async def settle(self, settlements: Sequence[Settlement]) -> list[BillingStatus | DomainError]:
        """Records what became of charges; what can't change any more stays as it is.

        Returns:
            The billing statuses now, aligned with the settlements.
        """
        async with self.transactions.begin():
            jobs = await self._jobs.lock_many({one.job_id for one in settlements})
            chosen: dict[UUID, tuple[Settlement, BillingStatus]] = {}
            for one in settlements:
                job = jobs.get(one.job_id)
                status = settled(job, one) if job is not None else None
                # A charge that was made wins over a refusal of the same batch.
                if status is not None and (one.transaction_id is not None or one.job_id not in chosen):
                    chosen[one.job_id] = (one, status)
            await self._jobs.settle_many(_in_order(chosen))
        now = {key: job.billing_status for key, job in jobs.items()}
        now.update({key: status for key, (_, status) in chosen.items()})
        for one in settlements:
            if now.get(one.job_id) in (BillingStatus.DECLINED, BillingStatus.CHARGE_BLOCKED):
                log.warning("charge refused", job_id=str(one.job_id), reason=one.declined_reason)
        return [now.get(one.job_id, JobNotFound(one.job_id)) for one in settlements]


def _recorded(completion: Completion, job: Job | None) -> Recorded | DomainError:
    if job is None:
        return JobNotFound(completion.job_id)
    if not is_repeated(job, completion):
        return LeaseLost(completion.job_id)
    return Recorded(job.status, charge_due(job))


def _in_order(chosen: dict[UUID, T]) -> list[T]:
    return [chosen[key] for key in sorted(chosen)]
