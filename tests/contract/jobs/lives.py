"""Takes stored jobs through their lives, on any repository."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from services.jobs.rules.entities import BillingStatus, Job, Lane, ListKey, NewJob, Waiting
from services.jobs.rules.job_types import Priority
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.completion import BillingChange, Completion, ending
from services.jobs.rules.transitions.leasing import Claim
from services.kit.data.corrupt import all_understood
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_work import BeginJobs, JobsWork

RUNNER = uuid7()
DEFAULT = ListKey("default", Priority.MEDIUM)


async def stored(begin: BeginJobs, count: int = 1, *, withheld: bool = False, **values: Any) -> list[NewJob]:
    """Store jobs of one new job type."""
    async with begin() as work:
        job_type = await work.job_types.create(new_job_type())
        new = [new_job(job_type.id, **values) for _ in range(count)]
        await work.jobs.create_many(new, {job.id for job in new} if withheld else ())
        await work.commit()
    return new


def claim(
    jobs: list[NewJob], lease_id: UUID | None = None, bytes_max: int = 1_000_000, lease: timedelta = MINUTE
) -> Claim:
    """A claim of the jobs."""
    return Claim([job.id for job in jobs], RUNNER, lease_id or uuid7(), lease, bytes_max)


async def complete(work: JobsWork, job_id: UUID, completion: Completion, settle_after: timedelta = MINUTE) -> None:
    """Record a completion the way the use case does."""
    [job] = all_understood((await work.jobs.lock_many([job_id])).values())
    await work.jobs.apply([ending(job, completion, settle_after=settle_after)])


async def running(begin: BeginJobs, count: int = 1, lease: timedelta = MINUTE, **values: Any) -> tuple[list[Job], UUID]:
    """Store jobs and claim them; return the jobs and their lease."""
    wish = claim(await stored(begin, count, **values), lease=lease)
    async with begin() as work:
        claimed = await work.jobs.claim(wish)
        await work.commit()
    return [one.job for one in claimed.jobs], wish.lease_id


async def succeeded(begin: BeginJobs, settle_after: timedelta = MINUTE, **values: Any) -> Job:
    """Take a job to its success."""
    [job], lease_id = await running(begin, **values)
    async with begin() as work:
        await complete(
            work, job.id, Completion(job_id=job.id, lease_id=lease_id, outcome=Payload("1", 0)), settle_after
        )
        await work.commit()
    return await read(begin, job.id)


async def settled(begin: BeginJobs, job_id: UUID, status: BillingStatus, settle_after: timedelta = MINUTE) -> None:
    """Record what became of a charge."""
    change = BillingChange(
        job_id=job_id,
        billing_status=status,
        transaction_id=uuid7() if status is BillingStatus.CHARGED else None,
        next_try_at=settle_after if status is BillingStatus.DECLINED else None,
    )
    async with begin() as work:
        await work.jobs.apply([change])
        await work.commit()


async def read(begin: BeginJobs, job_id: UUID) -> Job:
    """Read a job that is there."""
    async with begin() as work:
        job = await work.jobs.get(job_id)
    assert job is not None
    return job


async def taken(work: JobsWork, limit: int, key: ListKey = DEFAULT, excluded: Collection[UUID] = ()) -> list[Waiting]:
    """Take withheld jobs until there are none, as the dispatcher does."""
    found: list[Waiting] = []
    first: Lane | None = None
    while (turns := await work.jobs.take_withheld(key, limit, first=first, excluded=excluded)).lanes:
        assert len(turns.jobs) <= limit
        found += turns.jobs
        first = turns.following
    return found
