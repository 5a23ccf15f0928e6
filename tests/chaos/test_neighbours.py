"""The oracle of neighbours finds who was harmed; and on a real platform nobody is."""

import math
from collections.abc import Sequence

import pytest

from tests.chaos.__main__ import new_folder, report
from tests.chaos.support.neighbours import Sample, judged, percentile_99
from tests.chaos.support.run import run
from tests.chaos.support.troubles import ALL_PROBES, TROUBLES

SEED = 20261128
SECONDS = 4.0
# Other tests run beside it, now and then: what is to be seen is a call that fails or waits for the trouble to be over.
PATIENCE = 5.0
# Those that no chance has a part in: `make chaos` goes through all.
IN_CI = {
    "a wallet's row is locked",
    "a job's row is locked",
    "a job has a value of a later release",
    "a key of another type has the name of another list",
    "the wallets service is unavailable",
}


def samples(*seconds: float, error: str = "") -> Sequence[Sample]:
    return [Sample("read", one, error) for one in seconds]


def test_a_neighbour_who_is_served_as_before_has_nothing_to_complain_about() -> None:
    assert judged({"read": samples(0.01, 0.02)}, {"read": samples(0.02, 0.01)}, {"read"}) == []


def test_a_call_that_fails_is_a_complaint_however_fast_it_was() -> None:
    during = {"read": [*samples(0.01), *samples(0.01, error="DATABASE_UNAVAILABLE: gone")]}

    assert judged({"read": samples(0.01)}, during, {"read"}) == [
        "read: 1 of 2 failed, such as DATABASE_UNAVAILABLE: gone"
    ]


def test_slower_than_a_second_and_than_five_times_before_is_a_complaint() -> None:
    assert judged({"read": samples(0.01)}, {"read": samples(1.1)}, {"read"})
    assert judged({"read": samples(0.3)}, {"read": samples(1.1)}, {"read"}) == []
    assert judged({"read": samples(0.3)}, {"read": samples(1.6)}, {"read"})


def test_a_job_that_is_not_picked_up_is_a_complaint() -> None:
    during = {"pickup": [Sample("pickup", math.inf, "not picked up")]}

    assert len(judged({"pickup": samples(0.01)}, during, {"pickup"})) == 2


def test_what_was_not_measured_is_a_complaint() -> None:
    assert judged({"read": samples(0.01)}, {}, {"read"}) == ["read: nothing was measured"]


def test_one_of_two_hundred_calls_may_be_slow_and_three_may_not() -> None:
    assert percentile_99(samples(*[0.01] * 199, 3.0)) == 0.01
    assert percentile_99(samples(*[0.01] * 197, 3.0, 3.0, 3.0)) == 3.0


def test_each_trouble_has_neighbours_that_are_measured() -> None:
    assert all(trouble.neighbours and trouble.neighbours <= ALL_PROBES for trouble in TROUBLES)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_neighbours_do_not_notice_that_one_thing_is_bad() -> None:
    folder = new_folder(SEED)

    result = await run(
        folder,
        seed=SEED,
        for_seconds=0,
        say=print,
        neighbours_seconds=SECONDS,
        neighbours_patience=PATIENCE,
        troubles=[trouble for trouble in TROUBLES if trouble.name in IN_CI],
    )

    report(result, folder)
    assert not result.complaints, result.line
