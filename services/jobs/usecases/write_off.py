"""Writes off a charge that its customer cannot pay: the platform bears it, and the job is CHARGED like others."""

from typing import Any
from uuid import UUID

import structlog

from innosystem.shared.crash import crash_point
from services.jobs.rules.entities import BillingStatus, Charge, Job
from services.jobs.rules.errors import JobNotFound, NothingToWriteOff, WriteOffRefused
from services.jobs.rules.transitions.completion import Charged, Declined
from services.jobs.usecases.ports import JobRepository, WriteOffWallets
from services.jobs.usecases.run import RunService
from services.kit.batching.parts import single_result
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DataCorrupt, DomainError

log = structlog.get_logger(__name__)

_UNPAID = (BillingStatus.DECLINED, BillingStatus.CHARGE_BLOCKED)


class WriteOffs:
    """The use case of operators who give up a charge.

    The ledger is called first, outside of a transaction. A process that dies before the outcome is recorded leaves a
    deduction under the job's key: a repeated call finds it, and so does the settler if the job is DECLINED.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        runs: Records the outcomes of charges.
        wallets: The wallets service.
    """

    def __init__(
        self, transactions: Transactions[Any], jobs: JobRepository, runs: RunService, wallets: WriteOffWallets
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._runs = runs
        self._wallets = wallets

    async def write_off(self, job_id: UUID, reason: str) -> Job:
        """Make a job's charge at the platform's expense; a job that is charged already is returned unchanged.

        Raises:
            JobNotFound: If the job does not exist.
            NothingToWriteOff: If its charge is neither declined nor blocked.
            WriteOffRefused: If the ledger refuses.
            DependencyUnavailable: If the wallets service is unavailable.
        """
        job = await self._read(job_id)
        if job.billing_status is BillingStatus.CHARGED:
            return job
        settlement = await self._charged(owed(job), reason)
        crash_point("jobs.write_off.before_settle")
        async with self.transactions.begin():
            single_result(await self._runs.settle_one(settlement))
            after = await self._read(job_id)
            await self._jobs.audit([(job, after)])
        transaction_id = str(settlement.transaction_id)
        log.info("charge_written_off_or_paid", job_id=str(job_id), transaction_id=transaction_id, reason=reason)
        return after

    async def _charged(self, charge: Charge, reason: str) -> Charged:
        settlement = await self._wallets.write_off(charge, reason)
        if settlement == Declined(charge.job_id, "ALREADY_CHARGED"):
            # The customer was credited meanwhile, and the settler was faster. This key allows no second charge.
            [again] = await self._wallets.deduct([charge])
            if isinstance(again, DomainError):
                raise again
            settlement = again
        if isinstance(settlement, Declined):
            raise WriteOffRefused(charge.job_id, settlement.reason)
        return settlement

    async def _read(self, job_id: UUID) -> Job:
        async with self.transactions.begin(read_only=True):
            found = await self._jobs.get_many([job_id])
        job = found.get(job_id)
        if job is None:
            raise JobNotFound(job_id)
        if isinstance(job, DataCorrupt):
            raise job
        return job


def owed(job: Job) -> Charge:
    """Return the charge that could not be made.

    Raises:
        NothingToWriteOff: If the job has no such charge.
    """
    if job.billing_status not in _UNPAID or job.cost_cents is None:
        raise NothingToWriteOff(job.id, job.status.value, job.billing_status.value)
    return Charge(job.customer_id, job.currency, job.cost_cents, job.hold_id, job.id)
