"""D4, D12: transactions mean the same on every dialect, where it can do what they need."""
# ruff: noqa: PT012 - what raises is the end of a transaction, after what is done in it

import asyncio
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import pytest

from services.kit.data.engine.database import Database
from services.kit.data.errors import AlreadyExists, LockTimedOut, PoolExhausted, TransactionMisused, UnexpectedRollback
from services.kit.data.transactions.ambient import Isolation, Propagation
from services.kit.data.transactions.transactional import transactional
from services.kit.query.specification import ALWAYS
from tests.dialects.conftest import OpenWorld
from tests.dialects.example import World

P = Propagation


class Wrong(Exception):
    """What a test raises."""


async def test_what_is_left_normally_is_kept_and_seen_only_then(world: World) -> None:
    async with world.transactions.begin():
        await world.add("one")
        assert await world.kept() == set()
    assert await world.kept() == {"one"}


async def test_an_exception_takes_everything_back(world: World) -> None:
    with pytest.raises(Wrong):
        async with world.transactions.begin():
            await world.add("one")
            raise Wrong
    assert await world.kept() == set()


async def test_a_cancelled_transaction_is_taken_back_and_leaves_its_connection(open_world: OpenWorld) -> None:
    world = open_world(pool_size=1)
    added = asyncio.Event()

    async def wait() -> None:
        async with world.transactions.begin():
            await world.add("one")
            added.set()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await added.wait()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert await world.kept() == set()


async def test_a_transaction_rolls_back_on_request(world: World) -> None:
    async with world.transactions.begin() as transaction:
        await world.add("one")
        transaction.roll_back()
    assert await world.kept() == set()


async def test_a_savepoint_goes_back_to_where_it_was_made(world: World) -> None:
    async with world.transactions.begin():
        await world.add("outer")
        with pytest.raises(Wrong):
            async with world.transactions.begin(P.NESTED):
                await world.add("taken back")
                raise Wrong
        async with world.transactions.begin(P.NESTED):
            await world.add("kept")
    assert await world.kept() == {"outer", "kept"}


async def test_a_savepoint_ends_with_what_is_around_it(world: World) -> None:
    with pytest.raises(Wrong):
        async with world.transactions.begin():
            async with world.transactions.begin(P.NESTED):
                await world.add("inner")
            raise Wrong
    assert await world.kept() == set()


async def test_after_a_refused_statement_in_a_savepoint_the_transaction_continues(world: World) -> None:
    async with world.transactions.begin():
        await world.add("one")
        with pytest.raises(AlreadyExists):
            async with world.transactions.begin(P.NESTED):
                await world.add("two")
                await world.add("one")
        await world.add("three")
    assert await world.kept() == {"one", "three"}


async def test_after_a_refused_statement_only_postgresql_commits_nothing(world: World) -> None:
    async def swallow() -> None:
        async with world.transactions.begin():
            await world.add("one")
            with suppress(AlreadyExists):
                await world.add("one")

    if world.dialect == "postgresql":
        with pytest.raises(UnexpectedRollback):
            await swallow()
        assert await world.kept() == set()
    else:
        await swallow()
        assert await world.kept() == {"one"}


async def test_a_new_transaction_lasts_when_the_suspended_one_is_taken_back(world: World) -> None:
    with pytest.raises(Wrong):
        async with world.transactions.begin():
            assert await world.makers.count(ALWAYS) == 0
            async with world.transactions.begin(P.REQUIRES_NEW):
                await world.add("inner")
            raise Wrong
    assert await world.kept() == {"inner"}


async def test_beside_one_that_has_changed_something_sqlite_lets_no_other_change(world: World) -> None:
    async def change_twice() -> None:
        async with world.transactions.begin():
            await world.add("outer")
            async with world.transactions.begin(P.REQUIRES_NEW):
                await world.add("inner")

    if world.dialect == "sqlite":
        with pytest.raises(LockTimedOut):
            await change_twice()
        assert await world.kept() == set()
    else:
        await change_twice()
        assert await world.kept() == {"outer", "inner"}


async def test_a_new_transaction_on_a_full_pool_fails_immediately(open_world: OpenWorld) -> None:
    world = open_world(pool_size=1)
    with pytest.raises(PoolExhausted):
        async with world.transactions.begin(), world.transactions.begin(P.REQUIRES_NEW):
            pass


async def test_without_a_transaction_each_statement_commits_by_itself(world: World) -> None:
    with pytest.raises(Wrong):
        async with world.transactions.begin(P.SUPPORTS):
            await world.add("one")
            assert await world.kept() == {"one"}
            raise Wrong
    assert await world.kept() == {"one"}


async def test_supports_joins_what_is_open(world: World) -> None:
    with pytest.raises(Wrong):
        async with world.transactions.begin():
            async with world.transactions.begin(P.SUPPORTS):
                await world.add("one")
            raise Wrong
    assert await world.kept() == set()


async def test_not_supported_works_beside_what_is_open(world: World) -> None:
    with pytest.raises(Wrong):
        async with world.transactions.begin():
            async with world.transactions.begin(P.NOT_SUPPORTED):
                await world.add("beside")
            raise Wrong
    assert await world.kept() == {"beside"}


async def test_what_was_not_committed_is_not_seen_beside_it(world: World) -> None:
    async with world.transactions.begin():
        made = await world.add("one")
        async with world.transactions.begin(P.NOT_SUPPORTED):
            assert await world.makers.get(made.id) is None


async def test_a_read_only_transaction_reads_and_refuses_changes(open_world: OpenWorld) -> None:
    world = open_world(pool_size=1)
    async with world.transactions.begin():
        made = await world.add("one")
    with pytest.raises(TransactionMisused):
        async with world.transactions.begin(read_only=True):
            assert await world.makers.get(made.id) == made
            await world.add("two")
    # The connection is the same one: it has forgotten about it.
    async with world.transactions.begin():
        await world.add("three")
    async with world.transactions.begin(read_only=True):
        await world.makers.get(made.id)
    async with world.transactions.begin(P.NOT_SUPPORTED):
        await world.add("four")
    assert await world.kept() == {"one", "three", "four"}


@pytest.mark.parametrize("isolation", Isolation)
async def test_every_isolation_level_can_be_asked_for(open_world: OpenWorld, isolation: Isolation) -> None:
    world = open_world(pool_size=1)
    async with world.transactions.begin(isolation=isolation):
        await world.add("one")
    async with world.transactions.begin():
        await world.add("two")
    assert await world.kept() == {"one", "two"}


async def test_a_repeatable_read_does_not_see_what_came_later(world: World) -> None:
    async with world.transactions.begin(isolation=Isolation.REPEATABLE_READ):
        assert await world.makers.count(ALWAYS) == 0
        async with world.transactions.begin(P.REQUIRES_NEW):
            made = await world.add("later")
        found = await world.makers.get(made.id)
    assert found is None


async def test_hooks_are_called_by_the_outcome(world: World) -> None:
    called: list[str] = []
    async with world.transactions.begin():
        world.transactions.after_commit(lambda: called.append("committed"))
        world.transactions.after_rollback(lambda: called.append("never"))
        await world.add("one")
        assert called == []
    with pytest.raises(AlreadyExists):
        async with world.transactions.begin():
            world.transactions.after_commit(lambda: called.append("never"))
            world.transactions.after_rollback(lambda: called.append("rolled back"))
            await world.add("one")
    assert called == ["committed", "rolled back"]


async def test_a_conflict_repeats_the_whole(world: World) -> None:
    async with world.transactions.begin():
        made = await world.add("one")
    tries = Renaming(world)
    await tries.rename(made.id)
    assert tries.seen == ["one", "other"]
    assert await world.kept() == {"mine"}


class Renaming:
    """A use case with which another transaction interferes once."""

    def __init__(self, world: World) -> None:
        self.transactions = world.transactions
        self.world = world
        self.seen: list[str] = []

    @transactional(retries=2)
    async def rename(self, maker_id: UUID) -> None:
        made = await self.world.makers.get(maker_id)
        assert made is not None
        self.seen.append(made.name)
        if len(self.seen) == 1:
            async with self.transactions.begin(P.REQUIRES_NEW):
                await self.world.makers.update(replace(made, name="other"))
        await self.world.makers.update(replace(made, name="mine"))


async def test_on_one_connection_everything_is_taken_back_with_its_transaction(world: World) -> None:
    async with world.database._engine.connect() as connection:
        around = await connection.begin()
        inside = World(Database.on_connection(connection))
        async with inside.transactions.begin():
            await inside.add("one")
        with pytest.raises(Wrong):
            async with inside.transactions.begin():
                await inside.add("two")
                raise Wrong
        with pytest.raises(AlreadyExists):
            async with inside.transactions.begin():
                await inside.add("one")
        async with inside.transactions.begin(P.REQUIRES_NEW):
            await inside.add("three")
        assert await inside.kept() == {"one", "three"}
        await around.rollback()
    assert await world.kept() == set()


async def test_the_database_gives_a_sign_of_life(world: World) -> None:
    await world.database.check()
