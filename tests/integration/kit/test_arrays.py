"""Arrays that are sent as text arrive unchanged, with any contents."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, DateTime, Integer, Interval, LargeBinary, Text, Uuid, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import StatementError

from services.jobs.rules.entities import JobStatus
from services.jobs.rules.job_types import Priority
from services.kit.data.array_parameters import any_of, unnest
from services.kit.data.engine.database import Database
from services.kit.data.errors import InvalidData
from tests.conftest import OpenDatabase

TYPES = {
    "uuids": Uuid,
    "texts": Text,
    "numbers": BigInteger,
    "bits": Boolean,
    "times": DateTime(timezone=True),
    "durations": Interval,
    "blobs": LargeBinary,
    "documents": JSONB,
}
VALUES: dict[str, list[Any]] = {
    "uuids": [uuid4(), None],
    "texts": ['a"b\\c,{}', "NULL"],
    "numbers": [-(2**63), 2**63 - 1],
    "bits": [True, False],
    "times": [
        datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
        datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    ],
    "durations": [timedelta(days=-3, microseconds=1), timedelta(days=400, hours=5)],
    "blobs": [b"", bytes(range(256))],
    "documents": [{"a": ['"', "\\", None, 1.5, "ä"]}, []],
}


@pytest.fixture
async def database(rolled_back: OpenDatabase) -> Database:
    return await rolled_back("jobs")


async def read(database: Database, types: dict[str, Any], values: dict[str, list[Any]]) -> dict[str, list[Any]]:
    rows = unnest("rows", types)
    async with database.transaction() as transaction:
        found = (await transaction.connection.execute(select(*rows.c), values)).mappings().all()
    return {name: [row[name] for row in found] for name in types}


async def test_each_kind_of_value_arrives_as_it_was(database: Database) -> None:
    assert await read(database, TYPES, VALUES) == VALUES


@pytest.mark.parametrize("name", TYPES)
async def test_nothing_and_empty_arrays_arrive(database: Database, name: str) -> None:
    assert await read(database, {name: TYPES[name]}, {name: []}) == {name: []}
    assert await read(database, {name: TYPES[name]}, {name: [None]}) == {name: [None]}


async def test_members_of_enumerations_arrive_as_their_values(database: Database) -> None:
    values: dict[str, list[Any]] = {"texts": list(JobStatus), "numbers": list(Priority)[:1] * len(JobStatus)}
    arrived = await read(database, {"texts": Text, "numbers": Integer}, values)
    assert arrived["texts"] == [one.value for one in JobStatus]
    assert set(arrived["numbers"]) == {next(iter(Priority)).value}


async def test_a_value_is_found_among_many(database: Database) -> None:
    wanted = [uuid4() for _ in range(3)]
    rows = unnest("rows", {"id": Uuid})
    statement = select(rows.c.id).where(rows.c.id == any_of("wanted", Uuid))
    async with database.transaction() as transaction:
        found = await transaction.connection.execute(statement, {"id": [*wanted, uuid4()], "wanted": wanted})
        assert [one for [one] in found] == wanted


async def test_what_the_database_can_not_hold_is_refused(database: Database) -> None:
    with pytest.raises(InvalidData):
        await read(database, {"texts": Text}, {"texts": ["a\0b"]})


async def test_a_value_of_an_unforeseen_type_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="no array of object"):
        await read(database, {"texts": Text}, {"texts": [object()]})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            st.binary(max_size=20),
            st.integers(-(2**63), 2**63 - 1),
            st.uuids(),
        ),
        min_size=1,
    )
)
async def test_whatever_is_in_an_array_arrives(database: Database, rows: list[tuple[str, bytes, int, UUID]]) -> None:
    texts, blobs, numbers, uuids = (list(column) for column in zip(*rows, strict=True))
    values: dict[str, list[Any]] = {"texts": texts, "blobs": blobs, "numbers": numbers, "uuids": uuids}
    assert await read(database, {name: TYPES[name] for name in values}, values) == values
