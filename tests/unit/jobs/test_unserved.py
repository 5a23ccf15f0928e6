"""How jobs are fed that runners have no handler for: the rule, and the feeding on repositories in memory."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from services.jobs.background import unserved as module
from services.jobs.background.unserved import UnservedJobs
from services.jobs.rules.backlogs import CALM, SEEN, BacklogState, Feeding, is_over, next_feeding
from services.jobs.rules.entities import Backlog, JobStatus, NewJob
from services.jobs.rules.transitions.leasing import Claim
from services.jobs.store.unserved_memory import MemoryUnserved
from services.kit.data.corrupt import understood
from services.kit.data.errors import TooCostly
from services.kit.data.transactions.memory import MemoryTransactions
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_work import QueueForTests, memory_work

BACKLOG = Backlog("default", uuid7())
HALF, TWO, LONGEST = timedelta(seconds=0.5), timedelta(seconds=2), timedelta(seconds=15)


def state(**values: Any) -> BacklogState:
    defaults: dict[str, Any] = {"refused": 0, "granted": 0, "wait": HALF, "served": False, "calm": False}
    return BacklogState(BACKLOG, "foreign", **{**defaults, **values})


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (state(wait=timedelta(0)), Feeding(4, HALF)),
        (state(refused=4), Feeding(4, 2 * HALF)),
        (state(wait=timedelta(minutes=1)), Feeding(4, LONGEST)),
        (state(wait=LONGEST, served=True), Feeding(20, TWO)),
        (state(granted=10, refused=30, wait=LONGEST), Feeding(160, HALF)),
        (state(granted=600), Feeding(1000, HALF)),
    ],
    ids=["new", "refused", "unserved for long", "a runner serves it", "a part is taken", "never more than a batch"],
)
def test_a_backlog_is_fed_what_its_runners_take_and_ever_more_rarely_while_nobody_does(
    known: BacklogState, expected: Feeding
) -> None:
    assert next_feeding(known, LONGEST) == expected


@pytest.mark.parametrize(
    ("known", "taken", "over"),
    [
        (state(granted=1, calm=True), 4, True),
        (state(calm=True), 0, True),
        (state(granted=1), 0, False),
        (state(calm=True), 4, False),
    ],
    ids=["all serve it", "nothing waits", "a runner has just refused", "no runner takes it"],
)
def test_a_backlog_is_over_when_nobody_refuses_any_more(known: BacklogState, taken: int, over: bool) -> None:
    assert is_over(known, taken) is over


class Clock:
    """A time that a test has pass."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.now.timestamp()

    def pass_by(self, wait: timedelta) -> None:
        self.now += wait


class World:
    """A queue whose IDs runners with different handlers pop in turn, and a backlog that is fed into it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transactions = MemoryTransactions()
        self.work = memory_work(self.transactions)
        self.clock, self.queue = Clock(), QueueForTests()
        monkeypatch.setattr(module, "monotonic", self.clock.monotonic)
        self.unserved = UnservedJobs(
            self.transactions,
            MemoryUnserved(self.transactions, self.clock),
            self.work.jobs,
            self.queue,
            wait_max=LONGEST,
        )
        self.claims: Counter[str] = Counter()

    async def submit(self, count: int, handler: str = "new") -> list[NewJob]:
        async with self.transactions.begin():
            kind = await self.work.job_types.create(new_job_type(processing_logic_id=handler))
            jobs = [new_job(kind.id) for _ in range(count)]
            await self.work.jobs.create_many(jobs)
        return jobs

    async def claim(self, jobs: list[Any], *handlers: str) -> int:
        """Claim jobs as a runner with these handlers; return how many it got."""
        claim = Claim([job.id for job in jobs], uuid7(), uuid7(), MINUTE, 10_000_000, frozenset(handlers))
        async with self.transactions.begin():
            claimed = await self.work.jobs.claim(claim)
        self.unserved.claimed(claim, claimed)
        self.claims[",".join(handlers)] += len(jobs)
        return len(claimed.jobs)

    def popped(self, count: int | None = None) -> list[Any]:
        found = self.queue.first[:count]
        del self.queue.first[:count]
        return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_jobs_that_nobody_serves_are_tried_a_few_at_a_time_and_no_attempt_is_used_up(world: World) -> None:
    jobs = await world.submit(1000)
    assert await world.claim(jobs, "old") == 0
    for _ in range(120):
        world.clock.pass_by(HALF)
        await world.unserved.round()
        assert await world.claim(world.popped(), "old") == 0
    # A minute: 0.5, 1, 2, 4, 8 and 15 seconds apart, four each time, where 1,000 went round at first.
    assert world.claims["old"] - 1000 == 4 * 8
    async with world.transactions.begin():
        stored = understood((await world.work.jobs.get_many([job.id for job in jobs])).values())
    assert {(job.status, job.attempt) for job in stored} == {(JobStatus.PENDING, 0)}


async def test_a_runner_that_says_it_has_the_handler_is_given_the_jobs_soon_however_long_nobody_had_it(
    world: World,
) -> None:
    jobs = await world.submit(1000)
    await world.claim(jobs, "old")
    for _ in range(60):
        world.clock.pass_by(10 * HALF)
        await world.unserved.round()
        await world.claim(world.popped(), "old")
    done, seconds = 0, 0.0
    await world.claim([], "new")
    while done < len(jobs):
        world.clock.pass_by(HALF)
        seconds += HALF.total_seconds()
        await world.unserved.round()
        done += await world.claim(world.popped(), "new")
    assert seconds <= 5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("old", "seconds_max", "tries_max"), [(1, 60, 5), (9, 600, 20)])
async def test_beside_runners_that_refuse_the_others_get_all_and_little_goes_round_in_vain(
    world: World, seed: int, old: int, seconds_max: float, tries_max: int
) -> None:
    """A rolling upgrade: one runner is new, and each takes 32 IDs at a time, as fast as there are some.

    Args:
        tries_max: How many unsuccessful claims a job may have on average.
    """
    jobs = await world.submit(2000)
    await world.claim(jobs, "old")
    before, done, seconds = world.claims["old"], 0, 0.0
    runners = [*["old"] * old, "new"]
    chance = Random(seed)
    while done < len(jobs):
        assert seconds < seconds_max, f"only {done} are done"
        await world.claim([], "new")
        world.clock.pass_by(HALF)
        seconds += HALF.total_seconds()
        await world.unserved.round()
        while popped := world.popped(32):
            done += await world.claim(popped, chance.choice(runners))
    assert world.claims["old"] - before <= tries_max * len(jobs)


async def test_all_customers_of_a_backlog_have_their_turn_however_many_jobs_the_first_ones_have(world: World) -> None:
    async with world.transactions.begin():
        kind = await world.work.job_types.create(new_job_type(processing_logic_id="new"))
        jobs = [new_job(kind.id, customer_id=customer) for customer in (uuid7() for _ in range(50)) for _ in range(20)]
        await world.work.jobs.create_many(jobs)
    customers = {job.id: job.customer_id for job in jobs}
    await world.claim(jobs, "old")
    seen = set()
    for _ in range(5):
        await world.claim([], "new")
        world.clock.pass_by(HALF)
        await world.unserved.round()
        first, *others = world.popped()
        seen |= {customers[job.id] for job in (first, *others)}
        await world.claim([first], "new")
        await world.claim(others, "old")
    assert len(seen) == 50


async def test_when_all_runners_serve_it_the_backlog_is_the_dispatchers_again(world: World) -> None:
    jobs = await world.submit(3)
    await world.claim(jobs, "old")
    await world.unserved.round()
    assert await world.claim(world.popped(), "new") == 3
    world.clock.pass_by(CALM + HALF)
    await world.unserved.round()
    async with world.transactions.begin():
        assert await world.work.pauses.unserved() == set()
    assert world.queue.woken == 1


async def test_what_was_handed_back_as_not_served_is_noted_as_well(world: World) -> None:
    [job] = await world.submit(1)
    world.unserved.refused([Backlog(job.queue, job.job_type_id)])
    await world.unserved.round()
    async with world.transactions.begin():
        assert await world.work.pauses.unserved() == {Backlog(job.queue, job.job_type_id)}


async def test_what_no_runner_serves_is_told_once_a_minute(world: World) -> None:
    jobs = await world.submit(7)
    await world.claim(jobs, "old")
    with capture_logs() as lines:
        for _ in range(4):
            await world.unserved.round()
            await world.claim(world.popped(), "old")
            world.clock.pass_by(SEEN / 2 + HALF)
    told = [line for line in lines if line["event"] == "handler_missing"]
    assert [(line["handler"], line["queue"], line["jobs"]) for line in told] == [("new", "default", 7)] * 2


async def test_a_replica_without_backlogs_asks_the_database_rarely(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0
    begin = world.transactions.begin

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal begun
        begun += 1
        return begin(*args, **kwargs)

    monkeypatch.setattr(world.transactions, "begin", counted)
    await world.unserved.round()
    begun = 0
    for _ in range(20):
        world.clock.pass_by(HALF)
        await world.unserved.round()
    assert begun <= 3


async def test_a_backlog_that_can_not_be_fed_hinders_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, fine = await world.submit(5, "broken"), await world.submit(5, "fine")
    await world.claim([*broken, *fine], "old")
    take = world.work.jobs.take_withheld

    async def taken(*arguments: Any, **named: Any) -> Any:
        found = await take(*arguments, **named)
        if {job.id for job in found.jobs} & {job.id for job in broken}:
            raise TooCostly
        return found

    monkeypatch.setattr(world.work.jobs, "take_withheld", taken)
    fed: set[UUID] = set()
    for _ in range(10):
        world.clock.pass_by(LONGEST)
        with pytest.raises(TooCostly):
            await world.unserved.round()
        fed |= {job.id for job in world.popped()}
    assert fed == {job.id for job in fine}
