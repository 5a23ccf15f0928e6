"""What every job repository promises about handing jobs to the queue, now or later (D1)."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from uuid_utils.compat import uuid7

from services.jobs.rules.entities import JobStatus, Lane, ListKey, Turns
from services.jobs.rules.job_types import Priority
from services.kit.data.corrupt import understood
from tests.contract.jobs.lives import DEFAULT, claim, read, running, stored, succeeded, taken
from tests.support.jobs_examples import LATER, NOW, new_job, new_job_type
from tests.support.jobs_work import BeginJobs

MAIL = ListKey("mail", Priority.HIGH)
IN_THE_PAST = -timedelta(seconds=1)


async def test_jobs_that_are_withheld_are_stored_as_still_to_be_handed_over(begin: BeginJobs) -> None:
    async with begin() as work:
        job_type = await work.job_types.create(new_job_type())
        mail, other = new_job(job_type.id, queue="mail", priority=Priority.HIGH), new_job(job_type.id, queue="mail")
        created = await work.jobs.create_many([mail, other], {mail.id})
        assert await work.jobs.withheld_lists() == [MAIL]
    assert created[mail.id].dispatched_at is None
    assert created[other.id].dispatched_at is not None


async def test_a_scheduled_job_is_stored_as_it_is_and_handed_over_to_nothing(begin: BeginJobs) -> None:
    [new] = await stored(begin, status=JobStatus.SCHEDULED, run_at=LATER)
    job = await read(begin, new.id)
    assert (job.status, job.run_at, job.dispatched_at) == (JobStatus.SCHEDULED, LATER, None)
    async with begin() as work:
        assert await work.jobs.withheld_lists() == []
        assert await work.jobs.dispatched_lists() == []
        assert (await work.jobs.claim(claim([new]))).jobs == ()


async def test_lists_are_named_once_in_order_however_many_jobs_wait(begin: BeginJobs) -> None:
    for queue, priority in [("mail", Priority.LOW), ("default", Priority.MEDIUM), ("mail", Priority.HIGH)]:
        await stored(begin, 3, withheld=True, queue=queue, priority=priority)
    await stored(begin, 2, queue="handed-over")
    await stored(begin, 2)
    withheld = [DEFAULT, MAIL, ListKey("mail", Priority.LOW)]
    async with begin() as work:
        assert await work.jobs.withheld_lists() == withheld
        assert await work.jobs.dispatched_lists() == [DEFAULT, ListKey("handed-over", Priority.MEDIUM)]


async def test_withheld_jobs_are_taken_once_and_are_handed_over_then(begin: BeginJobs) -> None:
    new = await stored(begin, 2, withheld=True)
    async with begin() as work:
        found = (await work.jobs.take_withheld(DEFAULT, 10)).jobs
        assert await work.jobs.take_withheld(DEFAULT, 10) == Turns([], lanes=0, following=None)
        await work.commit()
    assert {one.id for one in found} == {job.id for job in new}
    assert {one.list for one in found} == {DEFAULT}
    assert (await read(begin, new[0].id)).dispatched_at is not None
    async with begin() as work:
        assert await work.jobs.withheld_lists() == []


async def test_only_the_jobs_of_the_list_are_taken(begin: BeginJobs) -> None:
    await stored(begin, withheld=True, queue="mail")
    await stored(begin, withheld=True, priority=Priority.HIGH)
    async with begin() as work:
        assert await work.jobs.take_withheld(DEFAULT, 10) == Turns([], lanes=0, following=None)


async def test_customers_take_turns_and_the_oldest_job_of_each_is_first(begin: BeginJobs) -> None:
    busy, quiet = uuid7(), uuid7()
    many = await stored(begin, 6, withheld=True, customer_id=busy)
    few = await stored(begin, 2, withheld=True, customer_id=quiet)
    async with begin() as work:
        found = [one.id for one in await taken(work, 4)]
    assert set(found[:2]) == {many[0].id, few[0].id}
    assert set(found[2:4]) == {many[1].id, few[1].id}
    assert found[4:] == [job.id for job in many[2:]]


async def test_no_customer_is_left_without_a_turn_by_a_small_limit(begin: BeginJobs) -> None:
    owners = {}
    for _ in range(5):
        for job in await stored(begin, 3, withheld=True, customer_id=uuid7()):
            owners[job.id] = job.customer_id
    async with begin() as work:
        found = await taken(work, 2)
    for turn in range(3):
        one_each = found[5 * turn : 5 * turn + 5]
        assert Counter(owners[one.id] for one in one_each) == dict.fromkeys(owners.values(), 1)
    assert len(found) == 15


async def test_a_feed_goes_on_where_the_last_one_ended_and_names_the_lane_that_is_next(begin: BeginJobs) -> None:
    lanes = []
    for _ in range(5):
        [job, *_] = await stored(begin, 2, withheld=True, customer_id=uuid7())
        lanes.append(Lane(job.job_type_id, job.customer_id))
    lanes.sort()
    first = None
    async with begin() as work:
        for following, count in ((lanes[2], 2), (lanes[4], 2), (None, 1)):
            turns = await work.jobs.take_withheld(DEFAULT, 2, first=first)
            assert (turns.following, turns.lanes, len(turns.jobs)) == (following, count, count)
            first = turns.following


async def test_all_customers_that_have_a_turn_have_as_many_whole_turns_as_there_is_room_for(begin: BeginJobs) -> None:
    one, other = uuid7(), uuid7()
    await stored(begin, 9, withheld=True, customer_id=one)
    await stored(begin, 9, withheld=True, customer_id=other)
    async with begin() as work:
        turns = await work.jobs.take_withheld(DEFAULT, 7)
    assert (len(turns.jobs), turns.lanes, turns.following) == (6, 2, None)


async def test_a_type_that_is_left_out_takes_no_lane_from_others(begin: BeginJobs) -> None:
    paused = [(await stored(begin, 2, withheld=True))[0].job_type_id for _ in range(3)]
    [other] = await stored(begin, withheld=True)
    async with begin() as work:
        turns = await work.jobs.take_withheld(DEFAULT, 1, excluded=paused)
    assert [one.id for one in turns.jobs] == [other.id]
    assert (turns.lanes, turns.following) == (1, None)


async def test_jobs_of_paused_types_are_left_and_are_taken_when_they_are_resumed(begin: BeginJobs) -> None:
    [paused] = await stored(begin, withheld=True)
    [other] = await stored(begin, withheld=True)
    async with begin() as work:
        job_type = await work.job_types.get(paused.job_type_id)
        assert job_type is not None
        job_type = await work.job_types.update(replace(job_type, paused=True))
        paused_types = await work.pauses.paused_types()
        assert paused_types == {job_type.id}
        assert [one.id for one in await taken(work, 10, excluded=paused_types)] == [other.id]
        await work.job_types.update(replace(job_type, paused=False))
        assert [one.id for one in await taken(work, 10)] == [paused.id]
        assert await work.pauses.paused_types() == set()


async def test_the_lists_of_a_paused_queue_are_not_named_until_it_is_resumed(begin: BeginJobs) -> None:
    await stored(begin, withheld=True, queue="mail", priority=Priority.HIGH)
    await stored(begin, withheld=True)
    async with begin() as work:
        await work.pauses.set_queue("mail", paused=True)
        await work.pauses.set_queue("empty", paused=True)
        assert await work.pauses.paused_queues() == {"empty", "mail"}
        assert await work.jobs.withheld_lists() == [DEFAULT]
        await work.pauses.set_queue("mail", paused=False)
        assert await work.pauses.paused_queues() == {"empty"}
        assert await work.jobs.withheld_lists() == [DEFAULT, MAIL]


async def test_a_claim_withholds_jobs_of_a_paused_queue(begin: BeginJobs) -> None:
    [mail] = await stored(begin, queue="mail", priority=Priority.HIGH)
    [other] = await stored(begin)
    async with begin() as work:
        await work.pauses.set_queue("mail", paused=True)
        claimed = await work.jobs.claim(claim([mail, other]))
        assert [one.job.id for one in claimed.jobs] == [other.id]
        await work.pauses.set_queue("mail", paused=False)
        assert await work.jobs.withheld_lists() == [MAIL]
        await work.commit()
    assert (await read(begin, mail.id)).status is JobStatus.PENDING


async def test_a_claim_withholds_jobs_of_a_paused_type(begin: BeginJobs) -> None:
    [paused] = await stored(begin)
    [other] = await stored(begin)
    async with begin() as work:
        job_type = await work.job_types.get(paused.job_type_id)
        assert job_type is not None
        await work.job_types.update(replace(job_type, paused=True))
        claimed = await work.jobs.claim(claim([paused, other]))
        assert [one.job.id for one in claimed.jobs] == [other.id]
        await work.commit()
    job = await read(begin, paused.id)
    assert (job.status, job.dispatched_at, job.attempt) == (JobStatus.PENDING, None, 0)


async def test_a_claim_leaves_out_what_has_expired(begin: BeginJobs) -> None:
    [expired] = await stored(begin, expires_at=NOW)
    [other] = await stored(begin)
    async with begin() as work:
        claimed = await work.jobs.claim(claim([expired, other]))
        await work.commit()
    assert [one.job.id for one in claimed.jobs] == [other.id]
    assert claimed.deferred == ()
    assert (await read(begin, expired.id)).status is JobStatus.PENDING


async def test_jobs_handed_over_before_are_named_oldest_first_and_within_the_limit(begin: BeginJobs) -> None:
    new = await stored(begin, 4)
    await stored(begin, withheld=True)
    await stored(begin, queue="mail")
    await running(begin)
    async with begin() as work:
        ids = [job.id for job in new]
        assert await work.jobs.dispatched(DEFAULT, IN_THE_PAST, 10) == ids
        assert await work.jobs.dispatched(DEFAULT, IN_THE_PAST, 2) == ids[:2]
        assert await work.jobs.dispatched(DEFAULT, timedelta(hours=1), 10) == []


async def test_of_any_jobs_those_are_known_that_wait_and_are_handed_over(begin: BeginJobs) -> None:
    [handed_over], [withheld] = await stored(begin), await stored(begin, withheld=True)
    [[at_work], _] = await running(begin)
    ids = [handed_over.id, withheld.id, at_work.id, uuid7()]
    async with begin() as work:
        assert await work.jobs.still_dispatched(ids) == {handed_over.id}


async def test_only_waiting_jobs_can_be_withheld(begin: BeginJobs) -> None:
    [waiting] = await stored(begin)
    [[at_work], _] = await running(begin)
    before = await read(begin, waiting.id)
    async with begin() as work:
        await work.jobs.withhold([waiting.id, at_work.id])
        await work.commit()
    after = await read(begin, waiting.id)
    assert (after.dispatched_at, after.version) == (None, before.version)
    assert (await read(begin, at_work.id)).dispatched_at is not None


async def test_scheduled_jobs_wait_when_their_time_has_come_and_are_still_to_be_handed_over(begin: BeginJobs) -> None:
    [due] = await stored(begin, status=JobStatus.SCHEDULED, run_at=NOW)
    [later] = await stored(begin, status=JobStatus.SCHEDULED, run_at=LATER)
    async with begin() as work:
        assert len(await work.jobs.release_scheduled(10)) == 1
        assert await work.jobs.release_scheduled(10) == []
        assert await work.jobs.withheld_lists() == [DEFAULT]
        await work.commit()
    job = await read(begin, due.id)
    assert (job.status, job.dispatched_at, job.version) == (JobStatus.PENDING, None, 2)
    assert job.queued_at == NOW
    assert (await read(begin, later.id)).status is JobStatus.SCHEDULED


async def test_scheduled_jobs_that_are_released_together_wait_in_the_order_of_their_times(begin: BeginJobs) -> None:
    times = {NOW + timedelta(seconds=seconds) for seconds in (3, 1, 2)}
    jobs = [(await stored(begin, status=JobStatus.SCHEDULED, run_at=run_at))[0] for run_at in times]
    async with begin() as work:
        await work.jobs.release_scheduled(10)
        found = await work.jobs.get_many([one.id for one in jobs])
    assert {job.queued_at for job in understood(found.values())} == times


async def test_scheduled_jobs_are_released_up_to_a_limit(begin: BeginJobs) -> None:
    await stored(begin, 3, status=JobStatus.SCHEDULED, run_at=NOW)
    async with begin() as work:
        assert [len(await work.jobs.release_scheduled(2)) for _ in range(3)] == [2, 1, 0]


async def test_it_is_known_how_long_it_is_until_the_next_scheduled_job(begin: BeginJobs) -> None:
    async with begin() as work:
        assert await work.jobs.next_scheduled() is None
    await stored(begin, status=JobStatus.SCHEDULED, run_at=LATER)
    async with begin() as work:
        wait = await work.jobs.next_scheduled()
        assert wait is not None
        assert wait > timedelta(days=365)
    await stored(begin, status=JobStatus.SCHEDULED, run_at=NOW)
    async with begin() as work:
        wait = await work.jobs.next_scheduled()
        assert wait is not None
        assert wait < timedelta(0)


async def test_a_paused_queue_is_shown_even_without_jobs_and_no_other_is(begin: BeginJobs) -> None:
    await stored(begin)
    async with begin() as work:
        await work.pauses.set_queue("mail", paused=True)
        found = {one.queue: one.paused for one in await work.jobs.stats(())}
        [mail, *_] = await work.jobs.stats(["mail"])
        await work.pauses.set_queue("mail", paused=False)
        again = {one.queue for one in await work.jobs.stats(())}
    assert found == {"default": False, "mail": True}
    assert (mail.paused, mail.waiting, mail.oldest_age) == (True, 0, None)
    assert again == {"default"}


async def test_versions_are_those_of_the_jobs_that_exist(begin: BeginJobs) -> None:
    [waiting] = await stored(begin)
    done = await succeeded(begin)
    async with begin() as work:
        assert await work.jobs.versions([waiting.id, done.id, uuid7()]) == {waiting.id: 1, done.id: 3}
