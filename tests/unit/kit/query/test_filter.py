"""The filter language (AIP-160). Requirement D6."""

import re
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.kit.errors import InvalidFilter
from services.kit.query.fields import StringListField, UuidField
from services.kit.query.filter import COMPARISONS_MAX, DEPTH_MAX, FILTER_LENGTH_MAX, parse_filter
from services.kit.query.resource import Resource
from services.kit.query.specification import ALWAYS, And, Comparison, Operator, Or, Specification
from tests.unit.kit.query.example import (
    COUNT,
    CREATED_AT,
    FRAGILE,
    ID,
    LABELS,
    NAME,
    NEW_YEAR,
    NOTE,
    OWNER_ID,
    PARCELS,
    SIZE,
    STATE,
    Size,
    State,
    parcel,
)

A, B, C = COUNT.is_(1), NAME.is_("b"), FRAGILE.is_(True)


def parse(text: str) -> Specification:
    return parse_filter(text, PARCELS)


@pytest.mark.parametrize(
    ("start", "first", "last"),
    [
        ("01890a5d", "01890a5d-0000-0000-0000-000000000000", "01890a5d-ffff-ffff-ffff-ffffffffffff"),
        ("01890A5D-a", "01890a5d-a000-0000-0000-000000000000", "01890a5d-afff-ffff-ffff-ffffffffffff"),
        ("", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ],
)
def test_the_start_of_a_uuid_is_a_range(start: str, first: str, last: str) -> None:
    def inside(field: UuidField) -> Specification:
        return Comparison(field, Operator.AT_LEAST, UUID(first)) & Comparison(field, Operator.AT_MOST, UUID(last))

    assert parse(f'id = "{start}*"') == inside(ID)
    assert parse(f"owner_id != {start}*") == OWNER_ID.is_present() & ~inside(OWNER_ID)


@pytest.mark.parametrize("start", ["01890a5dx", "01890a5da", "0189-", "*"])
def test_what_no_uuid_starts_with_is_refused(start: str) -> None:
    with pytest.raises(InvalidFilter, match="or the start of one and"):
        parse(f'id = "{start}*"')


@pytest.mark.parametrize("text", ["", " ", "\t\r\n"])
def test_an_empty_filter_means_everything(text: str) -> None:
    assert parse(text) == ALWAYS


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("count = 1", A),
        ("count=1", A),
        ('count = "1"', A),
        ("count != -5", COUNT.is_not(-5)),
        ("count<9223372036854775807", COUNT.less_than(2**63 - 1)),
        ("count >= -9223372036854775808", COUNT.at_least(-(2**63))),
        ("name = b", B),
        ("name = 'b'", B),
        (r'name = "say \"hi\" \\ it\'s"', NAME.is_('say "hi" \\ it\'s')),
        (r'name = "a\nb\tc\rd"', NAME.is_("a\nb\tc\rd")),
        ('name = "AND"', NAME.is_("AND")),
        ("name = me@example.com", NAME.is_("me@example.com")),
        ("name > m", NAME.greater_than("m")),
        ("fragile = true", C),
        ("fragile != false", FRAGILE.is_not(False)),
        ("fragile = Yes", C),
        ("size = medium", SIZE.is_(Size.MEDIUM)),
        ("size = MEDIUM", SIZE.is_(Size.MEDIUM)),
        ("status = OPEN", STATE.is_(State.OPEN)),
        ("owner_id = 00000000-0000-0000-0000-00000000000A", OWNER_ID.is_(UUID(int=10))),
        ("note:*", NOTE.is_present()),
        ('NOT note:"*"', NOTE.is_absent()),
        ("labels.team = blue", LABELS.entry("team").is_("blue")),
        ("labels.app/tier-1 != x", LABELS.entry("app/tier-1").is_not("x")),
        ('labels."cost center" = "7"', LABELS.entry("cost center").is_("7")),
        ("labels:team", LABELS.entry("team").is_present()),
        ('labels:"a b"', LABELS.entry("a b").is_present()),
        ("labels.team:*", LABELS.entry("team").is_present()),
        ("labels:*", LABELS.is_present()),
        ('labels.team = "bl*"', LABELS.entry("team").starts_with("bl")),
    ],
)
def test_a_comparison_means_what_the_fields_say(text: str, meant: Specification) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ('"2026-01-01t00:00:00z"', NEW_YEAR),
        ("2026-01-01T01:30:00+01:30", NEW_YEAR),
        ("2025-12-31T19:00:00.0-05:00", NEW_YEAR),
        ("2026-01-01T00:00:00.000001Z", NEW_YEAR + timedelta(microseconds=1)),
        ("2026-01-01T00:00:00.000001000Z", NEW_YEAR + timedelta(microseconds=1)),
        ("2026-01-01T00:00:00.5Z", NEW_YEAR + timedelta(milliseconds=500)),
        ("2026-01-01", NEW_YEAR),
    ],
)
def test_times_are_rfc_3339_with_or_without_quotes(text: str, moment: datetime) -> None:
    assert parse(f"created_at > {text}") == CREATED_AT.after(moment)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("count = 1 AND name = b OR fragile = true", A & (B | C)),
        ("count = 1 OR name = b AND fragile = true", (A | B) & C),
        ("(count = 1 AND name = b) OR fragile = true", (A & B) | C),
        ("count = 1 name = b OR fragile = true", A & (B | C)),
        ("NOT count = 1 OR name = b", ~A | B),
        ("-count = 1 AND -(name = b)", ~A & ~B),
        ("NOT (count = 1 AND name = b)", ~(A & B)),
        ("NOT(count = 1)", ~A),
        ("((count = 1))", A),
        ("(count = 1)AND(name = b)", A & B),
    ],
)
def test_or_binds_tighter_than_and_and_not_tightest(text: str, meant: Specification) -> None:
    assert parse(text) == meant


def test_long_chains_stay_flat() -> None:
    assert parse(" AND ".join(["count = 1"] * 50)) == And((A,) * 50)
    assert parse(" OR ".join(["count = 1"] * 50)) == Or((A,) * 50)


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        ('"ab*"', ["ab", "abc", "ab*"], ["xab", "AB"]),
        ("ab*", ["ab", "abc"], ["xab"]),
        ('"*ab"', ["ab", "xab"], ["abc"]),
        ('"*ab*"', ["ab", "xaby"], ["a b"]),
        ('"*"', ["", "x"], [None]),
        ('"**"', ["", "x"], [None]),
        (r'"\*"', ["*"], ["", "x", "**"]),
        (r'"a\**"', ["a*", "a*b"], ["ab", "a"]),
        ('"%_*"', ["%_", "%_x"], ["ab"]),
        ('"a\\\\*"', ["a\\", "a\\b"], ["ab"]),
    ],
)
def test_stars_at_the_ends_of_a_string_are_wildcards(pattern: str, hits: list[Any], misses: list[Any]) -> None:
    equal, unequal = parse(f"note = {pattern}"), parse(f"note != {pattern}")
    for note in hits:
        assert equal.matches(parcel(note=note)), note
        assert not unequal.matches(parcel(note=note)), note
    for note in misses:
        assert not equal.matches(parcel(note=note)), note
        assert unequal.matches(parcel(note=note)) is (note is not None), note


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("cost_cents = 5", False),
        ("cost_cents != 5", False),
        ("cost_cents < 5", False),
        ("NOT cost_cents = 5", True),
        ("NOT cost_cents != 5", True),
        ("NOT (cost_cents = 5 OR cost_cents != 5)", True),
        ("cost_cents:*", False),
        ("labels.none = x", False),
        ("labels.none != x", False),
        ("NOT labels.none = x", True),
    ],
)
def test_comparisons_with_null_are_false_and_not_makes_them_true(text: str, matches: bool) -> None:
    assert parse(text).matches(parcel(cost_cents=None)) is matches
    assert parse(text).matches(parcel(cost_cents=None, labels=None)) is matches


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo", "at character 4, one of ="),
        ('"full text"', "at character 1, a comparison was expected"),
        ("name = a foo", "words without a field are not supported"),
        ("price = 5", "at character 1, 'price' is no field to filter on; the fields are id, name"),
        ("secret = x", "'secret' is no field"),
        ("name.first = x", "'name.first' is no field"),
        ("labels.a.b = x", "'labels.a.b' is no field"),
        ("count = 1 AND status = OPENED", "at character 24, status is compared with one of OPEN,"),
        ("status = z-open", "one of OPEN, SHUT, LOST"),
        ("status > OPEN", "at character 8, status can only be compared by = and !=, not by >"),
        ("fragile = maybe", "true or false"),
        ("count = 9223372036854775808", "whole number from -2^63"),
        ("count = 1.5", "whole number"),
        ("count = ٣", "whole number"),
        ("count = " + "9" * 4000, "whole number"),
        ("count = *", "whole number"),
        ("id = {00000000-0000-0000-0000-000000000000}", "a UUID"),
        ("created_at > 2026-1-1", "RFC 3339"),
        ("created_at > 2026-02-30T00:00:00Z", "RFC 3339"),
        ("created_at > 2026-01-01T00:00:60Z", "RFC 3339"),
        ("created_at > 2026-01-01T00:00:00", "RFC 3339"),
        ("created_at > 2026-01-01T00:00:00.0000001Z", "at most 6 decimals"),
        ("created_at > 0001-01-01T00:00:00+23:00", "RFC 3339"),
        ("created_at > 2026-01-01T00:00:00+24:00", "RFC 3339"),
        ("labels = x", 'labels is a map: write labels.key = "value"'),
        ("labels:a*", "keys have no wildcards"),
        ("labels. team = x", "a name was expected after the dot"),
        ("name:alpha", "write name:* for any value, and name = ... to compare, with *"),
        ("count:5", "write count:* for any value"),
        ('name = "a*b"', "a * is a wildcard only at the ends"),
        ('name < "a*"', "wildcards can only be compared by ="),
        ("name =", "at character 7, a value was expected"),
        ("name == x", "at character 7, a value was expected; equality is written with one ="),
        ("name = AND count = 1", "a value was expected"),
        ("name = (a OR b)", "at character 8, a list of values cannot be compared"),
        ("name = a=b", "'=' cannot follow a value"),
        ('name = "a"b', "'b' cannot follow a value"),
        ('name = "abc', 'at character 8, a string has no closing "'),
        ('name = "abc\\', r"a \ must be followed by"),
        (r'name = "\x41"', r"at character 9, a \ must be followed by"),
        ("count = 1 AND", "at character 14, a comparison was expected"),
        ("AND count = 1", "a comparison was expected"),
        ("count = 1 OR", "a comparison was expected"),
        ("NOT NOT count = 1", "a comparison was expected"),
        ("count = 1 and name = b", "write AND in capitals"),
        ("has(name)", "functions are not supported"),
        ("(count = 1", "at character 1, a ( has no closing )"),
        ("count = 1)", "a ) has no opening ("),
        ("()", "a comparison was expected"),
        ("name = 'a\x00'", "at character 10, '\\x00' is invalid in strings"),
        ("name = '\ud800'", "is invalid in strings"),
        ("count \x0b= 1", "one of ="),
    ],
)
def test_what_is_wrong_is_refused_with_the_place_and_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse(text)
    assert said in refused.value.problem
    refused.value.message.encode()  # can be sent


def test_the_length_is_limited() -> None:
    text = "count = 1"
    assert parse(text.ljust(FILTER_LENGTH_MAX)) == A
    with pytest.raises(InvalidFilter, match="4096 characters"):
        parse(text.ljust(FILTER_LENGTH_MAX + 1))


def test_the_depth_is_limited() -> None:
    assert parse("(" * DEPTH_MAX + "count = 1" + ")" * DEPTH_MAX) == A
    assert parse(" ".join(["(count = 1)"] * (DEPTH_MAX + 1))) == And((A,) * (DEPTH_MAX + 1))
    for opening in ("(", "-(", "NOT (", "count = 1 OR ("):
        depth = min(COMPARISONS_MAX, FILTER_LENGTH_MAX // len(opening))
        with pytest.raises(InvalidFilter, match="nests deeper than 16"):
            parse(opening * depth)


def test_the_number_of_comparisons_is_limited() -> None:
    parse(" ".join(["count = 1"] * COMPARISONS_MAX))
    with pytest.raises(InvalidFilter, match="more than 100 comparisons"):
        parse(" ".join(["count = 1"] * (COMPARISONS_MAX + 1)))


PIECES = r"""
    id name count labels labels.a status created_at fragile = != < <= > >= : ( ) - . * , AND OR NOT
    OPEN 1 true " ' \ "x" 'y*' 2026-01-01T00:00:00Z ä
"""
pieces = st.sampled_from([*PIECES.split(), "\x00", "\ud800"])


@given(st.text() | st.lists(pieces).map(" ".join) | st.lists(pieces).map("".join))
@example("(" * 4096)
@example("-" * 4096)
@example('name = "' + "\\" * 4000)
def test_any_text_is_either_understood_or_an_invalid_filter(text: str) -> None:
    try:
        specification = parse(text)
    except InvalidFilter as error:
        error.message.encode()
    else:
        assert specification.matches(parcel()) in {True, False}


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=50))
def test_any_string_can_be_written_in_quotes(text: str) -> None:
    for quote in "\"'":
        escaped = text
        for special in ("\\", "*", quote):
            escaped = escaped.replace(special, "\\" + special)
        assert parse(f"name = {quote}{escaped}{quote}") == NAME.is_(text)


def test_the_id_is_a_field_like_others() -> None:
    assert parse(f"id = {UUID(int=1)}") == ID.is_(UUID(int=1))


QUEUES = StringListField("queues")
LISTS = Resource("lists", (ID, QUEUES))


@pytest.mark.parametrize(
    ("text", "specification", "matching"),
    [
        ("queues:a", QUEUES.item("a").is_present(), [True, False, False]),
        ('NOT queues:"a b"', ~QUEUES.item("a b").is_present(), [True, False, True]),
        ("queues:*", QUEUES.is_present(), [True, True, False]),
    ],
)
def test_a_list_is_filtered_by_its_items(text: str, specification: Specification, matching: list[bool]) -> None:
    assert parse_filter(text, LISTS) == specification
    rows = [SimpleNamespace(queues=items) for items in (["a", "b"], ["a b"], [])]
    assert [specification.matches(row) for row in rows] == matching


@pytest.mark.parametrize(
    ("text", "message"),
    [("queues = a", "queues is a list: write queues:item"), ("queues:a*", "items have no wildcards")],
)
def test_a_list_has_no_other_comparisons(text: str, message: str) -> None:
    with pytest.raises(InvalidFilter, match=re.escape(message)):
        parse_filter(text, LISTS)
