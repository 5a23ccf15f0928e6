"""JSON as indented lines."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cli.output.indented import indented

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_text_is_indented_as_python_indents_it(value: Any) -> None:
    assert indented(json.dumps(value, ensure_ascii=False)) == json.dumps(value, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("number", ["0.10", "1e400", "123456789012345678901234567890.5", "-0"])
def test_numbers_stay_as_they_are_written(number: str) -> None:
    assert indented(f'{{"n":{number}}}') == f'{{\n  "n": {number}\n}}'


def test_no_text_is_no_text() -> None:
    assert indented("") == ""
