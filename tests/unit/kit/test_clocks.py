"""The database's time, and how far another clock is from it."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.kit import clocks
from services.kit.clocks import DatabaseClock, Skew

THEN = datetime(2026, 1, 1, tzinfo=UTC)


class Ticking:
    """A clock of this process that moves when the test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    made = Ticking()
    monkeypatch.setattr(clocks, "monotonic", made)
    return made


def clock(host: datetime = THEN) -> DatabaseClock:
    return DatabaseClock(Skew("test", 1), lambda: host)


def test_it_is_not_known_before_the_database_was_asked() -> None:
    assert clock()() is None


@pytest.mark.parametrize("host", [THEN - timedelta(minutes=5), THEN, THEN + timedelta(minutes=5)])
def test_it_extrapolates_the_database_time_independent_of_the_host(ticking: Ticking, host: datetime) -> None:
    made = clock(host)
    ticking.seconds += 0.2
    # The database read its clock at some moment in between.
    made.read(THEN, ticking.seconds - 0.2)
    assert made() == THEN + timedelta(seconds=0.1)
    ticking.seconds += 60
    assert made() == THEN + timedelta(seconds=60.1)


def test_a_slow_reading_does_not_replace_an_earlier_one(ticking: Ticking) -> None:
    made = clock()
    made.read(THEN, ticking.seconds)
    ticking.seconds += 10
    made.read(THEN, ticking.seconds - 3)
    assert made() == THEN + timedelta(seconds=10)


def test_a_slow_first_reading_is_better_than_none(ticking: Ticking) -> None:
    made = clock()
    made.read(THEN, ticking.seconds - 2)
    assert made() == THEN + timedelta(seconds=1)


def test_skew_is_a_metric_and_logged_when_it_passes_the_limit_either_way() -> None:
    skew = Skew("another machine", 1)
    with capture_logs() as lines:
        for seconds in (0.5, -3, -4, 0.1, 2):
            skew.measured(timedelta(seconds=seconds))
    assert [(line["event"], line["ahead_seconds"]) for line in lines] == [
        ("clock_skewed", -3),
        ("clocks_agree", 0.1),
        ("clock_skewed", 2),
    ]
    assert REGISTRY.get_sample_value("innosystem_clock_skew_seconds", {"of": "another machine"}) == 2
