"""The table of strategies: what a reader gets while, and after, a transaction changes what is cached (D7)."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.cache.cache import Cache, ReadOnlyCache
from services.kit.cache.strategy import Strategy
from tests.unit.kit.cache.world import Clock, Source, cache_of, settle

CHANGEABLE = (Strategy.NONSTRICT_READ_WRITE, Strategy.READ_WRITE)


async def test_a_read_only_cache_takes_no_change_but_can_be_emptied() -> None:
    source, cache = Source(a=1), cache_of(Clock(), Strategy.READ_ONLY)
    await cache.get("a", source.load)
    changes: list[Callable[[], object]] = [
        lambda: cache.changing(["a"]),
        lambda: cache.invalidate(["a"]),
        lambda: cache.publish_to(lambda _name, _keys: None),
    ]
    for change in changes:
        with pytest.raises(ReadOnlyCache, match="numbers"):
            change()
    assert cache.statistics().size == 1

    cache.clear()

    assert cache.statistics().size == 0


async def test_nonstrict_serves_the_old_value_until_the_transaction_has_ended() -> None:
    source, cache = Source(a=1), cache_of(Clock())
    await cache.get("a", source.load)
    ended = cache.changing(["a"])
    source.values["a"] = 2
    assert await cache.get("a", source.load) == 1

    ended()

    assert await cache.get("a", source.load) == 2


async def test_read_write_reads_past_the_cache_until_the_transaction_has_ended() -> None:
    source, cache = Source(a=1, b=1), cache_of(Clock(), Strategy.READ_WRITE)
    await cache.get_many("ab", source.load_many)
    ended = cache.changing(["a"])
    source.values.update(a=2, b=2)

    assert await cache.get_many("ab", source.load_many) == {"a": 2, "b": 1}
    source.values["a"] = 3
    assert await cache.get("a", source.load) == 3
    ended()
    assert await cache.get("a", source.load) == 3
    source.values["a"] = 4
    assert await cache.get("a", source.load) == 3


async def test_read_write_is_locked_until_the_last_of_two_transactions_has_ended() -> None:
    source, cache = Source(a=1), cache_of(Clock(), Strategy.READ_WRITE)
    first, second = cache.changing(["a"]), cache.changing(["a"])
    first()
    first()
    await cache.get("a", source.load)
    assert cache.statistics().size == 0

    second()

    await cache.get("a", source.load)
    assert cache.statistics().size == 1


async def test_a_lock_on_everything_covers_each_key() -> None:
    source, cache = Source(a=1), cache_of(Clock(), Strategy.READ_WRITE)
    ended = cache.changing()
    await cache.get("a", source.load)
    assert cache.statistics().size == 0
    ended()
    await cache.get("a", source.load)
    assert cache.statistics().size == 1


async def test_a_lock_without_a_release_ends_by_itself() -> None:
    clock, source = Clock(), Source(a=1)
    cache = cache_of(clock, Strategy.READ_WRITE, lock_seconds=60)
    ended = cache.changing(["a"])
    clock.now += 59
    await cache.get("a", source.load)
    assert cache.statistics().size == 0
    clock.now += 1
    await cache.get("a", source.load)
    assert cache.statistics().size == 1

    ended()

    assert cache.statistics().size == 0


async def test_a_failed_load_past_the_cache_reaches_its_reader_and_leaves_nothing_behind() -> None:
    source, cache = Source(a=1, b=1), cache_of(Clock(), Strategy.READ_WRITE)
    cache.changing(["a"])
    source.failure = ConnectionError("gone")
    with pytest.raises(ConnectionError):
        await cache.get_many("ab", source.load_many)
    await settle()
    assert not cache._loads


@pytest.mark.parametrize("strategy", CHANGEABLE)
@pytest.mark.parametrize("everything", [False, True])
async def test_a_load_from_before_a_change_does_not_put_what_it_read(strategy: Strategy, everything: bool) -> None:
    source, cache = Source(a=1), cache_of(Clock(), strategy)
    source.gate.clear()
    early = asyncio.create_task(cache.get("a", source.load))
    await settle()
    ended = cache.changing(None if everything else ["a"])
    source.values["a"] = 2
    ended()
    source.gate.set()

    assert await early == 1
    assert cache.statistics().size == 0
    assert await cache.get("a", source.load) == 2


class History:
    """Readers and writers of two keys; a reader must never get what was replaced before it began to read."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.cache: Cache[str, int] = cache_of(Clock(), strategy)
        self.committed = {"a": 0, "b": 0}
        self.reported = dict(self.committed)
        self.gates: list[asyncio.Event] = []
        self.checks: list[asyncio.Task[None]] = []
        self.endings: list[tuple[str, Callable[[], None]]] = []

    async def load(self, key: str) -> int:
        """Reads the committed value, and returns at its turn in the history."""
        value = self.committed[key]
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        return value

    async def check(self, key: str) -> None:
        """Reads and compares with what had to be seen when reading began."""
        known = self.committed if self.strategy is Strategy.READ_WRITE else self.reported
        least = known[key]
        value = await self.cache.get(key, self.load)
        assert value is not None
        assert value >= least

    def write(self, key: str) -> None:
        """Commits; the cache is notified later."""
        ended = self.cache.changing([key])
        self.committed[key] += 1
        value = self.committed[key]

        def report() -> None:
            ended()
            self.reported[key] = max(self.reported[key], value)

        self.endings.append((key, report))

    async def step(self, action: str, key: str, number: int) -> None:
        """Does one thing, as far as there is something to do."""
        if action == "read":
            self.checks.append(asyncio.create_task(self.check(key)))
        elif action == "write":
            self.write(key)
        elif action == "end" and self.endings:
            self.endings.pop(number % len(self.endings))[1]()
        elif action == "load" and self.gates:
            self.gates.pop(number % len(self.gates)).set()
        elif action == "cancel" and self.checks:
            self.checks[number % len(self.checks)].cancel()
        await settle()

    async def finish(self) -> None:
        """Ends everything, in which each check has its say."""
        while self.endings:
            self.endings.pop()[1]()
        while self.gates:
            self.gates.pop().set()
            await settle()
        for result in await asyncio.gather(*self.checks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
        for key, value in self.committed.items():
            last = asyncio.create_task(self.cache.get(key, self.load))
            await settle()
            while self.gates:
                self.gates.pop().set()
            assert await last == value
        assert not self.cache._loads


steps = st.tuples(st.sampled_from(["read", "write", "end", "load", "cancel"]), st.sampled_from("ab"), st.integers(0, 5))


@pytest.mark.parametrize("strategy", CHANGEABLE)
@given(history=st.lists(steps, max_size=30))
def test_no_order_of_reads_writes_and_loads_serves_a_value_from_before_a_reported_change(
    strategy: Strategy, history: list[tuple[str, str, int]]
) -> None:
    async def run() -> None:
        world = History(strategy)
        for action, key, number in history:
            await world.step(action, key, number)
        await world.finish()

    asyncio.run(run())
