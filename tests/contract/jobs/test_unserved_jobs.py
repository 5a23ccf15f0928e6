"""What every repository promises about jobs that the claiming runner has no handler for."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from services.jobs.rules.backlogs import BacklogState, Count, Note
from services.jobs.rules.entities import Backlog, Job, JobStatus, Lane, NewJob
from services.jobs.rules.job_types import Priority
from tests.contract.jobs.lives import DEFAULT, claim, read
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_work import BeginJobs

OTHERS = frozenset({"other"})


async def submitted(begin: BeginJobs, handler: str, count: int = 1, **values: Any) -> list[NewJob]:
    """Store jobs of a new type with this handler."""
    async with begin() as work:
        kind = await work.job_types.create(new_job_type(processing_logic_id=handler))
        new = [new_job(kind.id, **values) for _ in range(count)]
        await work.jobs.create_many(new)
        await work.commit()
    return new


def backlog_of(job: NewJob) -> Backlog:
    return Backlog(job.queue, job.job_type_id)


async def noted(begin: BeginJobs, *notes: Note) -> None:
    async with begin() as work:
        await work.unserved.note(notes)
        await work.commit()


async def due(begin: BeginJobs) -> list[BacklogState]:
    async with begin() as work:
        return await work.unserved.due(10)


async def test_a_job_whose_handler_the_runner_lacks_waits_on_withheld_and_others_are_granted(begin: BeginJobs) -> None:
    [mine], [foreign] = await submitted(begin, "mine"), await submitted(begin, "foreign")
    async with begin() as work:
        claimed = await work.jobs.claim(replace(claim([foreign, mine]), handlers=frozenset({"mine"})))
        await work.commit()
    assert [one.job.id for one in claimed.jobs] == [mine.id]
    assert claimed.unserved == (backlog_of(foreign),)
    waiting: Job = await read(begin, foreign.id)
    assert (waiting.status, waiting.attempt, waiting.started_at, waiting.dispatched_at) == (
        JobStatus.PENDING,
        0,
        None,
        None,
    )


async def test_a_runner_that_does_not_say_what_it_serves_gets_all_as_before(begin: BeginJobs) -> None:
    jobs = await submitted(begin, "mine") + await submitted(begin, "foreign")
    async with begin() as work:
        claimed = await work.jobs.claim(claim(jobs))
    assert [one.job.id for one in claimed.jobs] == [job.id for job in jobs]
    assert claimed.unserved == ()


async def test_a_claim_that_is_repeated_with_other_handlers_is_answered_the_same_jobs(begin: BeginJobs) -> None:
    jobs = await submitted(begin, "mine", 2)
    wish = claim(jobs)
    async with begin() as work:
        first = await work.jobs.claim(replace(wish, handlers=frozenset({"mine"})))
        again = await work.jobs.claim(replace(wish, handlers=OTHERS))
    assert [one.job.id for one in again.jobs] == [one.job.id for one in first.jobs] == [job.id for job in jobs]
    assert again.unserved == ()


async def test_what_is_not_served_takes_no_room_from_what_is(begin: BeginJobs) -> None:
    [foreign] = await submitted(begin, "foreign", input_bytes=90)
    jobs = await submitted(begin, "mine", 2, input_bytes=60)
    wish = replace(claim([foreign, *jobs], bytes_max=100), handlers=frozenset({"mine"}))
    async with begin() as work:
        claimed = await work.jobs.claim(wish)
    assert [one.job.id for one in claimed.jobs] == [jobs[0].id]
    assert (claimed.deferred, claimed.unserved) == ((jobs[1].id,), (backlog_of(foreign),))


async def test_a_backlog_is_there_from_the_first_refusal_and_counts_what_becomes_of_its_jobs(begin: BeginJobs) -> None:
    [job], [other] = await submitted(begin, "foreign"), await submitted(begin, "mine")
    backlog = backlog_of(job)
    await noted(begin, Note(backlog_of(other), granted=2, served=True))
    assert await due(begin) == []
    await noted(begin, Note(backlog, refused=3), Note(backlog_of(other), granted=1))
    await noted(begin, Note(backlog, refused=1, granted=2))
    assert await due(begin) == [BacklogState(backlog, "foreign", 4, 2, timedelta(0), served=False, calm=False)]
    async with begin() as work:
        assert await work.unserved.backlogs() == {backlog: "foreign"}
        assert await work.pauses.unserved() == {backlog}


async def test_a_backlog_that_was_fed_waits_and_counts_anew_unless_a_runner_with_the_handler_comes(
    begin: BeginJobs,
) -> None:
    [job] = await submitted(begin, "foreign")
    backlog = backlog_of(job)
    await noted(begin, Note(backlog, refused=3))
    async with begin() as work:
        await work.unserved.fed(backlog, MINUTE)
        await work.commit()
    assert await due(begin) == []
    await noted(begin, Note(backlog, served=True))
    assert await due(begin) == [BacklogState(backlog, "foreign", 0, 0, MINUTE, served=True, calm=False)]


async def test_a_backlog_that_is_dropped_is_forgotten(begin: BeginJobs) -> None:
    [job], [other] = await submitted(begin, "foreign"), await submitted(begin, "other")
    await noted(begin, Note(backlog_of(job), refused=1), Note(backlog_of(other), refused=1))
    async with begin() as work:
        await work.unserved.drop(backlog_of(job))
        assert await work.unserved.backlogs() == {backlog_of(other): "other"}
        assert await work.pauses.unserved() == {backlog_of(other)}


async def withheld_of_three_types(begin: BeginJobs, customer_ids: Sequence[UUID]) -> tuple[UUID, list[NewJob]]:
    """Withhold three jobs of each customer and type; return the type in the middle and all jobs."""
    async with begin() as work:
        kinds = [await work.job_types.create(new_job_type()) for _ in range(3)]
        jobs = [new_job(kind.id, customer_id=one) for kind in kinds for one in customer_ids for _ in range(3)]
        await work.jobs.create_many(jobs, {job.id for job in jobs})
        await work.commit()
    return sorted(kind.id for kind in kinds)[1], jobs


async def test_the_jobs_of_one_type_are_taken_alone_up_to_a_limit_and_in_turns(begin: BeginJobs) -> None:
    mine = sorted(uuid7() for _ in range(2))
    wanted, jobs = await withheld_of_three_types(begin, mine)
    async with begin() as work:
        four = await work.jobs.take_withheld(DEFAULT, 4, only=wanted)
        rest = await work.jobs.take_withheld(DEFAULT, 10, only=wanted)
        none = await work.jobs.take_withheld(DEFAULT, 10, only=wanted)
    taken = {one.id for one in (*four.jobs, *rest.jobs)}
    assert taken == {job.id for job in jobs if job.job_type_id == wanted}
    customers = {job.id: job.customer_id for job in jobs}
    assert sorted(customers[one.id] for one in four.jobs) == sorted([*mine, *mine])
    assert none.jobs == []


async def test_the_turns_of_one_type_go_on_where_they_ended(begin: BeginJobs) -> None:
    mine = sorted(uuid7() for _ in range(5))
    wanted, jobs = await withheld_of_three_types(begin, mine)
    async with begin() as work:
        three = await work.jobs.take_withheld(DEFAULT, 3, only=wanted)
        two = await work.jobs.take_withheld(DEFAULT, 3, first=three.following, only=wanted)
    customers = {job.id: job.customer_id for job in jobs if job.job_type_id == wanted}
    assert [sorted(customers[one.id] for one in turns.jobs) for turns in (three, two)] == [mine[:3], mine[3:]]
    assert three.following == Lane(wanted, mine[3])
    assert two.following is None


async def test_neither_a_paused_queue_nor_a_paused_type_is_fed(begin: BeginJobs) -> None:
    [job] = await submitted(begin, "foreign", queue="night")
    await noted(begin, Note(backlog_of(job), refused=1))
    async with begin() as work:
        await work.pauses.set_queue("night", paused=True)
        assert await work.unserved.due(10) == []
        await work.pauses.set_queue("night", paused=False)
        kind = await work.job_types.get(job.job_type_id)
        assert kind is not None
        await work.job_types.update(replace(kind, paused=True))
        assert await work.unserved.due(10) == []


async def test_the_counts_of_queues_say_what_no_runner_serves(begin: BeginJobs) -> None:
    jobs = await submitted(begin, "foreign", 2)
    await submitted(begin, "mine")
    async with begin() as work:
        claimed = await work.jobs.claim(replace(claim([jobs[0]]), handlers=frozenset({"mine"})))
        await work.unserved.note([Note(backlog, refused=1) for backlog in claimed.unserved])
        await work.commit()
    async with begin() as work:
        assert await work.unserved.counts() == [Count(DEFAULT, "foreign", 2)]
        stats = {one.priority: one for one in await work.jobs.stats(())}
    assert (stats[Priority.MEDIUM].waiting, stats[Priority.MEDIUM].unserved) == (3, 2)
    assert stats[Priority.MEDIUM].unserved_handlers == ("foreign",)
    assert (stats[Priority.HIGH].unserved, stats[Priority.HIGH].unserved_handlers) == (0, ())
    await noted(begin, Note(backlog_of(jobs[0]), served=True))
    async with begin() as work:
        assert await work.unserved.counts() == []
        assert all(not one.unserved for one in await work.jobs.stats(()))


async def test_what_is_known_of_a_deleted_job_type_is_of_no_account(begin: BeginJobs) -> None:
    await noted(begin, Note(Backlog("default", uuid7()), refused=1))
    async with begin() as work:
        assert await work.unserved.backlogs() == {}
