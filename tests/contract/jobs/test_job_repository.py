"""What every job repository promises (D1)."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.entities import FIXED_BYTES_MAX, BillingStatus, JobStatus, Release, is_at_rest
from services.jobs.rules.job_types import Priority
from services.jobs.rules.resources import CREATED_AT, JOBS, STATUS
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import Failure
from services.jobs.rules.transitions.completion import BillingChange, Completion
from services.kit.data.corrupt import understood_by_key
from services.kit.data.errors import StillReferenced
from services.kit.query.page import ListQuery
from tests.contract.jobs.lives import claim, complete, read, stored
from tests.support.jobs_examples import MINUTE, NOW, new_job
from tests.support.jobs_work import BeginJobs


async def test_a_stored_job_is_read_back_as_it_was(begin: BeginJobs) -> None:
    [new] = await stored(begin, labels={"team": "blue"}, input_data='{"n": 12345678901234567890123}')
    job = await read(begin, new.id)
    for name in ("id", "customer_id", "labels", "priority", "billing_status", "input_data", "expires_at"):
        assert getattr(job, name) == getattr(new, name), name
    assert job.status is JobStatus.PENDING
    assert job.dispatched_at is not None
    assert job.created_at == job.queued_at


async def test_many_are_read_without_their_payloads(begin: BeginJobs) -> None:
    new = await stored(begin, 3)
    async with begin() as work:
        found = await work.jobs.get_many([new[0].id, new[2].id, uuid7()])
        payloads = await work.jobs.payloads([new[0].id])
    assert found.keys() == {new[0].id, new[2].id}
    assert understood_by_key(found)[new[0].id].input_data is None
    assert payloads[new[0].id].input_data == '{"n": 1}'


async def test_storing_a_job_again_leaves_the_first_as_it_was(begin: BeginJobs) -> None:
    [new] = await stored(begin)
    async with begin() as work:
        other = new_job(new.job_type_id)
        created = await work.jobs.create_many([replace(new, queue="other"), other])
        await work.commit()
    assert created.keys() == {other.id}
    assert (await read(begin, new.id)).queue == "default"


async def test_a_job_of_a_job_type_that_is_gone_is_refused(begin: BeginJobs) -> None:
    with pytest.raises(StillReferenced):
        async with begin() as work:
            await work.jobs.create_many([new_job(uuid7())])


async def test_a_job_type_with_jobs_can_not_be_deleted(begin: BeginJobs) -> None:
    [new] = await stored(begin)
    with pytest.raises(StillReferenced):
        async with begin() as work:
            await work.job_types.delete(new.job_type_id)


async def test_what_is_not_committed_is_gone(begin: BeginJobs) -> None:
    [new] = await stored(begin)
    async with begin() as work:
        another = new_job(new.job_type_id)
        await work.jobs.create_many([another])
    async with begin() as work:
        assert await work.jobs.get(another.id) is None


async def test_a_claim_answers_whole_jobs_in_its_order_and_makes_them_running(begin: BeginJobs) -> None:
    new = (await stored(begin, 3))[::-1]
    async with begin() as work:
        claimed = await work.jobs.claim(claim(new))
        await work.commit()
    assert [one.job.id for one in claimed.jobs] == [job.id for job in new]
    job = claimed.jobs[0].job
    assert (job.status, job.attempt, job.input_data) == (JobStatus.RUNNING, 1, '{"n": 1}')
    assert job.started_at is not None
    assert job.lease_expires_at == job.started_at + MINUTE
    assert claimed.jobs[0].processing_logic_id == "echo"


async def test_a_claim_leaves_out_what_is_not_pending(begin: BeginJobs) -> None:
    new = await stored(begin, 2)
    async with begin() as work:
        await work.jobs.claim(claim(new[:1]))
        again = await work.jobs.claim(claim([*new, new[1], new_job(uuid7())]))
    assert [one.job.id for one in again.jobs] == [new[1].id]


async def test_the_same_claim_again_answers_the_same_jobs(begin: BeginJobs) -> None:
    new = await stored(begin, 2)
    wish = claim(new)
    async with begin() as work:
        first = await work.jobs.claim(wish)
        assert await work.jobs.claim(wish) == first


async def test_jobs_that_do_not_fit_are_deferred_and_stay_pending(begin: BeginJobs) -> None:
    new = await stored(begin, 3, input_bytes=600)
    async with begin() as work:
        claimed = await work.jobs.claim(claim(new, bytes_max=1000 + FIXED_BYTES_MAX))
        rest = await work.jobs.claim(claim(new[1:], bytes_max=1200 + 2 * FIXED_BYTES_MAX))
    assert [one.job.id for one in claimed.jobs] == [new[0].id]
    assert claimed.deferred == (new[1].id, new[2].id)
    assert [one.job.id for one in rest.jobs] == [new[1].id, new[2].id]


async def test_a_job_larger_than_the_answer_is_claimed_alone(begin: BeginJobs) -> None:
    new = await stored(begin, 2, input_bytes=5000)
    async with begin() as work:
        claimed = await work.jobs.claim(claim(new, bytes_max=1000))
    assert (len(claimed.jobs), len(claimed.deferred)) == (1, 1)


async def test_a_success_stores_output_and_price_and_ends_the_lease(begin: BeginJobs) -> None:
    [new] = await stored(begin)
    wish = claim([new])
    async with begin() as work:
        await work.jobs.claim(wish)
        done = Completion(job_id=new.id, lease_id=wish.lease_id, outcome=Payload('{"a": 1}', 8))
        await complete(work, new.id, done)
        await work.commit()
    job = await read(begin, new.id)
    assert (job.status, job.billing_status) == (JobStatus.SUCCEEDED, BillingStatus.CHARGE_DUE)
    assert (job.output_data, job.cost_cents, job.output_bytes) == ('{"a": 1}', 5, 8)
    assert (job.lease_id, job.completed_lease_id) == (None, wish.lease_id)
    assert job.completion_digest == done.digest
    assert job.completed_at is not None


METERED: dict[str, Any] = {
    "billing_status": BillingStatus.HELD,
    "hold_id": uuid7(),
    "estimated_cost_cents": 10,
    "metering_unit": "page",
    "unit_price_micro_cents": 2_000_000,
    "standard_cost_cents": 4,
}


@pytest.mark.parametrize(
    ("usage_units", "cost_cents", "billing_status"),
    [
        (3, 6, BillingStatus.CHARGE_DUE),
        (2**63 - 1, 10, BillingStatus.CHARGE_DUE),
        (None, 4, BillingStatus.CHARGE_DUE),
        (0, 0, BillingStatus.RELEASE_DUE),
    ],
)
async def test_a_metered_job_stores_its_frozen_prices_its_usage_and_what_that_costs(
    begin: BeginJobs, usage_units: int | None, cost_cents: int, billing_status: BillingStatus
) -> None:
    [new] = await stored(begin, **METERED)
    wish = claim([new])
    async with begin() as work:
        claimed = await work.jobs.claim(wish)
        done = Completion(job_id=new.id, lease_id=wish.lease_id, outcome=Payload("1", 1), usage_units=usage_units)
        await complete(work, new.id, done)
        await work.commit()
    job = await read(begin, new.id)
    assert new.metering == claimed.jobs[0].job.metering == job.metering
    assert (job.usage_units, job.cost_cents, job.billing_status) == (usage_units, cost_cents, billing_status)


async def test_the_hold_of_a_metered_job_that_used_nothing_is_due_for_release_and_then_it_is_over(
    begin: BeginJobs,
) -> None:
    [new] = await stored(begin, **METERED)
    wish = claim([new])
    async with begin() as work:
        await work.jobs.claim(wish)
        done = Completion(job_id=new.id, lease_id=wish.lease_id, outcome=Payload("1", 1), usage_units=0)
        await complete(work, new.id, done)
        assert await work.jobs.take_unsettled(5, MINUTE, MINUTE) == [Release(METERED["hold_id"], new.id)]
        await work.jobs.apply([BillingChange(job_id=new.id, billing_status=BillingStatus.RELEASED)])
        await work.commit()
    assert is_at_rest(await read(begin, new.id))


async def test_a_failure_stores_its_error_and_no_price(begin: BeginJobs) -> None:
    [new] = await stored(begin)
    wish = claim([new])
    failure = Failure(type="ValueError", message="no", retryable=True)
    async with begin() as work:
        await work.jobs.claim(wish)
        await complete(work, new.id, Completion(job_id=new.id, lease_id=wish.lease_id, outcome=failure))
        await work.commit()
    job = await read(begin, new.id)
    assert (job.status, job.billing_status) == (JobStatus.FAILED, BillingStatus.RELEASED)
    assert job.cost_cents is None
    assert job.error is not None
    assert (job.error.type, job.error.message, job.error.attempt) == ("ValueError", "no", 1)
    assert job.error.at == job.completed_at


async def test_a_settlement_stores_the_transaction(begin: BeginJobs) -> None:
    [new] = await stored(begin)
    wish = claim([new])
    transaction_id = uuid7()
    async with begin() as work:
        await work.jobs.claim(wish)
        await complete(work, new.id, Completion(job_id=new.id, lease_id=wish.lease_id, outcome=Payload("1", 0)))
        paid = BillingChange(job_id=new.id, billing_status=BillingStatus.CHARGED, transaction_id=transaction_id)
        await work.jobs.apply([paid])
        await work.commit()
    job = await read(begin, new.id)
    assert (job.billing_status, job.transaction_id) == (BillingStatus.CHARGED, transaction_id)


async def test_every_change_gives_a_new_etag(begin: BeginJobs) -> None:
    [new] = await stored(begin)
    before = await read(begin, new.id)
    async with begin() as work:
        await work.jobs.claim(claim([new]))
        await work.commit()
    assert (await read(begin, new.id)).etag != before.etag


async def test_pages_hold_each_job_once_in_order(begin: BeginJobs) -> None:
    new = await stored(begin, 5)
    query = ListQuery(JOBS.default_ordering, page_size=2)
    seen: list[UUID] = []
    while True:
        async with begin() as work:
            page = await work.jobs.list_page(query)
        seen += [job.id for job in page.items]
        if page.next_cursor is None:
            break
        query = replace(query, cursor=page.next_cursor)
    assert sorted(seen) == sorted(job.id for job in new)


async def test_lists_are_filtered(begin: BeginJobs) -> None:
    new = await stored(begin, 2)
    async with begin() as work:
        await work.jobs.claim(claim(new[:1]))
        query = ListQuery((CREATED_AT.ascending(), JOBS.by_name["id"].ascending()), STATUS.is_(JobStatus.RUNNING))
        page = await work.jobs.list_page(query)
    assert [job.id for job in page.items] == [new[0].id]


async def test_queues_are_counted_by_priority(begin: BeginJobs) -> None:
    new = await stored(begin, 3, queue="mail", priority=Priority.HIGH)
    async with begin() as work:
        await work.jobs.claim(claim(new[:1]))
        await work.jobs.withhold([new[1].id])
        stats = await work.jobs.stats(())
    assert [(one.queue, one.priority) for one in stats] == [("mail", priority) for priority in Priority]
    high = stats[0]
    assert (high.waiting, high.dispatched, high.running) == (2, 1, 1)
    assert high.scheduled == 0
    assert high.oldest_age is not None
    assert high.submitted_per_second == 3 / 60
    assert stats[1].waiting == 0


async def test_jobs_for_later_are_counted_beside_the_waiting_ones(begin: BeginJobs) -> None:
    await stored(begin, 2, queue="later", priority=Priority.LOW, status=JobStatus.SCHEDULED, run_at=NOW + MINUTE)
    await stored(begin, 1, queue="later", priority=Priority.LOW)
    async with begin() as work:
        stats = await work.jobs.stats(["later"])
    assert [(one.priority, one.scheduled, one.waiting) for one in stats] == [
        (Priority.HIGH, 0, 0),
        (Priority.MEDIUM, 0, 0),
        (Priority.LOW, 2, 1),
    ]


async def test_jobs_that_are_not_final_are_counted_by_customer_those_with_the_most_first(begin: BeginJobs) -> None:
    many, few = uuid7(), uuid7()
    new = await stored(begin, 4, customer_id=many)
    other = await stored(begin, 2, customer_id=few)
    async with begin() as work:
        await work.jobs.claim(claim(new[:1]))
        await work.jobs.withhold([new[1].id])
        counted = await work.jobs.count_unfinished(1000)
        assert (counted[many], counted[few]) == (4, 2)
        [(most, jobs)] = (await work.jobs.count_unfinished(1)).items()
        assert jobs >= 4
        assert most != few
    assert other


async def test_a_queue_asked_for_is_counted_even_when_it_is_empty(begin: BeginJobs) -> None:
    async with begin() as work:
        stats = await work.jobs.stats(["none"])
    assert [one.waiting for one in stats] == [0, 0, 0]
