"""What a coalescer does with items whose rows are locked, with errors that can't be copied, and with many bytes."""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from services.kit.batching.coalesced_calls import Budget, WorkCancelled
from services.kit.batching.coalescing import Coalescer
from services.kit.batching.locked_lane import LockTimes
from services.kit.data.errors import LockTimedOut, UnexpectedRollback
from services.kit.errors import DomainError, Overloaded, RowLocked
from tests.support.until import until

TIMES = LockTimes(patient_seconds=0.1, impatient_seconds=0.02, known_seconds=0.2, pause_seconds=0.005)


class Rows:
    """Rows by number, some of them locked; keeps the batches that waited, and those that did not."""

    def __init__(self, *locked: int) -> None:
        self.locked = set(locked)
        self.waited: list[list[int]] = []
        self.unlocked: list[list[int]] = []

    async def work(self, items: Sequence[int]) -> Sequence[int | DomainError]:
        self.waited.append(list(items))
        await asyncio.sleep(0)
        if self.locked & set(items):
            raise LockTimedOut
        return [2 * item for item in items]

    async def without(self, items: Sequence[int]) -> Sequence[int | DomainError]:
        self.unlocked.append(list(items))
        await asyncio.sleep(0)
        return [RowLocked() if item in self.locked else 2 * item for item in items]

    def coalescer(self) -> Coalescer[int, int]:
        return Coalescer("test", self.work, unlocked=self.without, key=lambda item: item, times=TIMES)


def kinds(results: Sequence[object]) -> list[object]:
    return [type(one) if isinstance(one, DomainError) else one for one in results]


async def test_a_locked_item_is_refused_after_its_time_and_its_neighbours_have_their_results_before() -> None:
    rows = Rows(2)
    coalescer = rows.coalescer()
    locked = asyncio.create_task(coalescer([2], patient=True))
    others = [asyncio.create_task(coalescer([number])) for number in (1, 3)]
    assert await asyncio.gather(*others) == [[2], [6]]
    assert not locked.done()
    assert kinds(await locked) == [RowLocked]


async def test_a_call_of_many_items_returns_with_its_locked_item_refused() -> None:
    assert kinds(await Rows(2).coalescer()([1, 2, 3])) == [2, RowLocked, 6]


async def test_what_is_known_to_be_locked_holds_up_no_batch_any_more() -> None:
    rows = Rows(2)
    coalescer = rows.coalescer()
    await coalescer([2])
    rows.waited.clear()
    locked = asyncio.create_task(coalescer([2, 5], patient=True))
    assert await coalescer([4]) == [8]
    assert all(2 not in batch or set(batch) == {2} for batch in rows.waited)
    assert kinds(await locked) == [RowLocked, 10]


async def test_an_item_is_served_as_soon_as_it_is_not_locked_any_more() -> None:
    rows = Rows(2)
    coalescer = rows.coalescer()
    call = asyncio.create_task(coalescer([2], patient=True))
    while not rows.unlocked:  # noqa: ASYNC110 - the work does not tell
        await asyncio.sleep(0)
    rows.locked.clear()
    assert await call == [4]
    await until(lambda: not coalescer.knows_locked)


async def test_a_row_that_is_never_found_free_by_looking_is_waited_for_in_line() -> None:
    """As one that several replicas lock in turn, for a moment each."""
    rows = Rows(2, 3)
    waits = 0

    async def work(items: Sequence[int]) -> Sequence[int | DomainError]:
        nonlocal waits
        waits += set(items) == {2}
        return [4] if items == [2] and waits > 1 else await rows.work(items)

    coalescer: Coalescer[int, int] = Coalescer(
        "test", work, unlocked=rows.without, key=lambda item: item, times=LockTimes(5.0, 0.02, 0.2, 0.005)
    )
    hot, _ = await asyncio.gather(coalescer([2], patient=True), coalescer([3]))
    assert hot == [4]


async def test_locks_that_only_the_waiting_way_finds_are_found_by_dividing_down_to_the_item() -> None:
    rows = Rows(2)
    coalescer: Coalescer[int, int] = Coalescer("test", rows.work, key=lambda item: item, times=TIMES)
    assert kinds(await coalescer([1, 2, 3, 4])) == [2, RowLocked, 6, 8]


class Keyed(Exception):
    """Can't be made from what it hands to its base."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


@dataclass(eq=False)
class Named(DomainError):
    """No {name}."""

    reason = "INVALID_FIELD"
    name: str


class Stubborn(Exception):
    """Can't be made twice in any way."""

    made = 0

    def __new__(cls) -> "Stubborn":
        cls.made += 1
        if cls.made > 1:
            raise ValueError("once")
        return super().__new__(cls)


@pytest.mark.parametrize(
    "failing",
    [lambda: Keyed(code=7), lambda: Named(name="x"), UnexpectedRollback, Stubborn, lambda: ValueError("x")],
)
async def test_each_caller_has_the_error_of_the_work_with_its_traceback_whatever_it_is(
    failing: Callable[[], Exception],
) -> None:
    error = failing()

    async def deep_inside(items: Sequence[int]) -> Sequence[int | DomainError]:
        await asyncio.sleep(0)
        raise error

    coalescer: Coalescer[int, int] = Coalescer("test", deep_inside)
    async with asyncio.timeout(10):
        raised = await asyncio.gather(coalescer([1]), coalescer([2]), return_exceptions=True)
    for one in raised:
        assert isinstance(one, Exception)
        assert (type(one), str(one), vars(one)) == (type(error), str(error), vars(error))
        assert "deep_inside" in "".join(traceback.format_exception(one))


async def test_callers_fail_when_the_work_is_cancelled_from_inside() -> None:
    async def work(items: Sequence[int]) -> Sequence[int | DomainError]:
        if 1 in items:
            raise asyncio.CancelledError
        return items

    coalescer: Coalescer[int, int] = Coalescer("test", work)
    async with asyncio.timeout(10):
        cancelled, other = await asyncio.gather(coalescer([1]), coalescer([2]), return_exceptions=True)
    assert isinstance(cancelled, WorkCancelled)
    assert other == [2]


async def test_a_cancelled_run_leaves_no_caller_waiting() -> None:
    begun = asyncio.Event()

    async def work(items: Sequence[int]) -> Sequence[int | DomainError]:
        begun.set()
        await asyncio.Event().wait()
        return items

    coalescer: Coalescer[int, int] = Coalescer("test", work, budget=Budget(concurrent_max=1))
    calls = [asyncio.create_task(coalescer([number])) for number in (1, 2)]
    await begun.wait()
    for run in list(coalescer._tasks):
        run.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*calls, return_exceptions=True)
    assert all(call.done() for call in calls)


async def test_a_batch_has_no_more_bytes_than_allowed_and_callers_are_refused_when_too_many_are_held() -> None:
    batches: list[list[str]] = []
    go = asyncio.Event()

    async def work(items: Sequence[str]) -> Sequence[str | DomainError]:
        batches.append(list(items))
        await go.wait()
        return items

    budget = Budget(bytes_max=10, held_bytes_max=30, concurrent_max=1)
    coalescer: Coalescer[str, str] = Coalescer("test", work, size=len, budget=budget)
    calls = []
    for text in ("a" * 9, "b" * 6, "c" * 6, "d" * 4, "e" * 5):
        calls.append(asyncio.create_task(coalescer([text])))
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await coalescer(["f"])
    go.set()
    await asyncio.gather(*calls)
    assert [[one[0] for one in batch] for batch in batches] == [["a"], ["b"], ["c", "d"], ["e"]]
    # Finished calls are no longer held; a call beyond the limit is served alone.
    assert await coalescer(["g" * 99]) == ["g" * 99]
