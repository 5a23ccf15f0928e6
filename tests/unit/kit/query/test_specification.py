"""Specifications written in code. Requirement D6."""

from datetime import timedelta

from hypothesis import given

from services.kit.query.specification import ALWAYS, Specification, all_of, any_of
from tests.unit.kit.query.example import (
    COST_CENTS,
    COUNT,
    CREATED_AT,
    LABELS,
    NAME,
    NEW_YEAR,
    NOTE,
    STATE,
    Parcel,
    State,
    parcel,
    parcels,
)


def test_specifications_compose() -> None:
    wanted = STATE.is_(State.OPEN) & CREATED_AT.at_or_after(NEW_YEAR) & ~NAME.is_("beta")
    assert wanted.matches(parcel())
    assert not wanted.matches(parcel(name="beta"))
    assert not wanted.matches(parcel(state=State.SHUT))
    assert not wanted.matches(parcel(created_at=NEW_YEAR - timedelta(microseconds=1)))
    assert (wanted | NAME.is_("beta")).matches(parcel(name="beta", state=State.SHUT))


def test_each_handle_says_what_its_name_says() -> None:
    hour = timedelta(hours=1)
    for specification in (
        CREATED_AT.before(NEW_YEAR + hour),
        CREATED_AT.at_or_before(NEW_YEAR),
        CREATED_AT.after(NEW_YEAR - hour),
        CREATED_AT.at_or_after(NEW_YEAR),
        COUNT.less_than(4),
        COUNT.at_most(3),
        COUNT.greater_than(2),
        COUNT.at_least(3),
        COUNT.is_(3),
        COUNT.is_not(4),
        COUNT.is_in([1, 3]),
        NAME.starts_with("al"),
        NAME.ends_with("ha"),
        NAME.contains("lph"),
        NOTE.is_absent(),
        NAME.is_present(),
        LABELS.is_present(),
        LABELS.entry("team").is_("blue"),
    ):
        assert specification.matches(parcel()), specification
        assert not (~specification).matches(parcel()), specification


def test_the_bounds_are_exact() -> None:
    for specification in (
        CREATED_AT.before(NEW_YEAR),
        CREATED_AT.after(NEW_YEAR),
        COUNT.less_than(3),
        COUNT.at_most(2),
        COUNT.greater_than(3),
        COUNT.at_least(4),
        COUNT.is_in([]),
        COST_CENTS.is_not(1),
        COST_CENTS.is_in([1]),
        NAME.contains("LPH"),
    ):
        assert not specification.matches(parcel()), specification


def test_always_true_is_neutral_for_and_and_decides_or() -> None:
    assert (ALWAYS & COUNT.is_(1)) == COUNT.is_(1) == (COUNT.is_(1) & ALWAYS)
    assert (ALWAYS | COUNT.is_(1)) == ALWAYS
    assert all_of() == ALWAYS
    assert not (~ALWAYS).matches(parcel())


def test_an_empty_map_is_not_present() -> None:
    assert not LABELS.is_present().matches(parcel(labels={}))
    assert not LABELS.is_present().matches(parcel(labels=None))


@given(parcels)
def test_the_logic_has_two_values(one: Parcel) -> None:
    a, b = COST_CENTS.greater_than(0), NOTE.starts_with("a")
    laws: list[tuple[Specification, Specification]] = [
        (~~a, a),
        (~(a & b), ~a | ~b),
        (~(a | b), ~a & ~b),
        (any_of(a, b, a), b | a),
    ]
    for left, right in laws:
        assert left.matches(one) is right.matches(one)
    assert (a | ~a).matches(one)
