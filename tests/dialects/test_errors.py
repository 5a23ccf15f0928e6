"""D3, D12: the errors of every dialect are translated into the same ones."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from services.kit.data.corrupt import all_understood
from services.kit.data.engine.database import Database
from services.kit.data.errors import (
    AlreadyExists,
    Conflict,
    ConnectionFailed,
    ConstraintViolated,
    DataError,
    InvalidData,
    LockTimedOut,
    SchemaBehind,
    StillReferenced,
    UnexpectedRollback,
)
from tests.dialects.conftest import AnyDatabaseSettings, OpenWorld
from tests.dialects.example import NewInstrument, NewMaker, World, makers

Action = Callable[[World], Awaitable[object]]


async def caught(world: World, action: Action) -> DataError:
    """The error that ends a transaction."""
    with pytest.raises(DataError) as found:
        async with world.transactions.begin():
            await action(world)
    assert not isinstance(found.value, DBAPIError)
    return found.value


async def same_name(world: World) -> None:
    await world.add("one")
    await world.add("one")


async def renamed(world: World) -> None:
    await world.add("one")
    await world.makers.update(replace(await world.add("two"), name="one"))


async def same_id(world: World) -> None:
    await world.makers.create(NewMaker(id=(await world.add("one")).id, name="two"))


async def same_name_of_one_maker(world: World) -> None:
    maker = await world.add("one")
    new = [NewInstrument(maker_id=maker.id, name="flute"), NewInstrument(maker_id=maker.id, name="flute")]
    await world.instruments.create_many(new)


@pytest.mark.parametrize(
    ("action", "constraint"),
    [
        (same_name, "uq_makers_name"),
        (renamed, "uq_makers_name"),
        (same_id, "pk_makers"),
        (same_name_of_one_maker, "uq_instruments_maker_id_name"),
    ],
)
async def test_an_existing_row_is_reported_by_its_constraint(world: World, action: Action, constraint: str) -> None:
    error = await caught(world, action)
    assert type(error) is AlreadyExists
    assert error.constraint == constraint


async def test_sqlite_names_columns_where_the_statement_is_text(world: World) -> None:
    if world.dialect != "sqlite":
        pytest.skip("the others tell the constraint themselves")

    async def insert_twice(inside: World) -> None:
        for _ in range(2):
            await inside.transactions.resource.execute(
                text("INSERT INTO makers (id, name) VALUES (:id, 'one')"), {"id": uuid4().hex}
            )

    error = await caught(world, insert_twice)
    assert isinstance(error, AlreadyExists)
    assert error.constraint == "makers.name"


async def test_names_that_differ_in_case_accent_or_space_are_different(world: World) -> None:
    async with world.transactions.begin():
        for name in ("flote", "Flote", "flöte", "flote "):
            await world.add(name)
    assert len(await world.kept()) == 4


async def without_maker(world: World) -> None:
    await world.instruments.create(NewInstrument(maker_id=uuid4(), name="flute"))


async def maker_gone(world: World) -> None:
    maker = await world.add("one")
    await world.instruments.create(NewInstrument(maker_id=maker.id, name="flute"))
    await world.makers.delete(maker.id)


@pytest.mark.parametrize("action", [without_maker, maker_gone])
async def test_a_foreign_key_is_reported_by_name_except_on_sqlite(world: World, action: Action) -> None:
    error = await caught(world, action)
    assert type(error) is StillReferenced
    assert error.constraint == ("" if world.dialect == "sqlite" else "fk_instruments_maker_id_makers")


async def test_a_check_is_reported_by_name(world: World) -> None:
    async def free(inside: World) -> None:
        maker = await inside.add("one")
        await inside.instruments.create(NewInstrument(maker_id=maker.id, name="flute", price=0))

    error = await caught(world, free)
    assert type(error) is ConstraintViolated
    assert error.constraint == "ck_instruments_price_positive"


async def test_a_null_where_none_may_be_is_a_violated_constraint(world: World) -> None:
    async def nameless(inside: World) -> None:
        await inside.transactions.resource.execute(makers.insert().values(id=uuid4(), name=None))

    assert type(await caught(world, nameless)) is ConstraintViolated


async def test_a_number_that_is_too_large_is_invalid_data(world: World) -> None:
    async def dear(inside: World) -> None:
        maker = await inside.add("one")
        await inside.instruments.create(NewInstrument(maker_id=maker.id, name="flute", price=2**70))

    assert type(await caught(world, dear)) is InvalidData


@pytest.mark.parametrize("statement", ["SELECT * FROM nowhere", "SELECT missing FROM makers"])
async def test_a_table_or_column_that_is_not_there_means_that_the_schema_is_behind(
    world: World, statement: str
) -> None:
    async def ask(inside: World) -> None:
        await inside.transactions.resource.execute(text(statement))

    assert type(await caught(world, ask)) is SchemaBehind


async def test_a_defect_stays_what_it_is(world: World) -> None:
    with pytest.raises(DBAPIError):
        async with world.transactions.begin():
            await world.transactions.resource.execute(text("SELEC 1"))


async def test_a_lock_that_is_held_too_long_is_distinguished_from_an_unavailable_database(world: World) -> None:
    async with world.transactions.begin():
        held = await world.add("one")

    async def change(inside: World) -> None:
        await inside.makers.update(held)

    async with world.database.transaction() as other:
        await other.connection.execute(makers.update().values(name="two"))
        assert type(await caught(world, change)) is LockTimedOut


async def test_a_change_beside_an_older_snapshot_is_a_conflict_on_sqlite(world: World) -> None:
    if world.dialect != "sqlite":
        pytest.skip("the others let READ COMMITTED see the change; their locks are tested below")

    async def change_late(inside: World) -> None:
        await inside.makers.get(uuid4())
        async with inside.database.transaction() as other:
            await other.connection.execute(makers.insert().values(id=uuid4(), name="two"))
            await other.commit()
        await inside.add("one")

    assert type(await caught(world, change_late)) is Conflict
    assert await world.kept() == {"two"}


async def test_of_two_that_wait_for_one_another_one_has_a_conflict(open_world: OpenWorld) -> None:
    world = open_world(lock_timeout_seconds=30)
    if world.dialect == "sqlite":
        pytest.skip("it has one writer at a time")
    async with world.transactions.begin():
        pair = [await world.add("one"), await world.add("two")]
    both_have_one = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with world.transactions.begin():
            await world.makers.update(pair[first])
            await both_have_one.wait()
            await world.makers.update(pair[second])

    ended = await asyncio.gather(lock(0, 1), lock(1, 0), return_exceptions=True)
    # The other one continues, and both rows have its versions.
    assert [type(one) for one in ended if one is not None] == [Conflict]
    async with world.transactions.begin():
        assert {
            one.version for one in all_understood((await world.makers.get_many([one.id for one in pair])).values())
        } == {2}


async def test_a_conflict_that_is_swallowed_commits_nothing(open_world: OpenWorld) -> None:
    world = open_world(lock_timeout_seconds=30)
    if world.dialect == "sqlite":
        pytest.skip("it has one writer at a time")
    async with world.transactions.begin():
        pair = [await world.add("one"), await world.add("two")]
    both_have_one = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with world.transactions.begin():
            await world.add(f"beside {first}")
            await world.makers.update(pair[first])
            await both_have_one.wait()
            try:
                await world.makers.update(pair[second])
            except Conflict:
                return

    ended = await asyncio.gather(lock(0, 1), lock(1, 0), return_exceptions=True)
    assert [type(one) for one in ended if one is not None] == [UnexpectedRollback]
    assert len(await world.kept()) == 3


async def test_a_database_that_can_not_be_reached_is_a_failed_connection(address: str) -> None:
    url = make_url(address)
    missing = "/no/such/folder/database" if url.get_backend_name() == "sqlite" else "missing"
    settings = AnyDatabaseSettings(url=SecretStr(url.set(database=missing).render_as_string(hide_password=False)))
    database = Database.connect(settings, application_name="test")
    with pytest.raises(ConnectionFailed):
        await database.check()
    await database.close()
