"""Submissions under an ID that was used before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from services.jobs.rules.entities import Job
from services.jobs.rules.errors import JobNotFound
from services.jobs.rules.submission import Submission
from services.jobs.usecases.own_jobs import own_jobs
from services.jobs.usecases.ports import JobRepository
from services.kit.auth.tenants import Tenants
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DataCorrupt, DomainError, IdempotencyKeyReused
from services.kit.idempotency import check_same

R = TypeVar("R")


@dataclass(frozen=True)
class Submitted:
    """A stored job; replayed if an earlier submission with the same ID stored it."""

    job: Job
    replayed: bool


class KnownJobs:
    """The jobs that submissions find under their IDs.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
    """

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository) -> None:
        self.transactions = transactions
        self._jobs = jobs

    async def of(self, submissions: Sequence[Submission]) -> Mapping[UUID, Job | DataCorrupt]:
        """Return the stored jobs with the IDs of submissions."""
        async with self.transactions.begin():
            # Usually no job has these IDs: the versions are cheaper to look up than the jobs.
            found = await self._jobs.versions({one.job_id for one in submissions})
            return await self._jobs.get_many(found.keys()) if found else {}

    async def charged_and_deleted(self, submissions: Sequence[Submission]) -> set[UUID]:
        """Return the IDs of submissions whose customer had a job that was charged and has been deleted."""
        job_ids = {one.job_id for one in submissions}
        tenants = Tenants(frozenset(one.customer_id for one in submissions), None)
        async with self.transactions.begin(read_only=True):
            used = await self._jobs.own(job_ids, tenants)
            return set(used) - (await self._jobs.versions(used)).keys() if used else set()

    async def without_others(self, results: Sequence[tuple[Submission, R]], tenants: Tenants) -> list[R | DomainError]:
        """Return results without those that tell of a job or hold of others under the same ID."""
        doubtful = {one.job_id for one, result in results if _may_be_of_others(result)}
        own = await own_jobs(self.transactions, self._jobs, doubtful, tenants)
        return [
            JobNotFound(one.job_id) if _may_be_of_others(result) and one.job_id not in own else result
            for one, result in results
        ]


def repeated(submission: Submission, job: Job | DataCorrupt) -> Submitted | DomainError:
    """Return the result of a submission whose ID a stored job has."""
    if isinstance(job, DataCorrupt):
        return job
    try:
        check_same(submission.parameters, job.request_digest)
    except DomainError as error:
        return error
    return Submitted(job, replayed=True)


def _may_be_of_others(result: object) -> bool:
    if isinstance(result, IdempotencyKeyReused):
        return not {"customer_id", "job_id"}.isdisjoint(result.fields)
    return isinstance(result, DataCorrupt)
