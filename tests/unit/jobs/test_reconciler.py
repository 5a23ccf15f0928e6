"""The comparison of lists with the database, with lists in memory and a turn that tests give."""

from datetime import timedelta
from uuid import UUID

import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from services.jobs.background import reconciler as module
from services.jobs.background.reconciler import Reconciler
from services.jobs.rules.entities import ListKey, NewJob, Waiting
from services.jobs.rules.job_types import Priority
from services.jobs.rules.transitions.leasing import Claim
from services.jobs.usecases.ports import QueueUnavailable
from services.kit.data.errors import TooCostly
from services.kit.data.transactions.memory import MemoryTransactions
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_lists import ListsForTests
from tests.support.jobs_work import memory_work

MEDIUM = ListKey("default", Priority.MEDIUM)
APART = 5.0


class Clock:
    """Stands in for `time` in the module."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class World:
    """A database and lists, both in memory, and reconcilers between them."""

    def __init__(self) -> None:
        self.transactions = MemoryTransactions()
        self.work = memory_work(self.transactions)
        self.lists = ListsForTests()
        self.reconciler = self.another()

    def another(self, window: int = 100) -> Reconciler:
        """Return the reconciler of one more replica."""
        return Reconciler(
            self.transactions,
            self.work.jobs,
            self.lists,
            window=window,
            apart=timedelta(seconds=APART),
        )

    async def stored(self, count: int = 1, **values: object) -> list[NewJob]:
        """Store jobs as dispatched."""
        async with self.transactions.begin():
            job_type = await self.work.job_types.create(new_job_type())
            jobs = [new_job(job_type.id, **values) for _ in range(count)]
            await self.work.jobs.create_many(jobs)
        return jobs

    async def pushed(self, jobs: list[NewJob]) -> list[UUID]:
        """Push jobs and return their IDs."""
        await self.lists.push([Waiting(job.id, job.queue, job.priority, job.expires_at) for job in jobs])
        return [job.id for job in jobs]

    async def claimed(self, *job_ids: UUID) -> None:
        """Has a runner claim jobs."""
        async with self.transactions.begin():
            await self.work.jobs.claim(Claim(job_ids, uuid7(), uuid7(), MINUTE, 1000))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "_GRACE", -MINUTE)
    return clock


@pytest.fixture
def world(clock: Clock) -> World:
    return World()


async def test_what_is_missing_is_pushed_again_only_when_it_was_missing_for_long_enough(
    world: World, clock: Clock
) -> None:
    jobs = await world.stored(3)
    [there, *_] = await world.pushed(jobs[:1])
    await world.reconciler.round()
    clock.now += APART - 0.1
    await world.reconciler.round()
    assert world.lists.held[MEDIUM] == [there]
    clock.now += 0.1
    assert await world.reconciler.round() is False
    assert world.lists.held[MEDIUM] == [jobs[1].id, jobs[2].id, there]


async def test_what_was_pushed_again_is_given_its_time_before_it_is_pushed_once_more(
    world: World, clock: Clock
) -> None:
    await world.stored()
    for _ in range(2):
        await world.reconciler.round()
        clock.now += APART
    assert len(world.lists.pushed) == 1
    world.lists.taken(MEDIUM)
    await world.reconciler.round()
    clock.now += APART - 0.1
    await world.reconciler.round()
    assert len(world.lists.pushed) == 1


async def test_what_was_popped_and_is_claimed_meanwhile_is_not_pushed_again(world: World, clock: Clock) -> None:
    [job] = await world.stored()
    await world.reconciler.round()
    clock.now += APART
    await world.claimed(job.id)
    await world.reconciler.round()
    assert world.lists.pushed == []


async def test_what_is_claimed_or_withheld_between_the_comparison_and_the_push_is_not_pushed_again(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    [claimed, withheld, lost] = await world.stored(3)
    await world.reconciler.round()
    clock.now += APART
    push_again = Reconciler._push_again

    async def later(self: Reconciler, key: ListKey, job_ids: list[UUID]) -> None:
        await world.claimed(claimed.id)
        async with world.transactions.begin():
            await world.work.jobs.withhold([withheld.id])
        await push_again(self, key, job_ids)

    monkeypatch.setattr(Reconciler, "_push_again", later)
    await world.reconciler.round()
    assert world.lists.pushed == [lost.id]


async def test_when_all_that_is_missing_was_claimed_meanwhile_nothing_is_said_of_a_push(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    [claimed] = await world.stored()
    await world.reconciler.round()
    clock.now += APART
    push_again = Reconciler._push_again

    async def later(self: Reconciler, key: ListKey, job_ids: list[UUID]) -> None:
        await world.claimed(claimed.id)
        await push_again(self, key, job_ids)

    monkeypatch.setattr(Reconciler, "_push_again", later)
    with capture_logs() as logs:
        await world.reconciler.round()
    assert [one for one in logs if one["event"] == "jobs_pushed_again"] == []


async def test_what_came_back_to_its_list_was_never_lost(world: World, clock: Clock) -> None:
    jobs = await world.stored()
    await world.reconciler.round()
    clock.now += APART / 2
    await world.pushed(jobs)
    await world.reconciler.round()
    world.lists.taken(MEDIUM)
    clock.now += APART / 2
    await world.reconciler.round()
    assert len(world.lists.pushed) == 1


async def test_what_was_handed_over_just_now_is_not_missed(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE", MINUTE)
    jobs = await world.stored(2)
    await world.pushed(jobs[:1])
    await world.reconciler.round()
    clock.now += APART
    await world.reconciler.round()
    assert world.lists.held[MEDIUM] == [jobs[0].id]


async def test_strangers_are_removed_and_jobs_that_wait_are_not(world: World) -> None:
    waiting, running = await world.stored(), await world.stored()
    [here, at_work] = await world.pushed([*waiting, *running])
    await world.claimed(at_work)
    world.lists.held[MEDIUM] += [uuid7(), here]
    await world.reconciler.round()
    assert world.lists.held[MEDIUM] == [here, here]


async def test_jobs_beyond_the_limit_of_the_comparison_are_no_strangers(world: World) -> None:
    ids = await world.pushed(await world.stored(9))
    await world.another(window=1).round()
    assert world.lists.held[MEDIUM] == ids


async def test_strangers_in_a_list_that_no_job_waits_in_are_removed_also_by_a_process_that_has_just_begun(
    world: World,
) -> None:
    world.lists.held[MEDIUM] = [uuid7()]
    await world.another().round()
    assert world.lists.held[MEDIUM] == []


async def test_withheld_jobs_are_not_missed(world: World, clock: Clock) -> None:
    [job] = await world.stored()
    async with world.transactions.begin():
        await world.work.jobs.withhold([job.id])
    for _ in range(2):
        await world.reconciler.round()
        clock.now += APART
    assert world.lists.pushed == []


async def test_one_that_has_not_the_turn_leaves_the_list_alone(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.stored()
    world.lists.held[MEDIUM] = [stranger := uuid7()]

    async def taken_by_another(_: ListKey) -> bool:
        return False

    monkeypatch.setattr(world.work.jobs, "try_turn", taken_by_another)
    for _ in range(3):
        await world.reconciler.round()
        clock.now += APART
    assert world.lists.held[MEDIUM] == [stranger]


@pytest.mark.parametrize("error", [QueueUnavailable("WRONGTYPE"), KeyError("of a library"), TooCostly()])
async def test_a_list_that_can_not_be_compared_hinders_no_other_and_is_told_of_once(
    world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    [high], [mail], _ = [
        await world.stored(**values) for values in ({"priority": Priority.HIGH}, {"queue": "mail"}, {})
    ]
    read = world.lists.read
    broken = True

    async def refusing(key: ListKey) -> list[UUID]:
        if key == MEDIUM and broken:
            raise error
        return await read(key)

    monkeypatch.setattr(world.lists, "read", refusing)
    with capture_logs() as logs:
        for _ in range(4):
            await world.reconciler.round()
            clock.now += APART
        broken = False
        await world.reconciler.round()
    assert set(world.lists.pushed) == {high.id, mail.id}
    told = [(one["event"], one["queue"], one["priority"]) for one in logs if one["event"].startswith("list_")]
    assert told == [("list_not_compared", "default", "MEDIUM"), ("list_compared_again", "default", "MEDIUM")]


async def test_when_no_list_answers_not_all_of_them_are_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await world.stored(queue=f"q{number}")
    asked: list[ListKey] = []

    async def away(key: ListKey) -> list[UUID]:
        asked.append(key)
        raise QueueUnavailable("away")

    monkeypatch.setattr(world.lists, "read", away)
    with pytest.raises(QueueUnavailable):
        await world.reconciler.round()
    assert len(asked) == 5


async def test_each_list_is_compared_with_its_own_jobs(world: World, clock: Clock) -> None:
    [high], [mail] = await world.stored(priority=Priority.HIGH), await world.stored(queue="mail")
    for _ in range(2):
        await world.reconciler.round()
        clock.now += APART
    lists = {key: held for key, held in world.lists.held.items() if held}
    assert lists == {
        ListKey("default", Priority.HIGH): [high.id],
        ListKey("mail", Priority.MEDIUM): [mail.id],
    }


async def test_lists_that_do_not_answer_are_told_of(world: World) -> None:
    await world.stored()
    world.lists.available = False
    with pytest.raises(QueueUnavailable):
        await world.reconciler.round()
