"""A response means what the first rule says that it matches, and otherwise what its status says."""

from typing import Any

import pytest

from innosystem.shared.endpoints.responses import Meaning, Rule, meaning


@pytest.mark.parametrize(
    ("status", "expected"),
    [(status, Meaning.SUCCESS) for status in (200, 201, 204, 299)]
    + [(status, Meaning.RETRY) for status in (408, 425, 429, 500, 502, 503, 504, 599)]
    + [(status, Meaning.FAILURE) for status in (300, 304, 400, 401, 404, 409, 422, 499)],
)
def test_without_rules_the_status_decides(status: int, expected: Meaning) -> None:
    assert meaning(status, {}, []) is expected


def test_the_first_rule_that_matches_decides() -> None:
    rules = [
        Rule.parse(409, 0, "$.code", '"exists"', "SUCCESS"),
        Rule.parse(400, 499, "", "", "RETRY"),
        Rule.parse(0, 0, "$.error", "", "FAILURE"),
    ]

    assert meaning(409, {"code": "exists"}, rules) is Meaning.SUCCESS
    assert meaning(409, {"code": "other"}, rules) is Meaning.RETRY
    assert meaning(200, {"error": None}, rules) is Meaning.FAILURE
    assert meaning(200, "text", rules) is Meaning.SUCCESS
    assert meaning(503, None, rules) is Meaning.RETRY


@pytest.mark.parametrize(
    ("value", "equals"),
    [(True, "true"), (1, "1"), ("busy", '"busy"'), (None, "null"), ({"a": 1, "b": 2}, '{"b": 2, "a": 1}')],
)
def test_values_are_compared_as_json(value: Any, equals: str) -> None:
    assert Rule.parse(0, 0, "$.x", equals, "RETRY").matches(200, {"x": value})


@pytest.mark.parametrize(("value", "equals"), [(1, "true"), ("true", "true"), (0, "false"), ("1", "1")])
def test_values_of_another_type_are_not_equal(value: Any, equals: str) -> None:
    assert not Rule.parse(0, 0, "$.x", equals, "RETRY").matches(200, {"x": value})


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ((500, 400, "", "", "RETRY"), "not below"),
        ((0, 0, "", "1", "RETRY"), "must have a path"),
        ((0, 0, "$.a", "{", "RETRY"), "must have JSON"),
        ((0, 0, "a", "", "RETRY"), "no path"),
        ((0, 0, "", "", "UNSPECIFIED"), "must have a meaning"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule: tuple[int, int, str, str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Rule.parse(*rule)
