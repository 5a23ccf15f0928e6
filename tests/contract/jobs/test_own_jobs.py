"""Which jobs exist for a caller, by every job repository."""

from datetime import timedelta

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.entities import BillingStatus
from services.jobs.rules.resources import CUSTOMER_ID, QUEUE
from services.kit.auth.tenants import ALL_TENANTS, Tenants
from tests.contract.jobs.lives import settled, stored, succeeded
from tests.support.jobs_work import BeginJobs


async def test_jobs_are_own_by_customer_and_queue(begin: BeginJobs) -> None:
    [ours] = await stored(begin, queue="images")
    [theirs] = await stored(begin, queue="images")
    named = [ours.id, theirs.id, uuid7()]
    async with begin() as work:
        found = {
            name: await work.jobs.own(named, tenants)
            for name, tenants in {
                "all": ALL_TENANTS,
                "ours": Tenants(frozenset([ours.customer_id]), None),
                "queue": Tenants(None, frozenset(["images"])),
                "another queue": Tenants(frozenset([ours.customer_id]), frozenset(["default"])),
                "nothing": Tenants(frozenset(), None),
            }.items()
        }
    both = {ours.id, theirs.id}
    assert found == {"all": both, "ours": {ours.id}, "queue": both, "another queue": set(), "nothing": set()}


async def test_a_job_that_was_charged_and_deleted_is_still_its_customers(begin: BeginJobs) -> None:
    job = await succeeded(begin)
    await settled(begin, job.id, BillingStatus.CHARGED)
    async with begin() as work:
        assert await work.jobs.delete_many(await work.jobs.lock_finished(timedelta(days=-1), 10)) == 1
        own = [await work.jobs.own([job.id], Tenants(frozenset([one]), None)) for one in (job.customer_id, uuid7())]
        of_queue = await work.jobs.own([job.id], Tenants(None, frozenset([job.queue])))
    assert own == [{job.id}, set()]
    assert of_queue == set()


@pytest.mark.parametrize("full", [True, False])
async def test_a_job_is_read_only_if_it_meets_the_condition(begin: BeginJobs, full: bool) -> None:
    [new] = await stored(begin)
    own = Tenants(frozenset([new.customer_id]), frozenset([new.queue])).narrowing(CUSTOMER_ID, QUEUE).specification
    other = Tenants(frozenset([uuid7()]), None).narrowing(CUSTOMER_ID, QUEUE).specification
    async with begin() as work:
        job = await work.jobs.get(new.id, own, full=full)
        assert job is not None
        assert (job.input_data is not None) is full
        assert await work.jobs.get(new.id, other, full=full) is None
