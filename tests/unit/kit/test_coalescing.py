"""Concurrent calls that become batches: which calls wait, and which result or error each receives."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innosystem.client import request_id
from services.kit.batching import coalescing
from services.kit.batching.coalesced_calls import Budget
from services.kit.batching.coalescing import Coalescer
from services.kit.data.errors import ConnectionFailed, InvalidData, TooCostly
from services.kit.errors import DomainError, Overloaded

POISON = -1


class Refused(DomainError):
    """No."""

    reason = "INVALID_FIELD"


class Work:
    """Doubles numbers, when it is let; keeps the batches that it was given."""

    def __init__(self, *, held: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.request_ids: list[str] = []
        self.go = asyncio.Event()
        self.away = False
        if not held:
            self.go.set()

    async def __call__(self, items: Sequence[int]) -> list[int | DomainError]:
        self.batches.append(list(items))
        self.request_ids.append(request_id.get())
        await self.go.wait()
        if self.away:
            raise ConnectionFailed
        if POISON in items:
            raise InvalidData("poison")
        return [2 * item if item else Refused() for item in items]


async def settle() -> None:
    """Lets all ready tasks run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_lone_call_is_served_immediately() -> None:
    work = Work(held=False)
    assert await Coalescer("test", work)([1, 2]) == [2, 4]
    assert work.batches == [[1, 2]]


async def test_a_call_in_the_moment_of_another_ones_result_is_served_as_well() -> None:
    coalescer = Coalescer("test", Work(held=False), budget=Budget(concurrent_max=1))
    async with asyncio.timeout(10):
        for number in range(1, 100):
            assert await coalescer([number]) == [2 * number]


class Clock:
    """The time that passes for a coalescer, as a test has it pass, and how long it paused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []
        monkeypatch.setattr(coalescing, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(coalescing, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.mark.parametrize(
    ("calls", "took", "pauses"),
    [
        ([[1], [2]], 0.01, [0.01]),
        ([[1], [2]], 10.0, [0.05]),
        # A lone call, with many items or few, waits for no other.
        ([[1]], 0.01, []),
        ([[1] * 40], 0.01, []),
        # Nothing is saved by making a large batch larger.
        ([[1] * 60, [2] * 60], 0.01, []),
    ],
)
async def test_after_a_small_batch_of_several_calls_there_is_a_pause_as_long_as_it_took_and_never_a_long_one(
    monkeypatch: pytest.MonkeyPatch, calls: list[list[int]], took: float, pauses: list[float]
) -> None:
    clock, first = Clock(monkeypatch), Work()

    async def work(items: Sequence[int]) -> Sequence[int | DomainError]:
        results = await first(items)
        if items != [0, 0]:
            clock.seconds += took
        return results

    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    async with asyncio.TaskGroup() as tasks:
        # While this one is under way the others come together.
        tasks.create_task(coalescer([0, 0]))
        await settle()
        for items in calls:
            tasks.create_task(coalescer(items))
        await settle()
        first.go.set()
    await settle()
    assert first.batches[1:] == [[item for items in calls for item in items]]
    assert clock.pauses == [pytest.approx(pause) for pause in pauses]


async def test_nothing_asked_for_is_nothing_done() -> None:
    work = Work()
    assert await Coalescer("test", work)([]) == []
    assert work.batches == []


async def test_what_arrives_while_a_batch_is_under_way_is_the_next_batch_and_each_gets_its_own() -> None:
    work = Work()
    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    calls = [asyncio.create_task(coalescer([1]))]
    await settle()
    calls += [asyncio.create_task(coalescer([number])) for number in range(2, 6)]
    await settle()
    assert work.batches == [[1]]
    work.go.set()
    assert await asyncio.gather(*calls) == [[2], [4], [6], [8], [10]]
    assert work.batches == [[1], [2, 3, 4, 5]]


async def test_only_so_many_batches_are_under_way_and_none_is_larger_than_allowed() -> None:
    work = Work()
    coalescer = Coalescer("test", work, budget=Budget(items_max=3, concurrent_max=2))
    calls = [asyncio.create_task(coalescer([number, number])) for number in range(1, 5)]
    calls.append(asyncio.create_task(coalescer([9] * 5)))
    await settle()
    assert work.batches == [[1, 1], [2, 2]]
    work.go.set()
    await asyncio.gather(*calls)
    assert work.batches[2:] == [[3, 3], [4, 4], [9] * 5]


async def test_a_call_beyond_what_may_wait_is_refused_and_the_others_are_served() -> None:
    work = Work()
    coalescer = Coalescer("test", work, budget=Budget(waiting_max=2, concurrent_max=1))
    under_way = asyncio.create_task(coalescer([1]))
    await settle()
    waiting = asyncio.create_task(coalescer([2, 3]))
    await settle()
    with pytest.raises(Overloaded):
        await coalescer([4])
    work.go.set()
    assert await under_way == [2]
    assert await waiting == [4, 6]
    assert await coalescer([4]) == [8]


async def test_a_refused_item_affects_only_its_own_caller() -> None:
    work = Work(held=False)
    coalescer = Coalescer("test", work)
    good, refused = await asyncio.gather(coalescer([1]), coalescer([0, 2]))
    assert good == [2]
    assert isinstance(refused[0], Refused)
    assert refused[1] == 4


async def test_a_call_that_breaks_a_batch_fails_alone() -> None:
    work = Work(held=False)
    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    numbers = [1, 2, POISON, 3, 4]
    results = await asyncio.gather(*(coalescer([number]) for number in numbers), return_exceptions=True)
    assert [one for one in results if not isinstance(one, Exception)] == [[2], [4], [6], [8]]
    assert isinstance(results[2], InvalidData)


async def test_while_the_database_is_unavailable_all_calls_fail_immediately() -> None:
    work = Work()
    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    calls = [asyncio.create_task(coalescer([0]))]
    await settle()
    calls += [asyncio.create_task(coalescer([number])) for number in range(1, 4)]
    await settle()
    work.away = True
    work.go.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in results} == {ConnectionFailed}
    assert len({id(one) for one in results}) == 4
    assert work.batches == [[0], [1, 2, 3]]


async def test_a_statement_that_was_too_costly_is_not_taken_for_an_unavailable_database() -> None:
    async def work(items: Sequence[int]) -> Sequence[int | DomainError]:
        if POISON in items:
            raise TooCostly
        return [2 * item for item in items]

    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    results = await asyncio.gather(*(coalescer([number]) for number in (1, 2, POISON, 3)), return_exceptions=True)
    assert [type(results[2]), *results[:2], results[3]] == [TooCostly, [2], [4], [6]]


async def test_a_call_that_is_cancelled_while_it_waits_is_left_out() -> None:
    work = Work()
    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    first = asyncio.create_task(coalescer([1]))
    await settle()
    second, third = (asyncio.create_task(coalescer([number])) for number in (2, 3))
    await settle()
    second.cancel()
    work.go.set()
    assert await first == [2]
    assert await third == [6]
    assert work.batches == [[1], [3]]


async def test_a_call_that_is_cancelled_while_its_batch_is_under_way_harms_no_neighbour() -> None:
    work = Work()
    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    first = asyncio.create_task(coalescer([1]))
    await settle()
    second, third = (asyncio.create_task(coalescer([number])) for number in (2, 3))
    await settle()
    first.cancel()
    work.go.set()
    await settle()
    assert await second == [4]
    assert await third == [6]
    assert work.batches == [[1], [2, 3]]


async def test_a_call_that_breaks_a_batch_and_is_cancelled_meanwhile_fails_no_neighbour() -> None:
    work = Work()
    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    first = asyncio.create_task(coalescer([1]))
    await settle()
    second, third = (asyncio.create_task(coalescer([number])) for number in (POISON, 3))
    await settle()
    work.go.set()
    await first
    second.cancel()
    assert await third == [6]
    assert work.batches == [[1], [POISON, 3], [3]]


async def test_a_deadline_of_one_call_is_its_own() -> None:
    work = Work()
    coalescer = Coalescer("test", work, budget=Budget(concurrent_max=1))
    other = asyncio.create_task(coalescer([2]))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await coalescer([1])
    work.go.set()
    assert await other == [4]


async def test_a_batch_works_under_the_request_id_of_its_first_call() -> None:
    work = Work(held=False)
    coalescer = Coalescer("test", work)

    async def call(number: int) -> None:
        request_id.set(f"request {number}")
        await coalescer([number])

    await asyncio.gather(call(1))
    await asyncio.gather(call(2))
    assert work.request_ids == ["request 1", "request 2"]


@given(
    sizes=st.lists(st.integers(0, 7), max_size=30),
    items_max=st.integers(1, 10),
    concurrent_max=st.integers(1, 3),
    poisoned=st.sets(st.integers(0, 29)),
)
def test_whatever_the_batches_are_each_call_gets_what_it_would_get_alone(
    sizes: list[int], items_max: int, concurrent_max: int, poisoned: set[int]
) -> None:
    numbers = itertools.count(1)
    calls = [[next(numbers) for _ in range(size)] for size in sizes]
    for at, call in enumerate(calls):
        if call and at in poisoned:
            call[0] = POISON

    async def run() -> list[list[int | DomainError] | BaseException]:
        coalescer = Coalescer(
            "test", Work(held=False), budget=Budget(items_max=items_max, concurrent_max=concurrent_max)
        )
        return await asyncio.gather(*(coalescer(call) for call in calls), return_exceptions=True)

    for call, result in zip(calls, asyncio.run(run()), strict=True):
        if POISON in call:
            assert isinstance(result, InvalidData)
        else:
            assert result == [2 * number for number in call]
