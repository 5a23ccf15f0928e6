"""Many jobs changed together: they are checked again when they are locked, and before they run again."""

from collections.abc import Collection, Mapping
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.entities import BillingStatus, Job, JobStatus
from services.jobs.rules.errors import CustomerInactive, CustomerNotFound
from services.jobs.rules.resources import STATUS
from services.jobs.rules.transitions.leasing import Claim
from services.jobs.usecases.control import ControlService
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import ConcurrentUpdate, DependencyUnavailable, DomainError
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_usecases import control_service
from tests.support.jobs_work import (
    ChangesForTests,
    CustomersForTests,
    JobsWork,
    QueueForTests,
    WalletsForTests,
    memory_work,
)


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


@pytest.mark.parametrize(
    "state", [False, None, DependencyUnavailable("customers")], ids=["inactive", "unknown", "no response"]
)
async def test_a_job_is_not_run_again_without_its_customer(state: bool | DomainError | None) -> None:
    """To run again is a new submission, also of a free job; the jobs of other customers run."""
    transactions = MemoryTransactions()
    work, wallets, customers = memory_work(transactions), WalletsForTests(), CustomersForTests()
    control = control_service(work, QueueForTests(), ChangesForTests(), wallets, customers=customers)
    paid, free, other = await cancelled_jobs(work, control)
    customers.states[paid.customer_id] = state
    results = await control.retry([paid.id, other.id, free.id], ALL_TENANTS)
    errors: dict[object, type] = {False: CustomerInactive, None: CustomerNotFound}
    error = errors.get(state, DependencyUnavailable)
    assert [type(one) for one in results] == [error, Job, error]
    assert [one.job_id for call in wallets.placed for one in call] == [other.id]
    async with transactions.begin():
        left = await work.jobs.get_many([paid.id, free.id])
    assert {job.status for job in left.values() if isinstance(job, Job)} == {JobStatus.CANCELLED}


async def test_nobody_is_asked_about_the_customers_of_jobs_that_do_not_run_again() -> None:
    """Such jobs are returned unchanged, whether their customer is active or not."""
    work, customers = memory_work(MemoryTransactions()), CustomersForTests()
    control = control_service(work, QueueForTests(), ChangesForTests(), customers=customers)
    paid, free, _ = await cancelled_jobs(work, control)
    [again] = await control.retry([free.id], ALL_TENANTS, retry_count=0)
    assert isinstance(again, Job)
    assert again.retry_count == 1
    customers.states[paid.customer_id] = False
    customers.asked.clear()
    assert await control.retry([free.id], ALL_TENANTS, retry_count=0) == [again]
    await control.cancel([free.id], "", ALL_TENANTS)
    [ended] = await control.retry([free.id], ALL_TENANTS, retry_count=0)
    assert isinstance(ended, Job)
    assert (ended.status, ended.retry_count) == (JobStatus.CANCELLED, 1)
    assert customers.asked == []


async def test_a_free_job_that_ends_while_it_is_retried_is_left_alone() -> None:
    """Its customer was not asked for when it still waited."""
    work, customers = memory_work(MemoryTransactions()), CustomersForTests()
    control = control_service(work, QueueForTests(), ChangesForTests(), customers=customers)
    paid, free, _ = await cancelled_jobs(work, control)
    await control.retry([free.id], ALL_TENANTS)

    class Cancelling(CustomersForTests):
        async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
            await control.cancel([free.id], "", ALL_TENANTS)
            return await super().active(customer_ids)

    slow = control_service(work, QueueForTests(), ChangesForTests(), customers=Cancelling())
    results = await slow.retry([paid.id, free.id], ALL_TENANTS)
    assert [type(one) for one in results] == [Job, ConcurrentUpdate]


async def cancelled_jobs(work: JobsWork, control: ControlService) -> tuple[Job, Job, Job]:
    """Return jobs that were cancelled: one with a price, a free one of the same customer, and one of another."""
    async with work.transactions.begin():
        job_type = await work.job_types.create(new_job_type())
        paid, other = new_job(job_type.id), new_job(job_type.id)
        free = new_job(job_type.id, customer_id=paid.customer_id, billing_status=BillingStatus.NOT_BILLABLE)
        await work.jobs.create_many([paid, free, other])
    first, second, third = await control.cancel([paid.id, free.id, other.id], "", ALL_TENANTS)
    assert isinstance(first, Job)
    assert isinstance(second, Job)
    assert isinstance(third, Job)
    return first, second, third
