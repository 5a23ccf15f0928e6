"""order_by (AIP-132). Requirement D6."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.errors import InvalidOrderBy
from services.kit.query.fields import StringField, UuidField
from services.kit.query.order import ORDER_BY_LENGTH_MAX, parse_order_by
from services.kit.query.resource import Resource
from tests.unit.kit.query.example import PARCELS


def parse(text: str) -> str:
    return ", ".join(str(order) for order in parse_order_by(text, PARCELS))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", "created_at desc, id desc"),
        ("  ", "created_at desc, id desc"),
        ("name", "name, id"),
        ("name asc", "name, id"),
        ("created_at desc, name", "created_at desc, name, id"),
        (" created_at  desc ,name desc", "created_at desc, name desc, id desc"),
        ("status,size desc", "status, size desc, id desc"),
        ("id desc", "id desc"),
        ("id, name", "id"),
    ],
)
def test_every_order_ends_with_the_id_in_the_direction_before_it(text: str, meant: str) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("note", "'note' is no field to sort by; the fields are id, name, count"),
        ("price", "'price' is no field"),
        ("name, name desc", "name is named twice"),
        ("name DESC", "'name DESC' is no field name"),
        ("name desc desc", "is no field name"),
        ("name,", "'' is no field name"),
        (",", "is no field name"),
        ("name; drop table", "is no field name"),
        ("-name", "is no field name"),
        ("\x00", "is no field name"),
        ("name," * ORDER_BY_LENGTH_MAX, "may have 1024"),
    ],
)
def test_what_is_wrong_is_refused_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(InvalidOrderBy) as refused:
        parse(text)
    assert said in refused.value.problem


@given(st.text())
def test_any_text_is_either_understood_or_an_invalid_order(text: str) -> None:
    try:
        ordering = parse_order_by(text, PARCELS)
    except InvalidOrderBy as error:
        error.message.encode()
    else:
        assert ordering[-1].field.name == "id"


def test_a_resource_with_a_mistake_in_its_fields_is_refused_when_it_is_made() -> None:
    id_, name = UuidField("id", sortable=True), StringField("name")
    with pytest.raises(ValueError, match="share a name"):
        Resource("things", (id_, name, name))
    with pytest.raises(ValueError, match="needs a sortable field called id"):
        Resource("things", (name,))
    with pytest.raises(ValueError, match="name is not sortable"):
        Resource("things", (id_, name), default_order=(name.ascending(),))
