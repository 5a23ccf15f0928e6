from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.jobs.rules.schemas.payloads import BYTES_MAX, NotStorable, TooLarge, check


@pytest.mark.parametrize(
    "text",
    ["null", "0", '"text"', "[]", '{"a": [1, 2.5, true, null]}', "1e308", "-1.5e-300", '"3e8f"', '"\\\\u0000"'],
)
def test_json_that_the_database_takes_passes_unchanged(text: str) -> None:
    assert check(text).text == text


def test_an_empty_text_means_null() -> None:
    assert check("").text == "null"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON"),
        ("NaN", "not valid JSON"),
        ("[1,]", "not valid JSON"),
        ("{'a': 1}", "not valid JSON"),
        ("\ufeff{}", "not valid JSON"),
        ('"\\ud800"', "not valid JSON"),
        ("1e400", "not valid JSON"),
        ("[" * 5000 + "]" * 5000, "not valid JSON"),
        ('"\\u0000"', "NUL"),
        ('{"\\u0000": 1}', "NUL"),
        ('[{"a": ["\\u0000"]}]', "NUL"),
        ("1e-5000", "more than 1000 digits"),
        ("0e99999", "more than 1000 digits"),
        ("0." + "1" * 1001, "more than 1000 digits"),
    ],
)
def test_json_that_the_database_refuses_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(NotStorable, match=problem):
        check(text)


def test_a_payload_may_have_exactly_the_limit() -> None:
    text = '"' + "x" * (BYTES_MAX - 2) + '"'
    assert check(text).text == text
    with pytest.raises(TooLarge) as caught:
        check(text[:-1] + 'x"')
    assert caught.value.size == BYTES_MAX + 1


def test_the_limit_counts_bytes_and_not_characters() -> None:
    with pytest.raises(TooLarge):
        check('"' + "ü" * (BYTES_MAX // 2) + '"')


def test_numbers_that_grow_when_they_are_printed_count_as_they_are_printed() -> None:
    assert check("[1e300]").size >= 300
    with pytest.raises(TooLarge):
        check("[" + ",".join(["1e300"] * 10_000) + "]")


@given(st.text())
def test_nothing_but_the_two_refusals_comes_of_any_text(text: str) -> None:
    with suppress(NotStorable, TooLarge):
        assert check(text).size >= len(text)
