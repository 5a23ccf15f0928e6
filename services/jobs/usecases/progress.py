"""What handlers say during their runs: progress for watchers, and checkpoints for the next run."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from services.jobs.rules.errors import JobNotFound, LeaseLost
from services.jobs.rules.transitions.progress import Report, stored
from services.jobs.usecases.own_jobs import for_own_jobs
from services.jobs.usecases.ports import Changes, JobRepository
from services.kit.auth.tenants import Tenants
from services.kit.data.corrupt import understood_by_key
from services.kit.data.locks import waiting_briefly
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DataCorrupt, DomainError, RowLocked


class ProgressService:
    """The use case of handlers that say how far they are.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        changes: Notified of jobs with a new progress.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, *, changes: Changes) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._changes = changes

    async def report(self, reports: Sequence[Report], tenants: Tenants) -> list[DomainError | None]:
        """Store reports of jobs that run under the lease that they name.

        Returns:
            None or the error, aligned with the reports.
        """

        async def work(own: Sequence[Report]) -> list[DomainError | None]:
            return await waiting_briefly(partial(self._report, own))

        return await for_own_jobs(self.transactions, self._jobs, reports, tenants, work)

    async def _report(self, reports: Sequence[Report], wait: bool) -> list[DomainError | None]:
        job_ids = {one.job_id for one in reports}
        async with self.transactions.begin():
            # Under the locks of the jobs, which no report changes: a run that was lost in the meantime would otherwise
            # replace the checkpoint of the next one.
            locked = await self._jobs.lock_many(job_ids, wait=wait)
            missing = job_ids - locked.keys()
            taken = await self._jobs.versions(missing) if missing and not wait else {}
            chosen = {one.job_id: one for one in stored(reports, understood_by_key(locked))}
            await self._jobs.report(list(chosen.values()))
            said = [key for key, one in chosen.items() if one.percent is not None]
            if said:
                self.transactions.after_commit(lambda: self._changes.put(said))
        results: list[DomainError | None] = []
        for one in reports:
            job = locked.get(one.job_id)
            if isinstance(job, DataCorrupt):
                results.append(job)
            elif job is None:
                results.append(RowLocked() if one.job_id in taken else JobNotFound(one.job_id))
            else:
                kept = chosen.get(one.job_id)
                results.append(None if kept and kept.lease_id == one.lease_id else LeaseLost(one.job_id))
        return results
