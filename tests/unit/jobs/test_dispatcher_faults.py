"""What is wrong with one list, one feed or one look has no part in the others."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import structlog
from prometheus_client import REGISTRY

from services.jobs.background import dispatcher as module
from services.jobs.background import feeding, window
from services.jobs.rules.entities import JobStatus, ListKey
from services.jobs.rules.job_types import Priority
from tests.support.jobs_examples import NOW
from tests.support.until import until
from tests.unit.jobs.test_dispatcher import MEDIUM, World, waiting, world

__all__ = ["world"]

MAIL = ListKey("mail", Priority.MEDIUM)


async def test_a_list_that_can_not_be_used_keeps_no_other_from_being_fed(world: World) -> None:
    world.lists.broken = {MEDIUM}
    await world.stored(3, withheld=True)
    mail = {job.id for job in await world.stored(3, withheld=True, queue="mail")}
    async with world.running():
        await until(lambda: len(world.lists.held[MAIL]) == 3)
        assert set(world.lists.pushed) == mail
        world.lists.broken = set()
        await until(lambda: len(world.lists.held[MEDIUM]) == 3)


async def test_what_a_list_refuses_is_withheld_and_the_rest_of_the_batch_is_pushed(world: World) -> None:
    world.lists.broken = {MEDIUM}
    jobs, mail = await world.stored(2), await world.stored(2, queue="mail")
    async with world.running():
        world.dispatcher.put(waiting([jobs[0], mail[0], jobs[1], mail[1]]))
        await until(lambda: world.lists.refusals >= 2)
        assert world.lists.pushed == [job.id for job in mail]
        await until(lambda: world.withholds(MEDIUM, world.types[jobs[0].job_type_id]))
        world.lists.broken = set()
        await until(lambda: len(world.lists.held[MEDIUM]) == 2)
    assert await world.withheld() == set()


async def test_scheduled_jobs_are_released_while_a_feed_hangs(world: World) -> None:
    hangs = asyncio.Event()

    async def lengths(_: Sequence[ListKey]) -> Mapping[ListKey, int]:
        hangs.set()
        await asyncio.Event().wait()
        return {}

    world.lists.lengths = lengths  # type: ignore[assignment,method-assign] # one that never returns
    await world.stored(1, withheld=True)
    async with world.running():
        await hangs.wait()
        [job] = await world.stored(1, status=JobStatus.SCHEDULED, run_at=NOW)
        world.dispatcher.expect(timedelta(0))
        await until(lambda: job.id in world.changes.job_ids)


async def test_what_is_expected_during_a_look_at_scheduled_jobs_is_not_forgotten(world: World) -> None:
    looked = world.work.jobs.next_scheduled
    looks: list[timedelta | None] = []

    async def next_scheduled() -> timedelta | None:
        looks.append(await looked())
        if len(looks) > 1:
            return looks[-1]
        # The first look is from just before the job was stored.
        world.dispatcher.expect(timedelta(seconds=0.2))
        return None

    world.work.jobs.next_scheduled = next_scheduled  # type: ignore[method-assign] # which takes its time
    run_at = datetime.now(UTC) + timedelta(seconds=0.2)
    [job] = await world.stored(1, status=JobStatus.SCHEDULED, run_at=run_at)
    async with world.running():
        await until(lambda: world.lists.pushed == [job.id])


async def test_an_error_that_nobody_foresaw_ends_neither_a_feed_nor_the_others(world: World) -> None:
    asked: list[ListKey] = []
    taken = world.work.jobs.take_withheld

    async def take_withheld(wanted: ListKey, *args: object, **values: object) -> object:
        asked.append(wanted)
        if wanted == MEDIUM and asked.count(MEDIUM) < 3:
            raise ValueError(wanted)
        return await taken(wanted, *args, **values)  # type: ignore[arg-type] # as they came

    world.work.jobs.take_withheld = take_withheld  # type: ignore[assignment,method-assign] # which fails twice
    await world.stored(1, withheld=True)
    await world.stored(1, withheld=True, queue="mail")
    async with world.running():
        await until(lambda: len(world.lists.pushed) == 2)
    assert asked.count(MEDIUM) >= 3


async def test_while_neither_queue_nor_database_answers_no_more_notes_are_kept_than_fit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NOTED_MAX", 3)
    before = REGISTRY.get_sample_value("innosystem_jobs_dispatch_lost_notes_total") or 0
    jobs = await world.stored(5)
    world.dispatcher.put(waiting(jobs[:2]))
    world.dispatcher.put(waiting(jobs[2:]))
    await world.dispatcher.flush()
    assert world.lists.pushed == [job.id for job in jobs[:3]]
    assert REGISTRY.get_sample_value("innosystem_jobs_dispatch_lost_notes_total") == before + 2


async def test_jobs_that_wait_although_there_is_room_are_shown_and_logged_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_STALLED_SECONDS", 0.05)
    world.lists.broken = {MEDIUM}
    await world.stored(1, withheld=True)
    labels = {"queue": "default", "priority": "MEDIUM"}

    def shown() -> float:
        feed.report()
        return REGISTRY.get_sample_value("innosystem_jobs_dispatch_stalled_seconds", labels) or 0

    with structlog.testing.capture_logs() as lines:
        async with world.running():
            await until(lambda: MEDIUM in world.dispatcher._feeds)
            feed = world.dispatcher._feeds[MEDIUM]
            await until(lambda: shown() > 0.05)
            feed.report()
            world.lists.broken = set()
            await until(lambda: shown() == 0)
    told = [line["event"] for line in lines if line.get("queue") == "default"]
    assert told == ["feed_stalled", "feed_resumed"]


async def test_a_list_that_holds_too_much_is_taken_back_from_and_fed_in_turns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "_EXCESS_SECONDS", 0.0)
    job_type = await world.job_type()
    many, few = UUID(int=1), UUID(int=2)
    async with world.running():
        await world.submit(1000, job_type, customer_id=many)
        await until(lambda: len(world.lists.held[MEDIUM]) == 1000)
        # It turned out to be slow.
        world.dispatcher._feeds[MEDIUM].window._rate = 1.0
        await world.submit(40, job_type, customer_id=many)
        await until(lambda: len(world.lists.held[MEDIUM]) == 16)
        late = await world.submit(2, job_type, customer_id=few)
        world.lists.taken(MEDIUM, 8)
        await until(lambda: set(late) <= set(world.lists.held[MEDIUM]))
        assert len(world.lists.held[MEDIUM]) <= 16
