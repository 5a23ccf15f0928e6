"""One bad item of a batch is found, and its neighbours are not."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from services.kit.batching import dividing
from services.kit.batching.dividing import Aside, Batch, Batches, divided
from services.kit.data.errors import ConnectionFailed, ConstraintViolated, TooCostly
from services.kit.errors import DataCorrupt, DependencyUnavailable

ITEMS = [UUID(int=number) for number in range(100)]


class Work:
    """Does things for items, and fails for bad ones."""

    def __init__(self, bad: Sequence[UUID] = (), error: Exception | None = None) -> None:
        self.bad = set(bad)
        self.error = error or ConstraintViolated("no")
        self.left = list(ITEMS)
        self.done: list[UUID] = []
        self.calls = 0

    async def on(self, items: Sequence[UUID]) -> None:
        self.calls += 1
        if self.bad & set(items):
            raise self.error
        self.done += items
        self.left = [one for one in self.left if one not in items]

    async def batch(self, batch: Batch) -> None:
        batch.taken = [one for one in self.left if one not in batch.without][: batch.limit]
        await self.on(batch.taken)


async def test_the_culprits_of_a_batch_are_found_and_all_else_is_done_in_its_order() -> None:
    work = Work([ITEMS[7], ITEMS[60]])
    assert [one for one, _ in await divided(ITEMS, work.on)] == [ITEMS[7], ITEMS[60]]
    assert work.done == [one for one in ITEMS if one not in work.bad]


@pytest.mark.parametrize("error", [ConnectionFailed(), DependencyUnavailable("wallets")])
async def test_a_failure_independent_of_the_items_is_not_divided(error: Exception) -> None:
    work = Work(ITEMS[:1], error)
    with pytest.raises(type(error)):
        await divided(ITEMS, work.on)
    with pytest.raises(type(error)):
        await Batches("test").next(50, work.batch)
    assert work.calls == 2


async def test_a_statement_that_is_too_costly_is_divided() -> None:
    work = Work(ITEMS[:1], TooCostly())
    assert [one for one, _ in await divided(ITEMS, work.on)] == ITEMS[:1]


async def test_what_fails_for_all_is_not_tried_for_each() -> None:
    work = Work(ITEMS)
    with pytest.raises(ConstraintViolated):
        await divided(ITEMS, work.on)
    assert work.calls < 40
    with pytest.raises(ConstraintViolated):
        await Batches("test").next(50, work.batch)
    assert work.calls < 80


async def test_batches_go_on_around_the_culprits() -> None:
    work = Work([ITEMS[0], ITEMS[33]])
    batches = Batches("test")
    for _ in range(100):
        if not await batches.next(50, work.batch):
            break
    assert set(work.done) == set(ITEMS) - work.bad
    # From then on they are not even taken.
    calls = work.calls
    assert await batches.next(50, work.batch) is False
    assert work.calls == calls + 1


async def test_a_batch_of_none_is_not_full() -> None:
    assert await Batches("test").next(0, Work().batch) is False


async def test_a_failure_before_any_item_was_taken_is_raised() -> None:
    async def broken(_: Batch) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await Batches("test").next(50, broken)


async def test_a_row_that_is_not_understood_is_taken_once_and_left_out_then() -> None:
    taken: list[list[UUID]] = []
    corrupt = DataCorrupt("jobs", str(ITEMS[0]), "error", "no")

    async def work(batch: Batch) -> None:
        rows = [] if ITEMS[0] in batch.without else [corrupt]
        assert batch.take(rows) == []
        taken.append(batch.taken)

    batches = Batches("test")
    for _ in range(2):
        await batches.next(50, work)
    assert taken == [[ITEMS[0]], []]


def test_what_is_set_aside_comes_back_after_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(dividing, "monotonic", lambda: now)
    aside, item = Aside("test"), uuid4()
    waits = []
    for _ in range(9):
        aside.put(item, KeyError())
        began = now
        while aside.items():
            now += 10
        waits.append(now - began)
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    now += 601
    assert aside.items() == []
    aside.put(item, KeyError())
    now += 10
    assert aside.items() == []


def test_of_very_many_that_are_set_aside_the_oldest_are_forgotten() -> None:
    aside, many = Aside("test"), [uuid4() for _ in range(1010)]
    for one in many:
        aside.put(one, KeyError())
    assert aside.items() == many[10:]
