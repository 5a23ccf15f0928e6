"""Many jobs changed together: jobs that a filter found are checked again when they are locked."""

from uuid_utils.compat import uuid7

from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.resources import STATUS
from services.jobs.rules.transitions.leasing import Claim
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.transactions.memory import MemoryTransactions
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_usecases import control_service
from tests.support.jobs_work import ChangesForTests, QueueForTests, memory_work


async def test_a_job_that_was_claimed_since_the_filter_found_it_is_left_alone() -> None:
    transactions = MemoryTransactions()
    work = memory_work(transactions)
    changes = ChangesForTests()
    control = control_service(work, QueueForTests(), changes)
    async with transactions.begin():
        job_type = await work.job_types.create(new_job_type())
        waiting, running = new_job(job_type.id), new_job(job_type.id)
        await work.jobs.create_many([waiting, running])
        await work.jobs.claim(Claim([running.id], uuid7(), uuid7(), MINUTE, 1000))
    found = [waiting.id, running.id]
    [cancelled] = await control.cancel(found, "", ALL_TENANTS, wanted=STATUS.is_(JobStatus.PENDING))
    assert isinstance(cancelled, Job)
    assert (cancelled.id, cancelled.status) == (waiting.id, JobStatus.CANCELLED)
    assert changes.job_ids == [waiting.id]
    async with transactions.begin():
        left = await work.jobs.get(running.id)
    assert left is not None
    assert left.status is JobStatus.RUNNING
