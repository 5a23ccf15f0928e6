"""D12: repositories keep their promises on every dialect."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from services.kit.data.audit.entries import Action
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.query.page import ListQuery
from services.kit.query.specification import ALWAYS
from tests.dialects.example import Instrument, Kind, Makers, NewInstrument, NewMaker, World, documents

WORDS = ("", "Flöte", "FLÖTE", "flote ", "\U0001f600 'quoted' \"twice\" \\ %_")
MOMENTS = (
    datetime(2026, 3, 1, 12, 0, 0, 1, UTC),
    datetime(2026, 3, 1, 12, 0, 0, 123456, timezone(timedelta(hours=5, minutes=30))),
    datetime(1970, 1, 1, tzinfo=UTC),
    None,
)


async def instrument(world: World, **values: Any) -> Instrument:
    """Store an instrument of a new maker."""
    async with world.transactions.begin():
        maker = await world.add(f"maker {uuid4()}")
        return await world.instruments.create(NewInstrument(**{"maker_id": maker.id, "name": "flute", **values}))


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
async def test_a_moment_is_read_as_it_was_stored(world: World, moment: datetime | None) -> None:
    made = await instrument(world, tuned_at=moment)
    async with world.transactions.begin():
        read = await world.instruments.get(made.id)
    assert read == made
    assert made.tuned_at == moment
    assert moment is None or (made.tuned_at is not None and made.tuned_at.utcoffset() == timedelta(0))


@pytest.mark.parametrize("word", WORDS)
async def test_text_and_bytes_are_read_as_they_were_stored(world: World, word: str) -> None:
    seal = bytes(range(256))
    made = await instrument(world, name=word, notes=word * 100, kind=Kind.STRINGS, price=2**62, seal=seal)
    async with world.transactions.begin():
        assert await world.instruments.get(made.id) == made
    assert (made.name, made.notes, made.kind, made.price, made.seal) == (word, word * 100, Kind.STRINGS, 2**62, seal)


async def test_what_is_left_out_is_none(world: World) -> None:
    made = await instrument(world)
    assert (made.price, made.tuned_at, made.seal, made.notes) == (None, None, None, None)


async def test_json_text_is_read_as_json_of_the_same_value(world: World) -> None:
    async with world.transactions.begin():
        await world.transactions.resource.execute(
            documents.insert(), [{"id": 1, "body": '{"a": 1.50}'}, {"id": 2, "body": None}]
        )
        read = (await world.transactions.resource.execute(select(documents.c.body).order_by(documents.c.id))).scalars()
        assert list(read) == ['{"a": 1.50}', None]


async def test_the_database_stamps_rows_with_its_time(world: World) -> None:
    before = datetime.now(UTC)
    made = await instrument(world)
    assert made.version == 1
    assert made.created_at == made.updated_at
    # SQLite cuts off what is less than a millisecond.
    assert before - timedelta(milliseconds=1) <= made.created_at <= datetime.now(UTC)


async def test_what_is_not_there_is_none(world: World) -> None:
    async with world.transactions.begin():
        assert await world.makers.get(uuid4()) is None
        assert await world.makers.get_many([uuid4()]) == {}
        assert await world.makers.get_many([]) == {}
        assert not await world.makers.delete(uuid4())


async def test_many_are_stored_and_read_in_one_go(world: World) -> None:
    async with world.transactions.begin():
        made = await world.makers.create_many([NewMaker(name=f"{n}") for n in range(100)])
        asked = list(made)[::2]
        found = await world.makers.get_many([*asked, uuid4(), asked[0]])
        assert await world.makers.count(ALWAYS) == 100
    assert found == {key: made[key] for key in asked}
    assert {one.name for one in made.values()} == {f"{n}" for n in range(100)}


async def test_of_many_none_is_stored_if_one_is_refused(world: World) -> None:
    with pytest.raises(AlreadyExists):
        async with world.transactions.begin():
            await world.makers.create_many([NewMaker(name=name) for name in ("one", "two", "one")])
    assert await world.kept() == set()


async def test_an_update_makes_the_next_version(world: World) -> None:
    made = await instrument(world, price=5, tuned_at=MOMENTS[0], seal=b"seal")
    async with world.transactions.begin():
        changed = await world.instruments.update(replace(made, name="oboe", price=None, seal=None))
        assert await world.instruments.get(made.id) == changed
    assert changed == replace(made, name="oboe", price=None, seal=None, version=2, updated_at=changed.updated_at)
    assert changed.updated_at >= made.updated_at


async def test_an_update_that_changes_nothing_is_one(world: World) -> None:
    made = await instrument(world)
    async with world.transactions.begin():
        assert (await world.instruments.update(made)).version == 2


async def test_an_update_of_an_older_version_is_a_conflict(world: World) -> None:
    made = await instrument(world)
    async with world.transactions.begin():
        changed = await world.instruments.update(replace(made, name="oboe"))
    with pytest.raises(Conflict):
        async with world.transactions.begin():
            await world.instruments.update(replace(made, name="bassoon"))
    async with world.transactions.begin():
        assert await world.instruments.get(made.id) == changed


async def test_an_update_of_what_was_deleted_is_a_conflict(world: World) -> None:
    made = await instrument(world)
    async with world.transactions.begin():
        assert await world.instruments.delete(made.id)
        assert await world.instruments.get(made.id) is None
    with pytest.raises(Conflict):
        async with world.transactions.begin():
            await world.instruments.update(made)


async def test_changes_are_written_to_the_audit_trail(world: World) -> None:
    made = await instrument(world, price=5)
    async with world.transactions.begin():
        await world.instruments.update(replace(made, price=6))
        await world.instruments.delete(made.id)
    async with world.transactions.begin():
        page = await world.audit_log.list_page(ListQuery(world.audit_log.resource.with_tie_breaker(())))
    assert [one.action for one in page.items] == [Action.CREATE, Action.UPDATE, Action.DELETE]
    assert page.items[0].before is None
    assert page.items[1].changes()["price"] == (5, 6)
    assert page.items[2].after is None


async def test_another_repository_reads_the_same_rows(world: World) -> None:
    async with world.transactions.begin():
        made = await world.add("one")
        assert await Makers(world.transactions).get(made.id) == made
