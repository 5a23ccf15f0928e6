"""D6, D12: filters, orders and pages give on every dialect what they give in memory.

tests/integration/kit/test_query_sql_agrees_with_memory.py looks for counterexamples on PostgreSQL; here are the awkward
values it taught.
"""

from datetime import timedelta
from itertools import pairwise, product
from random import Random
from uuid import UUID

import pytest

from services.kit.query import memory
from services.kit.query.filter import parse_filter
from services.kit.query.listing import Listing
from services.kit.query.page import ListQuery, PageTokens
from services.kit.query.specification import Comparison, Operator, Pattern, Specification
from tests.dialects.example import World
from tests.unit.kit.query import example as it
from tests.unit.kit.query.example import NEW_YEAR, PARCELS, Parcel, Size, State

LISTS = Listing(PARCELS, PageTokens(b"a key that is only for the tests"))
KEYS = ["team", "a.b", 'quo"te', "it's", "back\\slash", "ä", "\U0001f600", "$", "[0]", "", "A", "a b"]
MOMENTS = [NEW_YEAR + timedelta(days=days, microseconds=micros) for days in (0, -400) for micros in (0, 1, 10)]


def some_parcels(count: int) -> list[Parcel]:
    """Parcels with ties in every field but the ID, the same in every run."""
    random = Random(12)
    return [
        Parcel(
            id=UUID(int=random.getrandbits(128)),
            name=random.choice(it.TEXTS),
            note=random.choice([None, *it.TEXTS]),
            count=random.choice([0, 1, -1, 2**31 - 1, -(2**31)]),
            cost_cents=random.choice([None, 0, 5, 2**40]),
            fragile=random.random() < 0.5,
            size=random.choice(list(Size)),
            state=random.choice(list(State)),
            created_at=random.choice(MOMENTS),
            sent_at=random.choice([None, *MOMENTS]),
            owner_id=random.choice([None, UUID(int=1), UUID(int=1 << 127)]),
            labels=random.choice(
                [None, {}, {random.choice(KEYS): random.choice(it.TEXTS), "team": random.choice(["blue", "red"])}]
            ),
        )
        for _ in range(count)
    ]


PARCEL_LIST = some_parcels(120)
SORTABLE = [field.name for field in PARCELS.fields if field.sortable]
ORDERS = [f"{name}{direction}" for name in SORTABLE for direction in ("", " desc")]
# Two fields, in the same direction and in opposite ones: these are different conditions.
ORDERS += [f"{one}{down}, {two} desc" for (one, two), down in product(pairwise(SORTABLE), ("", " desc"))]
FILTERS = [
    "",
    'id = "8*"',
    'owner_id = "00000000-*"',
    'owner_id != "8*"',
    "count = 1",
    "count != 1 AND cost_cents > 0",
    "count < 9223372036854775807",
    "NOT cost_cents >= 5",
    "cost_cents:*",
    "fragile = true",
    "NOT fragile = true",
    "size = MEDIUM OR status = LOST",
    "status != SHUT",
    'created_at > "2026-01-01T00:00:00Z"',
    'created_at = "2026-01-01T00:00:00.000001Z"',
    'created_at < "2026-01-01T01:00:00.00001+01:00"',
    'sent_at < "2026-01-01T00:00:00Z"',
    'NOT sent_at < "2026-01-01T00:00:00Z"',
    "NOT sent_at:*",
    f'owner_id = "{UUID(int=1)}"',
    f'NOT owner_id = "{UUID(int=1)}"',
    "labels:*",
    "NOT labels:*",
    'labels.team = "blue"',
    'NOT labels.team = "blue"',
    'labels.team != "blue"',
    'labels.team = "bl*"',
]


@pytest.fixture
async def filled(world: World) -> World:
    """A table of parcels."""
    async with world.transactions.begin():
        assert len(await world.parcels.create_many(PARCEL_LIST)) == len(PARCEL_LIST)
    return world


async def finds_the_same(world: World, specifications: list[Specification]) -> int:
    """Fails if a specification finds other parcels than in memory; returns how many found some, but not all."""
    telling = 0
    async with world.transactions.begin(read_only=True):
        for specification in specifications:
            query = ListQuery(PARCELS.default_ordering, specification, page_size=1000)
            expected = memory.apply(PARCEL_LIST, query)
            assert await world.parcels.list_page(query) == expected, specification
            assert await world.parcels.count(specification) == len(expected.items)
            telling += 0 < len(expected.items) < len(PARCEL_LIST)
    return telling


async def test_entities_are_read_as_they_were_stored(filled: World) -> None:
    async with filled.transactions.begin():
        assert await filled.parcels.get_many([one.id for one in PARCEL_LIST]) == {one.id: one for one in PARCEL_LIST}


@pytest.mark.parametrize("specification", ["", "fragile = true AND cost_cents:*"], ids=["all", "some"])
async def test_pages_are_walked_in_every_order(filled: World, specification: str) -> None:
    matching = sum(parse_filter(specification, PARCELS).matches(one) for one in PARCEL_LIST)
    async with filled.transactions.begin(read_only=True):
        for order_by in ORDERS:
            token, walked = "", 0
            while token or not walked:
                query = LISTS.query(filter=specification, order_by=order_by, page_size=17, page_token=token)
                page = await filled.parcels.list_page(query)
                assert page == memory.apply(PARCEL_LIST, query), order_by
                token, walked = LISTS.next_page_token(query, page), walked + len(page.items)
            assert walked == matching, order_by


async def test_filters_find_the_same(filled: World) -> None:
    found = await finds_the_same(filled, [parse_filter(one, PARCELS) for one in FILTERS])
    # All but the empty one, and the one that every number meets.
    assert found == len(FILTERS) - 2


async def test_patterns_have_no_special_characters_and_mind_the_case(filled: World) -> None:
    patterns: list[Specification] = [
        Pattern(field, wanted, open_start=start, open_end=end)
        for field, wanted in product((it.NAME, it.NOTE), it.TEXTS)
        for start, end in product((True, False), repeat=2)
    ]
    assert await finds_the_same(filled, patterns + [~one for one in patterns]) > len(patterns)


async def test_texts_are_compared_by_code_point(filled: World) -> None:
    comparisons: list[Specification] = [
        Comparison(field, operator, wanted)
        for field, operator, wanted in product((it.NAME, it.NOTE), Operator, it.TEXTS)
    ]
    comparisons += [field.is_in(it.TEXTS[n : n + 3]) for field in (it.NAME, it.NOTE) for n in range(len(it.TEXTS))]
    assert await finds_the_same(filled, [*comparisons, it.NAME.is_in([])]) > len(comparisons) // 2


async def test_a_key_of_a_map_may_have_any_character(filled: World) -> None:
    entries = [it.LABELS.entry(key) for key in KEYS]
    specifications: list[Specification] = [
        specification
        for entry in entries
        for specification in (
            entry.is_present(),
            entry.is_absent(),
            *(entry.is_(wanted) for wanted in it.TEXTS),
            entry.is_not("a"),
            entry.contains("a"),
        )
    ]
    assert await finds_the_same(filled, specifications) > 3 * len(KEYS)


async def test_pages_hide_nothing_when_entities_come_meanwhile(filled: World) -> None:
    first = LISTS.query(order_by="created_at desc", page_size=60)
    async with filled.transactions.begin():
        page = await filled.parcels.list_page(first)
        await filled.parcels.create(it.parcel(id=UUID(int=2**128 - 1), created_at=NEW_YEAR + timedelta(days=1)))
        token = LISTS.next_page_token(first, page)
        rest = await filled.parcels.list_page(LISTS.query(order_by="created_at desc", page_size=60, page_token=token))
    assert {one.id for one in (*page.items, *rest.items)} == {one.id for one in PARCEL_LIST}
