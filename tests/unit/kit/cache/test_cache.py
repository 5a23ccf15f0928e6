"""What a cache keeps and for how long, and that many readers share a load (D7)."""

import asyncio

import pytest

from services.kit.cache.cache import Cache
from tests.unit.kit.cache.world import NONSTRICT, Clock, Source, cache_of, settle


async def test_a_value_is_loaded_once_and_served_until_its_time_is_up() -> None:
    clock, source = Clock(), Source(a=1)
    cache = cache_of(clock)

    assert await cache.get("a", source.load) == 1
    source.values["a"] = 2
    clock.now += 9.9
    assert await cache.get("a", source.load) == 1
    clock.now += 0.1
    assert await cache.get("a", source.load) == 2
    assert source.loads == [("a",), ("a",)]


async def test_the_time_of_a_value_begins_with_its_load_and_not_with_its_arrival() -> None:
    clock, source = Clock(), Source(a=1)
    cache = cache_of(clock)
    source.gate.clear()
    reader = asyncio.create_task(cache.get("a", source.load))
    await settle()
    clock.now += 9
    source.gate.set()
    assert await reader == 1

    clock.now += 1
    await cache.get("a", source.load)

    assert len(source.loads) == 2


async def test_many_keys_are_one_load_of_those_that_are_missing() -> None:
    source, cache = Source(a=1, b=2, c=3), cache_of(Clock())
    await cache.get("b", source.load)

    assert await cache.get_many(["a", "b", "c", "a", "x"], source.load_many) == {"a": 1, "b": 2, "c": 3}
    assert source.loads == [("b",), ("a", "c", "x")]


async def test_readers_of_the_same_key_share_a_load_also_if_they_want_others_too() -> None:
    source, cache = Source(a=1, b=2, c=3), cache_of(Clock())
    source.gate.clear()
    readers = [
        asyncio.create_task(cache.get_many(keys, source.load_many)) for keys in (["a", "b"], ["b", "c"], ["c", "a"])
    ]
    await settle()
    source.gate.set()

    assert await asyncio.gather(*readers) == [{"a": 1, "b": 2}, {"b": 2, "c": 3}, {"c": 3, "a": 1}]
    assert source.loads == [("a", "b"), ("c",)]


async def test_absence_is_not_cached_so_a_creation_is_visible_immediately() -> None:
    source, cache = Source(), cache_of(Clock())
    assert await cache.get("a", source.load) is None

    source.values["a"] = 1

    assert await cache.get("a", source.load) == 1


async def test_a_creation_is_seen_although_a_load_that_found_nothing_is_on_its_way() -> None:
    source, cache = Source(), cache_of(Clock())
    source.gate.clear()
    early = asyncio.create_task(cache.get("a", source.load))
    await settle()
    source.values["a"] = 1
    cache.invalidate(["a"])
    late = asyncio.create_task(cache.get("a", source.load))
    await settle()
    source.gate.set()

    assert (await early, await late) == (None, 1)


async def test_a_failed_load_reaches_all_who_wait_and_is_not_kept() -> None:
    source, cache = Source(a=1), cache_of(Clock())
    source.gate.clear()
    source.failure = ConnectionError("gone")
    readers = [asyncio.create_task(cache.get("a", source.load)) for _ in range(3)]
    await settle()
    source.gate.set()
    assert await asyncio.gather(*readers, return_exceptions=True) == [source.failure] * 3
    assert len(source.loads) == 1

    source.failure = None

    assert await cache.get("a", source.load) == 1
    assert cache.statistics().load_failures == 1


async def test_a_value_that_must_not_be_kept_is_handed_over_and_forgotten() -> None:
    source, cache = Source(a=-1, b=2), cache_of(Clock(), keep=lambda value: value > 0)

    assert await cache.get_many("ab", source.load_many) == {"a": -1, "b": 2}
    source.values.update(a=1, b=3)

    assert await cache.get_many("ab", source.load_many) == {"a": 1, "b": 2}


async def test_a_reader_that_gives_up_does_not_take_the_load_from_the_others() -> None:
    source, cache = Source(a=1), cache_of(Clock())
    source.gate.clear()
    first, second = (asyncio.create_task(cache.get("a", source.load)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    source.gate.set()

    assert await second == 1
    assert (len(source.loads), source.cancelled) == (1, 0)


async def test_a_load_without_readers_is_cancelled_and_not_joined() -> None:
    source, cache = Source(a=1), cache_of(Clock())
    source.gate.clear()
    first = asyncio.create_task(cache.get("a", source.load))
    await settle()
    first.cancel()
    await asyncio.wait([first])
    source.gate.set()

    assert await cache.get("a", source.load) == 1
    assert (len(source.loads), source.cancelled) == (2, 1)
    assert not cache._loads


async def test_a_reader_that_gives_up_immediately_leaves_nothing_behind() -> None:
    source, cache = Source(a=1), cache_of(Clock())
    reader = asyncio.create_task(cache.get("a", source.load))
    await asyncio.sleep(0)
    reader.cancel()
    await settle()

    assert reader.cancelled()
    assert not cache._loads


async def test_a_load_that_hangs_delays_no_reader_after_its_time() -> None:
    clock, source = Clock(), Source(a=1)
    cache = cache_of(clock)
    source.gate.clear()
    stuck = asyncio.create_task(cache.get("a", source.load))
    await settle()
    clock.now += 10

    async def other(_key: str) -> int:
        return 2

    assert await cache.get("a", other) == 2
    source.gate.set()
    assert await stuck == 1
    assert await cache.get("a", other) == 2


async def test_the_entry_that_was_not_used_for_longest_makes_room() -> None:
    source, cache = Source(a=1, b=2, c=3, d=4), cache_of(Clock())
    for key in "abcad":
        await cache.get(key, source.load)

    assert set(cache._entries) == {"a", "c", "d"}
    assert cache.statistics().evictions == 1


async def test_statistics_count_what_happened() -> None:
    clock, source = Clock(), Source(a=1, b=2)
    cache = cache_of(clock)

    async def slow(key: str) -> int | None:
        clock.now += 0.5
        return await source.load(key)

    await cache.get("a", slow)
    await cache.get_many("ab", source.load_many)
    cache.invalidate(["a", "b"])
    cache.clear()
    await cache.get("b", source.load)

    found = cache.statistics()
    assert (found.name, found.strategy, found.size, found.size_max) == ("numbers", NONSTRICT, 1, 3)
    assert (found.hits, found.misses, found.loads, found.load_failures) == (1, 3, 3, 0)
    assert found.invalidations == 3
    assert found.hit_ratio == 0.25
    assert found.load_seconds_mean == pytest.approx(0.5 / 3)


async def test_statistics_of_an_unused_cache_are_zero() -> None:
    cache: Cache[str, int] = cache_of(Clock())
    found = cache.statistics()
    assert (found.hit_ratio, found.load_seconds_mean, found.size) == (0, 0, 0)
