"""Specifications, orders and pages mean the same in SQL as in memory. Requirement D6."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    ClauseElement,
    Column,
    Connection,
    DateTime,
    Engine,
    Executable,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    create_engine,
    insert,
    select,
    text,
)
from sqlalchemy import Enum as SqlEnum
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from services.kit.data.repositories import query_sql
from services.kit.query import memory
from services.kit.query.field import Field
from services.kit.query.filter import parse_filter
from services.kit.query.listing import Listing
from services.kit.query.order import parse_order_by
from services.kit.query.page import ListQuery, Page, PageTokens
from services.kit.query.specification import (
    ALWAYS,
    Comparison,
    Pattern,
    Specification,
)
from tests.unit.kit.query import example as it
from tests.unit.kit.query.example import PARCELS, Parcel, Size, State

LISTS = Listing(PARCELS, PageTokens(b"a key that is only for the tests"))
LINGUISTIC = "SELECT collname FROM pg_collation WHERE collname IN ('en-x-icu', 'en_US.utf8') LIMIT 1"


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database: KIT_TEST_DATABASE_URL, or one on the server of the test run."""
    if given_url := os.environ.get("KIT_TEST_DATABASE_URL"):
        yield given_url
        return
    server = request.getfixturevalue("postgres")
    name = f"kit_query_{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}"
    server.create_database(name)
    yield server.url(name)
    server.drop_database(name)


class SizeByValue(TypeDecorator[Size]):
    """Takes members and stores their values, as the services' models do."""

    impl = SmallInteger
    cache_ok = True

    def process_bind_param(self, value: Size | None, dialect: Dialect) -> int | None:
        return None if value is None else value.value

    def process_result_value(self, value: int | None, dialect: Dialect) -> Size | None:
        return None if value is None else Size(value)


@dataclass(frozen=True)
class Store:
    """A table for parcels; how enums are declared differs."""

    connection: Connection
    table: Table
    enums_by_value: bool

    def fill(self, parcels: list[Parcel]) -> None:
        self.connection.execute(self.table.delete())
        rows = [asdict(parcel) for parcel in parcels]
        if self.enums_by_value:
            for row in rows:
                row.update(size=row["size"].value, state=row["state"].value)
        if rows:
            self.connection.execute(insert(self.table), rows)

    def page(self, query: ListQuery) -> Page[Parcel]:
        statement = query_sql.select_page(select(self.table), query, self.table.c)
        return Page.cut([self.parcel(row) for row in self.connection.execute(statement)], query)

    def parcel(self, row: Any) -> Parcel:
        values = dict(row._mapping)
        values.update(size=Size(values["size"]), state=State(values["state"]))
        return Parcel(**values)


def parcels_table(name: str, words: TypeEngine[Any], size: TypeEngine[Any], state: TypeEngine[Any]) -> Table:
    return Table(
        name,
        MetaData(),
        Column("id", Uuid, primary_key=True),
        Column("name", words, nullable=False),
        Column("note", words),
        Column("count", Integer, nullable=False),
        Column("cost_cents", BigInteger),
        Column("fragile", Boolean, nullable=False),
        Column("size", size, nullable=False),
        Column("state", state, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
        Column("sent_at", DateTime(timezone=True)),
        Column("owner_id", Uuid),
        Column("labels", JSONB(none_as_null=True)),
        prefixes=["TEMPORARY"],
    )


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module", params=["code points", "a language's order"])
def store(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Columns declared as `services.kit.data.repositories.query_sql` advises, and such that aren't."""
    with engine.connect() as connection:
        if request.param == "code points":
            state = SqlEnum(
                State,
                native_enum=False,
                values_callable=lambda states: [one.value for one in states],
            )
            table = parcels_table("parcels_c", Text(collation="C"), SizeByValue(), state)
        else:
            # Where the server knows no language the database's own collation has to do.
            words = Text(collation=connection.scalar(text(LINGUISTIC)))
            table = parcels_table("parcels_words", words, SmallInteger(), words)
        table.create(connection)
        yield Store(connection, table, enums_by_value=request.param != "code points")


def comparisons(field: Field[Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.builds(Comparison, st.just(field), st.sampled_from(sorted(field.operators, key=str)), values)
        | st.lists(values, max_size=3).map(field.is_in)
        | st.just(field.is_present())
    )


def patterns(field: Field[Any]) -> st.SearchStrategy[Any]:
    return st.builds(Pattern, st.just(field), it.texts, st.booleans(), st.booleans())


entries = it.texts.map(it.LABELS.entry)
wide = it.integers | st.sampled_from([2**63 - 1, -(2**63), 2**31])
leaves = st.one_of(
    comparisons(it.NAME, it.texts),
    comparisons(it.NOTE, it.texts),
    patterns(it.NAME),
    patterns(it.NOTE),
    comparisons(it.COUNT, wide),
    comparisons(it.COST_CENTS, wide),
    comparisons(it.FRAGILE, st.booleans()),
    comparisons(it.SIZE, st.sampled_from(Size)),
    comparisons(it.STATE, st.sampled_from(State)),
    comparisons(it.CREATED_AT, it.moments),
    comparisons(it.SENT_AT, it.moments),
    comparisons(it.OWNER_ID, it.uuids),
    entries.flatmap(lambda entry: comparisons(entry, it.texts)),
    entries.flatmap(patterns),
    st.just(it.LABELS.is_present()),
    st.just(ALWAYS),
)
specifications: st.SearchStrategy[Specification] = st.recursive(
    leaves,
    lambda inner: (
        inner.map(lambda one: ~one)
        | st.tuples(inner, inner).map(lambda two: two[0] & two[1])
        | st.tuples(inner, inner).map(lambda two: two[0] | two[1])
    ),
    max_leaves=6,
)

# The table is filled anew for every example; the connection is what lasts.
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(it.parcel_lists, st.lists(specifications, min_size=1, max_size=5), it.orders)
def test_the_same_specification_and_order_find_the_same_entities(
    store: Store, parcels: list[Parcel], wanted: list[Specification], order_by: str
) -> None:
    store.fill(parcels)
    for specification in wanted:
        query = ListQuery(parse_order_by(order_by, PARCELS), specification)
        assert store.page(query).items == memory.apply(parcels, query).items


@quick
@given(it.parcel_lists, specifications, it.orders, st.integers(1, 6))
@example(  # in most languages a comes before B; by code point it is the other way round
    [it.parcel(id=UUID(int=n), name=name) for n, name in enumerate(["a", "B", "b", "ä", "A"])],
    ALWAYS,
    "name",
    2,
)
def test_the_same_pages_are_walked(
    store: Store,
    parcels: list[Parcel],
    specification: Specification,
    order_by: str,
    page_size: int,
) -> None:
    store.fill(parcels)
    token = ""
    for _ in range(len(parcels) + 1):
        query = LISTS.query(order_by=order_by, page_size=page_size, page_token=token, scope=specification)
        page, expected = store.page(query), memory.apply(parcels, query)
        assert page == expected
        token = LISTS.next_page_token(query, page)
        if not token:
            return
    raise AssertionError("the pages do not end")


@quick
@given(it.texts, it.texts, st.lists(it.parcels, max_size=10, unique_by=lambda one: one.id))
def test_texts_in_filters_have_no_special_characters_but_the_star(
    store: Store, wanted: str, key: str, parcels: list[Parcel]
) -> None:
    parcels = [it.parcel(id=UUID(int=0), name=f"x{wanted}y", labels={key: wanted}), *parcels]
    store.fill(parcels)
    escaped, escaped_key = (one.replace("\\", "\\\\").replace("*", "\\*").replace('"', '\\"') for one in (wanted, key))
    for condition in (
        f'name = "*{escaped}*"',
        f'name != "x{escaped}*"',
        f'note = "{escaped}*" OR note = "*{escaped}"',
        f'name > "{escaped}"',
        f'labels."{escaped_key}" = "{escaped}"',
        f'-labels."{escaped_key}" = "{escaped}*"',
        f'labels:"{escaped_key}"',
    ):
        query = ListQuery(PARCELS.default_ordering, parse_filter(condition, PARCELS))
        assert store.page(query) == memory.apply(parcels, query), condition
    hit = ListQuery(PARCELS.default_ordering, parse_filter(f'name = "x{escaped}y"', PARCELS))
    assert parcels[0] in store.page(hit).items


@pytest.fixture
def indexed(engine: Engine) -> Iterator[Connection]:
    """A table with the indexes that the module advises, and no other way to read it than by one if one serves."""
    with engine.connect() as connection:
        PLANNED.create(connection)
        for statement in (
            "INSERT INTO planned SELECT gen_random_uuid(), md5(i::text), null, i % 7, i, false, 1,"
            " 'lost', now(), null, null, jsonb_build_object('team', i::text)"
            " FROM generate_series(1, 2000) i",
            "CREATE INDEX ON planned (name, id)",
            "CREATE INDEX ON planned (count, id)",
            "CREATE INDEX ON planned USING gin (labels)",
            "ANALYZE planned",
            "SET LOCAL enable_seqscan = off",
        ):
            connection.execute(text(statement))
        yield connection


PLANNED = parcels_table("planned", Text(collation="C"), SmallInteger(), Text(collation="C"))


class Explain(Executable, ClauseElement):
    """EXPLAIN of a statement, with its parameters bound as they are in the statement itself."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain)
def _explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN {compiler.process(element.statement, **options)}"


def plan(connection: Connection, query: ListQuery) -> str:
    statement = query_sql.select_page(select(PLANNED), query, PLANNED.c)
    return explained(connection, statement)


def explained(connection: Connection, statement: Select[Any]) -> str:
    return "\n".join(connection.execute(Explain(statement)).scalars())


@pytest.mark.parametrize("order_by", ["name", "name desc", "count", "count desc", "id"])
def test_an_index_serves_order_and_next_page(indexed: Connection, order_by: str) -> None:
    first = LISTS.query(order_by=order_by)
    values = {"name": "8", "count": 3, "id": UUID(int=1 << 127)}
    cursor = tuple(values[order.field.name] for order in first.ordering)
    found = plan(indexed, ListQuery(first.ordering, cursor=cursor))
    assert "Index Cond" in found, found
    assert "Sort" not in found, found
    assert "Filter" not in found, found


@pytest.mark.parametrize(
    "condition",
    [
        "name = x",
        'name = "ab*"',
        "name >= ab AND name < ac",
        "count = 3",
        "count = 9223372036854775807",
        "labels.team = x",
        "labels:team",
    ],
)
def test_an_index_serves_a_condition(indexed: Connection, condition: str) -> None:
    statement = select(PLANNED.c.id).where(query_sql.where(parse_filter(condition, PARCELS), PLANNED.c))
    found = explained(indexed, statement)
    assert "Index Cond" in found, found


def test_a_bound_on_the_first_field_serves_mixed_directions(indexed: Connection) -> None:
    ordering = parse_order_by("count desc, name, id", PARCELS)
    assert "Index Cond" in plan(indexed, ListQuery(ordering, cursor=(3, "8", UUID(int=1))))


def test_microseconds_survive_the_way_through_token_and_database(store: Store) -> None:
    parcels = [it.parcel(id=UUID(int=n), created_at=it.NEW_YEAR + timedelta(microseconds=n)) for n in range(5)]
    store.fill(parcels)
    query = LISTS.query(order_by="created_at", page_size=2)
    token = LISTS.next_page_token(query, store.page(query))
    rest = store.page(LISTS.query(order_by="created_at", page_token=token))
    assert [one.id.int for one in rest.items] == [2, 3, 4]
