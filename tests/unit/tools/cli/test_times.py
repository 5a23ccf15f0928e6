"""Durations and times that are typed: taken exactly, or refused with what to type instead."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cli.times import read_duration, read_time, show_duration

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "length", "shown"),
    [
        ("30s", timedelta(seconds=30), "30s"),
        ("5m", timedelta(minutes=5), "5m"),
        ("24h", timedelta(hours=24), "1d"),
        ("7d", timedelta(days=7), "7d"),
        ("1h30m", timedelta(minutes=90), "1h30m"),
        ("90s", timedelta(seconds=90), "1m30s"),
        ("1.5s", timedelta(milliseconds=1500), "1.5s"),
        ("500ms", timedelta(milliseconds=500), "500ms"),
        ("0.5ms", timedelta(microseconds=500), "0.5ms"),
        ("1m500ms", timedelta(seconds=60.5), "1m0.5s"),
        ("0", timedelta(), "0s"),
        ("0s", timedelta(), "0s"),
    ],
)
def test_a_duration_is_read_exactly_and_shown_as_it_is_typed(typed: str, length: timedelta, shown: str) -> None:
    assert read_duration(typed) == length
    assert show_duration(length) == shown


@given(st.timedeltas(min_value=timedelta(days=-1000), max_value=timedelta(days=1000)))
def test_what_is_shown_of_a_duration_can_be_typed(length: timedelta) -> None:
    assert read_duration(show_duration(abs(length))) == abs(length)
    assert show_duration(-abs(length)).removeprefix("-") == show_duration(abs(length))


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("30", "'30' has no unit: type 30s for seconds, 30m for minutes, 30h or 30d"),
        ("5min", "not a duration, such as 500ms, 30s, 5m, 24h, 7d or 1h30m"),
        ("", "not a duration"),
        ("s", "not a duration"),
        ("-5m", "not a duration"),
        ("5 m", "not a duration"),
        ("1e3s", "not a duration"),
        ("\u0665m", "not a duration"),
        ("1w", "not a duration"),
        ("999999999999d", "is too long"),
        ("0.0001ms", "is finer than a microsecond"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_type(typed: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_duration(typed)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("2026-11-28T10:00:00Z", datetime(2026, 11, 28, 10, tzinfo=UTC)),
        ("2026-11-28T12:00:00+02:00", datetime(2026, 11, 28, 10, tzinfo=UTC)),
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=UTC)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
    ],
)
def test_a_past_time_is_a_time_a_date_or_how_long_ago(typed: str, meant: datetime) -> None:
    assert read_time(typed, now=NOW) == meant


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("2026-11-28T10:00", "has no time zone: type 2026-11-28T10:00Z for UTC"),
        ("yesterday", "'yesterday' is not a time, such as 2026-01-31T12:00:00Z or 2026-01-31, or how long ago: 24h"),
        ("2026-13-01", "is not a time"),
        ("3000000d", "is too long ago"),
    ],
)
def test_what_is_no_time_is_refused_with_what_to_type(typed: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_time(typed, now=NOW)


def test_a_duration_is_no_time_where_the_future_is_meant() -> None:
    with pytest.raises(ValueError, match=r"another job: type 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$"):
        read_time("24h")
