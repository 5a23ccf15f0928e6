"""The troubles that neighbours must not notice: one bad thing each, and who has nothing to do with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from tests.chaos.support.kinds import POISON
from tests.chaos.support.load import Load
from tests.chaos.support.platform import Platform, redis_client
from tests.chaos.support.row_faults import locked_row, with_later_value

_CALLS = frozenset({"submit", "submit free", "read", "pay"})
_PICKUPS = frozenset({"pickup", "pickup free"})
ALL_PROBES = _CALLS | _PICKUPS
# Neighbours have HIGH priority.
_OTHER_LIST = "jobs:p2:pending"
_FLOOD = 20_000
_LOCKED_FOR = 4

Inflicted = Callable[[Platform, Load], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Trouble:
    """One bad thing.

    Attributes:
        name: Follows "while".
        inflicted: Have it happen, and end it after the block.
        neighbours: What has nothing to do with it.
        times_longer: For how much longer than usual it lasts.
        limit_seconds: What the 99th percentile may come to, however fast it was before.
    """

    name: str
    inflicted: Inflicted
    neighbours: frozenset[str]
    times_longer: float = 1
    limit_seconds: float = 1


@asynccontextmanager
async def _locked(database: str, platform: Platform, load: Load) -> AsyncIterator[None]:
    async with locked_row(platform.postgres.url(database), database, spared=load.neighbour):
        yield


@asynccontextmanager
async def _later_value(platform: Platform, load: Load) -> AsyncIterator[None]:
    async with with_later_value(platform.postgres.url("jobs"), spared=load.neighbour):
        yield


@asynccontextmanager
async def _foreign_key(platform: Platform, _: Load) -> AsyncIterator[None]:
    with redis_client(platform.redis) as client:
        client.delete(_OTHER_LIST)
        client.set(_OTHER_LIST, "foreign")
        yield
        client.delete(_OTHER_LIST)


@asynccontextmanager
async def _failed_over(platform: Platform, _: Load) -> AsyncIterator[None]:
    await asyncio.to_thread(platform.fail_redis_over)
    yield


@asynccontextmanager
async def _read_only(database: str, platform: Platform, _: Load) -> AsyncIterator[None]:
    await asyncio.to_thread(platform.make_read_only, database)
    try:
        yield
    finally:
        await asyncio.to_thread(platform.make_writable, database)


@asynccontextmanager
async def _stopped(service: str, platform: Platform, _: Load) -> AsyncIterator[None]:
    members = [member for name, member in platform.members.items() if name.startswith(service)]
    async with AsyncExitStack() as turns:
        for member in members:
            await turns.enter_async_context(member.turn)
            await member.kill()
        yield
        for member in members:
            member.start()


@asynccontextmanager
async def _frozen(service: str, platform: Platform, _: Load) -> AsyncIterator[None]:
    # Neighbours call the other one.
    member = platform.members[f"{service}-0"]
    async with member.turn:
        member.freeze()
        try:
            yield
        finally:
            member.thaw()


@asynccontextmanager
async def _poison(_: Platform, load: Load) -> AsyncIterator[None]:
    load.submit(POISON)
    yield


@asynccontextmanager
async def _flooded(_: Platform, load: Load) -> AsyncIterator[None]:
    await load.submit_flood(_FLOOD)
    yield
    with suppress(TimeoutError):
        await load.cancel_flood()


def _of(what: Callable[[str, Platform, Load], AbstractAsyncContextManager[None]], name: str) -> Inflicted:
    return lambda platform, load: what(name, platform, load)


TROUBLES = (
    Trouble("a wallet's row is locked", _of(_locked, "wallets"), ALL_PROBES, times_longer=_LOCKED_FOR),
    Trouble("a job's row is locked", _of(_locked, "jobs"), ALL_PROBES, times_longer=_LOCKED_FOR),
    Trouble("a job has a value of a later release", _later_value, ALL_PROBES),
    # A list holds about a second of work, and all runners have their hands full.
    Trouble("another customer has 20,000 jobs waiting", _flooded, ALL_PROBES, limit_seconds=2),
    Trouble("a key of another type has the name of another list", _foreign_key, ALL_PROBES),
    Trouble("Redis has failed over", _failed_over, _CALLS),
    Trouble("the jobs database is read-only", _of(_read_only, "jobs"), frozenset({"pay"})),
    Trouble(
        "the wallets database is read-only",
        _of(_read_only, "wallets"),
        frozenset({"read", "submit free", "pickup free"}),
    ),
    Trouble(
        "the wallets service is unavailable",
        _of(_stopped, "wallets"),
        frozenset({"read", "submit free", "pickup free"}),
    ),
    Trouble("the other replica of the jobs service is frozen", _of(_frozen, "jobs"), _CALLS),
    Trouble(
        "the other replica of the wallets service is frozen",
        _of(_frozen, "wallets"),
        # Not "pay": what it had locked when it froze may be the neighbour's own wallet.
        frozenset({"read", "submit free", "pickup free"}),
    ),
    Trouble("the other replica of the customers service is frozen", _of(_frozen, "customers"), ALL_PROBES),
    Trouble("a job kills its runners", _poison, _CALLS),
)
