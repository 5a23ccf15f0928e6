"""Results of jobs that were posted to an endpoint, which proves itself by a callback token."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from innosystem.shared.crash import crash_point
from services.jobs.metrics import count_changed
from services.jobs.rules.entities import BillingStatus, Job, JobStatus
from services.jobs.rules.job_types import JobType
from services.jobs.rules.transitions.callbacks import CallbackResult, CalledBack, called_back
from services.jobs.rules.transitions.changes import Failure, applied
from services.jobs.usecases.ports import Changes, JobRepository, JobTypes, Queue
from services.kit.charges.callbacks import Callback, CallbackTokens
from services.kit.data.locks import waiting_briefly
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import BadCredentials, DataCorrupt, RowLocked

_MONEY_DUE = frozenset({BillingStatus.CHARGE_DUE, BillingStatus.RELEASE_DUE})


@dataclass(frozen=True)
class CallbackService:
    """The use case of endpoints.

    Attributes:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        job_types: The job types, which define how long failed jobs wait.
        queue: Notified of jobs that wait again.
        changes: Notified of jobs that have changed.
        tokens: Reads callback tokens.
        wake_settler: Called when a charge or a release is due: no runner makes the charge.
    """

    transactions: Transactions[Any]
    jobs: JobRepository
    job_types: JobTypes
    queue: Queue
    changes: Changes
    tokens: CallbackTokens
    wake_settler: Callable[[], None]

    def authenticated(self, job_id: UUID, token: str) -> Callback:
        """Return what a token is for. No wrong one gets further than here, and none needs the database.

        Raises:
            BadCredentials: If it is not a valid one of this job.
        """
        callback = self.tokens.read(job_id, token)
        if callback is None:
            raise BadCredentials
        return callback

    async def complete(self, result: CallbackResult) -> JobStatus:
        """Record the result of a job; a repeated call returns the same.

        Returns:
            The present status of the job.

        Raises:
            BadCredentials: If the job has been deleted.
            LeaseLost: If the attempt is over.
            DependencyUnavailable: If the job's runner was lost after the POST, and the job is about to be posted again.
        """
        kind = await self._type_of_failure(result)
        return await waiting_briefly(partial(self._complete, result, kind))

    async def _complete(self, result: CallbackResult, kind: JobType | None, wait: bool) -> JobStatus:
        job_id = result.callback.job_id
        async with self.transactions.begin():
            job = (await self.jobs.lock_many([job_id], wait=wait)).get(job_id)
            if job is None:
                raise RowLocked if not wait and await self.jobs.versions([job_id]) else BadCredentials
            if isinstance(job, DataCorrupt):
                raise job
            change = called_back(job, result, kind)
            if change is None:
                return job.status
            await self.jobs.apply([change])
            self._notify(job, change)
        count_changed({job.id: job}, [change])
        crash_point("jobs.callback.before_reply")
        return applied(job, change).status

    def _notify(self, job: Job, change: CalledBack) -> None:
        self.transactions.after_commit(lambda: self.changes.put([job.id]))
        if change.billing_status in _MONEY_DUE:
            self.transactions.after_commit(self.wake_settler)
        wait = change.run_at
        if wait is not None:
            self.transactions.after_commit(lambda: self.queue.expect(wait))

    async def _type_of_failure(self, result: CallbackResult) -> JobType | None:
        """Return the type of a job that may get another attempt; it defines how long the job waits."""
        if not isinstance(result.outcome, Failure) or not result.outcome.retryable:
            return None
        async with self.transactions.begin(read_only=True):
            job = (await self.jobs.get_many([result.callback.job_id])).get(result.callback.job_id)
        if job is None or isinstance(job, DataCorrupt):
            return None
        found = (await self.job_types.resolve([job.job_type_id])).get(job.job_type_id)
        return found if isinstance(found, JobType) else None
