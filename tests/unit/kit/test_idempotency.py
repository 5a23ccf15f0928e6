import pytest

from services.kit.errors import IdempotencyKeyReused
from services.kit.idempotency import check_same, digest

FIRST = {"name": "Ada", "email": "ada@example.com", "limit": 1}


def test_the_same_parameters_are_the_same() -> None:
    check_same(dict(FIRST), digest(FIRST))


def test_those_that_differ_are_named_in_order() -> None:
    with pytest.raises(IdempotencyKeyReused) as caught:
        check_same({"name": "Eve", "email": "ada@example.com", "limit": 2}, digest(FIRST))
    assert caught.value.fields == ("name", "limit")


def test_a_number_is_not_the_text_of_it() -> None:
    with pytest.raises(IdempotencyKeyReused):
        check_same({**FIRST, "limit": "1"}, digest(FIRST))


def test_a_lone_surrogate_is_digested() -> None:
    assert len(digest({"name": "\ud800"})) == 8


def test_a_parameter_this_release_knows_and_the_stored_one_does_not_counts_as_different() -> None:
    with pytest.raises(IdempotencyKeyReused) as caught:
        check_same({**FIRST, "new": True}, digest(FIRST))
    assert caught.value.fields == ("new",)


def test_a_parameter_of_a_later_release_counts_as_different() -> None:
    with pytest.raises(IdempotencyKeyReused) as caught:
        check_same(FIRST, digest({**FIRST, "new": True}))
    assert caught.value.fields == ("others",)
