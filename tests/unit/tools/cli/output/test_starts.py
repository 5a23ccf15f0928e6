"""The starts of UUIDs that tables on a terminal show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cli.output.starts import starts


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        (["0199f3a2-7c1b-7000-8000-000000000201"], ["0199f3a2-7c"]),
        # Of one second: as many digits as tell them apart, and two more.
        (
            ["0199f3a2-7c1b-7a00-8000-000000000201", "0199f3a2-7c1b-7b00-8000-000000000202"],
            ["0199f3a2-7c1b-7a00", "0199f3a2-7c1b-7b00"],
        ),
        (["01990000-0000-7000-8000-000000000201", "01990000-0000-7000-8000-000000000202"], None),
        (["-", "default"], None),
        ([], None),
    ],
)
def test_starts_are_as_long_as_the_list_needs(ids: list[str], shown: list[str] | None) -> None:
    assert [starts(ids)[one] for one in ids] == (shown or ids)


@given(st.lists(st.uuids().map(str), max_size=40))
def test_starts_are_unique_in_the_list_and_never_end_in_a_hyphen(ids: list[str]) -> None:
    found = starts(ids)
    assert len(set(found.values())) == len(set(ids))
    for whole, start in found.items():
        assert whole.startswith(start)
        assert not start.endswith("-")
        assert len(start) >= 8
