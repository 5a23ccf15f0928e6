"""Pages and their tokens (AIP-158). Requirement D6."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import cmp_to_key
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.errors import InvalidField, InvalidFilter, InvalidPageToken
from services.kit.query.field import Order
from services.kit.query.listing import Listing
from services.kit.query.memory import apply
from services.kit.query.page import Cursor, ListQuery, PageTokens
from services.kit.query.resource import Resource
from tests.unit.kit.query.example import (
    COUNT,
    ID,
    PARCELS,
    Parcel,
    Size,
    State,
    orders,
    parcel,
    parcel_lists,
)

TOKENS = PageTokens(b"a key that is only for the tests")
LISTS = Listing(PARCELS, TOKENS)
MANY = [parcel(id=UUID(int=number), count=number % 3) for number in range(10)]


def walk(parcels: Sequence[Parcel], lists: Listing, **parameters: Any) -> list[Parcel]:
    seen: list[Parcel] = []
    token = ""
    for _ in range(len(parcels) + 1):
        query = lists.query(page_token=token, **parameters)
        page = apply(parcels, query)
        assert len(page.items) <= query.page_size
        seen += page.items
        token = lists.next_page_token(query, page)
        if not token:
            return seen
    raise AssertionError("the pages do not end")


def in_order(parcels: Sequence[Parcel], ordering: Sequence[Order]) -> list[Parcel]:
    """Sorts in another way than the code under test does."""

    def compare(left: Parcel, right: Parcel) -> int:
        for order in ordering:
            keys = [order.field.sort_key(order.field.read(one)) for one in (left, right)]
            if keys[0] != keys[1]:
                return 1 if (keys[0] > keys[1]) is not order.descending else -1
        return 0

    return sorted(parcels, key=cmp_to_key(compare))


@given(parcel_lists, orders, st.integers(1, 7))
def test_pages_give_every_entity_once_and_in_order(parcels: list[Parcel], order_by: str, page_size: int) -> None:
    expected = in_order(parcels, LISTS.query(order_by=order_by).ordering)
    assert walk(parcels, LISTS, order_by=order_by, page_size=page_size) == expected


def test_pages_of_a_filtered_list_give_what_matches() -> None:
    found = walk(MANY, LISTS, filter="count = 1", order_by="id", page_size=2)
    assert [one.id.int for one in found] == [1, 4, 7]


def test_the_scope_holds_whatever_the_filter_says() -> None:
    found = walk(MANY, LISTS, filter="count = 0 OR count = 1", scope=COUNT.is_(1), order_by="id")
    assert [one.id.int for one in found] == [1, 4, 7]


def test_a_full_last_page_has_no_token() -> None:
    query = LISTS.query(page_size=10)
    page = apply(MANY, query)
    assert len(page.items) == 10
    assert LISTS.next_page_token(query, page) == ""


def test_entities_that_come_or_go_between_pages_hide_no_others() -> None:
    query = LISTS.query(order_by="id", page_size=3)
    first = apply(MANY, query)
    token = LISTS.next_page_token(query, first)
    changed = [parcel(id=UUID(int=100)), *MANY[3:]]  # what was shown is gone
    rest = apply(changed, LISTS.query(order_by="id", page_token=token))
    assert [one.id.int for one in rest.items] == [3, 4, 5, 6, 7, 8, 9, 100]


@pytest.mark.parametrize(("asked", "given_"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_the_page_size_has_a_default_and_a_maximum(asked: int, given_: int) -> None:
    assert LISTS.query(page_size=asked).page_size == given_


def test_a_negative_page_size_is_an_invalid_field() -> None:
    with pytest.raises(InvalidField) as refused:
        LISTS.query(page_size=-1)
    assert refused.value.metadata == {"fields": "page_size"}


def test_a_wrong_filter_is_refused_before_the_token_is_looked_at() -> None:
    with pytest.raises(InvalidFilter):
        LISTS.query(filter="nonsense", page_token="nonsense")


def token_of(lists: Listing = LISTS, **parameters: Any) -> str:
    query = lists.query(page_size=2, **parameters)
    token = lists.next_page_token(query, apply(MANY, query))
    assert token
    return token


def test_the_page_size_may_change_between_pages() -> None:
    assert LISTS.query(page_token=token_of(), page_size=7).cursor is not None


def test_spaces_in_order_by_may_change_between_pages() -> None:
    token = token_of(order_by="name desc,count")
    assert LISTS.query(page_token=token, order_by="name  desc, count asc").cursor is not None


@pytest.mark.parametrize(
    "other",
    [
        {"filter": "count >= 1"},
        {"filter": ""},
        {"order_by": "name desc"},
        {"order_by": ""},
        {"parameters": {"customer_id": "2"}},
        {"parameters": {}},
    ],
)
def test_a_token_is_bound_to_the_other_parameters(other: dict[str, Any]) -> None:
    mine: dict[str, Any] = {
        "filter": "count >= 0",
        "order_by": "name",
        "parameters": {"customer_id": "1"},
    }
    token = token_of(**mine)
    assert LISTS.query(page_token=token, **mine).cursor is not None
    with pytest.raises(InvalidPageToken):
        LISTS.query(page_token=token, **{**mine, **other})


def test_a_token_is_bound_to_its_list_and_its_key() -> None:
    others = [
        Listing(Resource("letters", PARCELS.fields, PARCELS.default_order), TOKENS),
        Listing(PARCELS, PageTokens(b"another key, of other servers...")),
    ]
    for other in others:
        with pytest.raises(InvalidPageToken):
            other.query(page_token=token_of())


def test_a_token_is_refused_when_the_default_order_has_changed() -> None:
    new = Listing(Resource("parcels", PARCELS.fields, (COUNT.ascending(),)), TOKENS)
    with pytest.raises(InvalidPageToken):
        new.query(page_token=token_of())


def test_a_token_is_refused_when_the_type_of_a_field_has_changed() -> None:
    token = TOKENS.encode((1,), (COUNT.ascending(),), b"x")
    for name in ("id", "name", "fragile", "status", "created_at"):
        with pytest.raises(InvalidPageToken):
            TOKENS.decode(token, (PARCELS.by_name[name].ascending(),), b"x")
    with pytest.raises(InvalidPageToken):
        TOKENS.decode(token, (COUNT.ascending(), ID.ascending()), b"x")


@given(st.text() | st.text("abcXYZ019-_=+/ \n\x00é", max_size=80))
def test_any_made_up_token_is_refused(token: str) -> None:
    if token:
        with pytest.raises(InvalidPageToken):
            LISTS.query(page_token=token)


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    token = token_of()
    at = data.draw(st.integers(0, len(token) - 1))
    changed = data.draw(st.characters())
    forged = token[:at] + changed + token[at + 1 :]
    if forged != token:
        with pytest.raises(InvalidPageToken):
            LISTS.query(page_token=forged)


def test_a_token_with_something_appended_or_cut_off_is_refused() -> None:
    token = token_of()
    for forged in (token + "=", token + "A", token + "\n", " " + token, token[:-1], token[:21]):
        with pytest.raises(InvalidPageToken):
            LISTS.query(page_token=forged)


def test_tokens_are_safe_in_urls() -> None:
    alphabet = "-_" + "".join(map(chr, (*range(48, 58), *range(65, 91), *range(97, 123))))
    assert set(token_of()) <= set(alphabet)
    base64.urlsafe_b64decode(token_of() + "==")


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 16"):
        PageTokens(b"short")


zones = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(
    st.tuples(
        st.uuids(),
        st.text(),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.sampled_from(Size),
        st.sampled_from(State),
        st.datetimes(timezones=zones | st.just(UTC)),
    )
)
def test_values_of_every_type_come_back_exactly(cursor: Cursor) -> None:
    names = ["id", "name", "count", "fragile", "size", "status", "created_at"]
    ordering = tuple(PARCELS.by_name[name].ascending() for name in names)
    back = TOKENS.decode(TOKENS.encode(cursor, ordering, b""), ordering, b"")
    assert back == cursor
    assert back is not None
    assert [type(value) for value in back] == [type(value) for value in cursor]
    before, after = cursor[-1], back[-1]
    assert isinstance(after, datetime)
    assert after.utcoffset() == before.utcoffset()
    assert after.microsecond == before.microsecond


def test_no_cursor_is_the_empty_token_both_ways() -> None:
    query = ListQuery(PARCELS.default_ordering)
    assert TOKENS.encode(None, query.ordering, b"") == ""
    assert TOKENS.decode("", query.ordering, b"") is None
