"""Batches form by themselves, stay within their bounds, and one bad item does not harm others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import pytest
from grpc import StatusCode

from innosystem.runner import batch_sender
from innosystem.runner.batch_sender import BATCH_BYTES_MAX, BATCH_ITEMS_MAX, BatchSender
from innosystem.runner.service_client import HeldUp, Refused, Unreachable
from tests.support.until import until

LIMIT_SECONDS = 10


class Recording(BatchSender[int]):
    """A sender of numbers, each of which is its own size."""

    name = "recording"

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[list[int]] = []
        self.unwanted: set[int] = set()
        self.given_up: list[tuple[list[int], Exception]] = []
        self.put_asides: list[int] = []
        self.abandoned: list[int] = []
        self.holds_up: set[int] = set()
        self.under_way = self.under_way_max = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.check: Callable[[list[int]], None] = lambda batch: None

    async def send(self, batch: list[int], *, suspect: bool) -> None:
        self.sent.append(batch)
        self.under_way += 1
        self.under_way_max = max(self.under_way_max, self.under_way)
        await self.gate.wait()
        self.under_way -= 1
        self.check(batch)
        if self.holds_up.intersection(batch):
            raise HeldUp(StatusCode.DEADLINE_EXCEEDED, "", "too slow")

    async def give_up(self, batch: list[int], error: Exception) -> None:
        self.given_up.append((batch, error))

    async def put_aside(self, item: int, error: HeldUp) -> None:
        self.put_asides.append(item)

    def abandon(self, items: list[int]) -> None:
        self.abandoned += items

    def is_wanted(self, item: int) -> bool:
        return item not in self.unwanted

    def size(self, item: int) -> int:
        return item


@asynccontextmanager
async def running(sender: BatchSender[int]) -> AsyncIterator[None]:
    task = asyncio.create_task(sender.run())
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            yield
    finally:
        task.cancel()


class Clock:
    """The clock of a sender, controlled by a test, and a record of its rests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.rests: list[float] = []
        pause = asyncio.sleep

        async def sleep(seconds: float) -> None:
            if seconds:
                self.rests.append(seconds)
            await pause(0)

        monkeypatch.setattr(batch_sender, "time", SimpleNamespace(monotonic=lambda: self.seconds))
        monkeypatch.setattr(batch_sender, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))


@pytest.mark.parametrize(("took", "rested"), [(0.01, 0.02), (10.0, 0.05)])
async def test_a_sender_that_rests_does_so_after_a_call_as_long_as_it_took_and_never_for_long(
    monkeypatch: pytest.MonkeyPatch, took: float, rested: float
) -> None:
    sender = Recording()
    sender.rest = 2.0
    clock = Clock(monkeypatch)

    def check(_: list[int]) -> None:
        assert clock.rests == []
        clock.seconds += took

    sender.check = check
    async with running(sender):
        sender.put(1)
        await until(lambda: bool(clock.rests))
    assert sender.sent == [[1]]
    assert clock.rests == [pytest.approx(rested)]


async def test_a_sender_that_does_not_rest_is_ready_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, clock = Recording(), Clock(monkeypatch)
    async with running(sender):
        sender.put(1)
        await until(lambda: sender.sent == [[1]])
        sender.put(2)
        await until(lambda: sender.sent == [[1], [2]])
    assert clock.rests == []


async def test_a_single_item_is_sent_immediately() -> None:
    sender = Recording()
    async with running(sender):
        sender.put(1)
        await until(lambda: sender.sent == [[1]])


async def test_what_arrives_during_a_batch_is_the_next_batch() -> None:
    sender = Recording()
    sender.gate.clear()
    async with running(sender):
        sender.put(1)
        await until(lambda: sender.sent == [[1]])
        for item in (2, 3, 4):
            sender.put(item)
        sender.gate.set()
        await until(lambda: sender.sent == [[1], [2, 3, 4]])


async def test_a_batch_has_at_most_a_thousand_items() -> None:
    sender = Recording()
    for _ in range(BATCH_ITEMS_MAX * 2 + 5):
        sender.put(0)
    async with running(sender):
        await until(lambda: len(sender.sent) == 3)

    assert [len(batch) for batch in sender.sent] == [1000, 1000, 5]


async def test_a_batch_is_bounded_by_bytes() -> None:
    sender = Recording()
    half = BATCH_BYTES_MAX // 2
    for item in (half, half, half, BATCH_BYTES_MAX * 2, 1):
        sender.put(item)
    async with running(sender):
        await until(lambda: len(sender.sent) == 4)

    assert sender.sent == [[half, half], [half], [BATCH_BYTES_MAX * 2], [1]]


async def test_a_refused_batch_is_halved_until_the_culprit_is_alone() -> None:
    sender = Recording()
    refusal = Refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "no")

    def refuse_three(batch: list[int]) -> None:
        if 3 in batch:
            raise refusal

    sender.check = refuse_three
    for item in range(8):
        sender.put(item)
    async with running(sender):
        await until(lambda: [4, 5, 6, 7] in sender.sent)

    assert sender.given_up == [([3], refusal)]
    assert [2] in sender.sent


async def test_a_batch_that_fails_is_given_up_and_the_sender_continues() -> None:
    sender = Recording()
    error = Unreachable(StatusCode.UNAVAILABLE, "", "away")

    def fail_once(batch: list[int]) -> None:
        if batch == [1, 2]:
            raise error

    sender.check = fail_once
    sender.put(1)
    sender.put(2)
    async with running(sender):
        await until(lambda: bool(sender.given_up))
        sender.put(3)
        await until(lambda: [3] in sender.sent)

    assert sender.given_up == [([1, 2], error)]


@pytest.mark.parametrize("error", [RuntimeError("a defect"), asyncio.CancelledError()])
async def test_any_exception_in_a_batch_abandons_its_items_and_the_sender_continues(
    error: BaseException,
) -> None:
    sender = Recording()

    def fail_once(batch: list[int]) -> None:
        if batch == [1, 2]:
            raise error

    sender.check = fail_once
    sender.put(1)
    sender.put(2)
    async with running(sender):
        await until(lambda: sender.abandoned == [1, 2])
        sender.put(3)
        await until(lambda: [3] in sender.sent)

    assert sender.given_up == []


async def test_items_are_let_go_of_if_not_even_giving_them_up_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Recording()

    def fail(batch: list[int]) -> None:
        raise Unreachable(StatusCode.UNAVAILABLE, "", "away")

    async def give_up(batch: list[int], error: Exception) -> None:
        raise RuntimeError

    sender.check = fail
    monkeypatch.setattr(sender, "give_up", give_up)
    sender.put(1)
    async with running(sender):
        await until(lambda: sender.abandoned == [1])
        sender.put(2)
        await until(lambda: sender.abandoned == [1, 2])


async def test_a_batch_that_is_held_up_is_divided_until_the_culprit_is_alone() -> None:
    sender = Recording()
    sender.holds_up = {3}
    for item in range(8):
        sender.put(item)
    async with running(sender):
        await until(lambda: bool(sender.put_asides))
        await until(lambda: [4, 5, 6, 7] in sender.sent)

    assert sender.put_asides == [3]
    assert sender.sent == [list(range(8)), [0, 1, 2, 3], [4, 5, 6, 7], [0, 1], [2, 3], [2], [3]]
    assert sender.given_up == []


async def test_what_arrives_while_a_batch_takes_long_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_sender, "_PATIENCE_SECONDS", 0.01)
    sender = Recording()
    sender.gate.clear()
    async with running(sender):
        for item in range(4):
            sender.put(item)
            await until(partial(sender.sent.__contains__, [item]))
        # And their number is bounded.
        sender.put(4)
        sender.gate.set()
        await until(lambda: [4] in sender.sent)
    assert sender.under_way_max == 4


async def test_what_was_held_up_is_sent_again_alone_and_while_other_batches_are_under_way() -> None:
    sender = Recording()
    sender.gate.clear()
    async with running(sender):
        sender.put(1)
        await until(lambda: sender.sent == [[1]])
        sender.put_alone_later(2, 0)
        sender.put_alone_later(3, 0)
        sender.put(4)
        await until(lambda: sender.sent == [[1], [2], [3]])
        sender.gate.set()
        await until(lambda: sender.sent == [[1], [2], [3], [4]])


async def test_what_has_lost_its_meaning_while_it_waited_is_not_sent() -> None:
    sender = Recording()
    sender.unwanted.update({2, 3})
    for item in (1, 2, 3):
        sender.put(item)
    async with running(sender):
        await until(lambda: sender.sent == [[1]])
        sender.put(3)
        sender.put(4)
        await until(lambda: sender.sent == [[1], [4]])


async def test_what_has_lost_its_meaning_while_it_was_sent_is_not_given_up() -> None:
    sender = Recording()
    error = Unreachable(StatusCode.UNAVAILABLE, "", "away")

    def lose_one(batch: list[int]) -> None:
        sender.unwanted.add(1)
        raise error

    sender.check = lose_one
    sender.put(1)
    sender.put(2)
    async with running(sender):
        await until(lambda: bool(sender.given_up))

    assert sender.given_up == [([2], error)]


async def test_items_can_be_taken_back_before_they_are_sent() -> None:
    sender = Recording()
    sender.put(1)
    sender.put(2)

    assert sender.take_all() == [1, 2]
    assert sender.take_all() == []
