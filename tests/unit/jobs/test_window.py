"""The target length of a list, and whose jobs enter it immediately."""

from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.background.window import Window
from services.jobs.rules.entities import NewJob
from tests.support.jobs_examples import new_job

MOST = 10_000
TYPE = uuid7()


def jobs_of(customer_id: UUID, count: int) -> list[NewJob]:
    return [new_job(TYPE, customer_id=customer_id) for _ in range(count)]


def handed_over(window: Window, jobs: list[NewJob], now: float) -> int:
    """Submit jobs and push those that are not withheld."""
    count = len(jobs) - len(window.beyond(jobs, now))
    if count:
        window.pushed(count, window._length + count, now)
    return count


def emptied(rate: float, seconds: float, *, feed: bool = True) -> Window:
    """Return a window whose list is emptied at a rate, looked at and fed every fifth of a second."""
    window, length, now = Window(MOST, 0.0), 0.0, 0.0
    while now < seconds:
        window.saw(round(length), now)
        if feed and (room := window.room(round(length))):
            length += room
            window.pushed(room, round(length), now)
        now += 0.2
        length = max(length - rate * 0.2, 1.0)
    return window


@pytest.mark.parametrize("rate", [100, 1000, 4000])
def test_a_list_is_to_hold_what_is_taken_in_about_a_second(rate: float) -> None:
    assert rate / 2 <= emptied(rate, 10).target <= 2 * rate


def test_a_list_that_is_emptied_slowly_is_to_hold_few_and_what_it_held_before_is_too_much() -> None:
    window = emptied(0.5, 10)
    assert window.target == 16
    assert [window.excess(1000, now) for now in (10.0, 14.0, 15.0)] == [0, 0, 984]
    assert [window.excess(64, 16.0), window.excess(1000, 17.0)] == [0, 0], "it begins anew"


def test_what_another_replica_takes_back_does_not_look_like_fast_runners() -> None:
    window = emptied(0.5, 10)
    window.saw(1000, 10.2)
    for now in (10.4, 10.6, 10.8):
        window.saw(16, now)
    assert window.target == 16


def test_a_list_is_never_to_hold_more_than_the_most() -> None:
    window = Window(100, 0.0)
    for _ in range(20):
        window.starved()
    assert window.target == 100


def test_a_list_that_is_found_empty_though_it_was_fed_holds_twice_as_much_and_is_fast_in_time() -> None:
    window = emptied(0.5, 10)
    targets = []
    for _ in range(6):
        window.starved()
        targets.append(window.target)
    assert targets == [32, 64, 128, 256, 512, 1024]


def test_half_of_a_list_is_fed_at_once() -> None:
    window = Window(MOST, 0.0)
    assert (window.room(501), window.room(500), window.room(0)) == (0, 500, 1000)


def test_times_without_jobs_do_not_count_as_slow() -> None:
    window = Window(MOST, 0.0)
    for minute in range(10):
        window.pushed(1, 1, 60.0 * minute)
    assert window.target == 1000


def test_a_customer_with_many_jobs_fills_a_list_for_a_second_and_no_more() -> None:
    window = Window(MOST, 0.0)
    assert handed_over(window, jobs_of(uuid7(), 5000), 0.0) == 1000 + 32


def test_jobs_of_customers_that_have_few_are_handed_over_at_once_to_a_list_that_holds_enough() -> None:
    window = Window(MOST, 0.0)
    many, few = jobs_of(uuid7(), 2000), jobs_of(uuid7(), 10)
    withheld = window.beyond([*many, *few], 0.0)
    assert {job.id for job in withheld} == {job.id for job in many[1000 + 32 :]}
    thousand = [new_job(TYPE) for _ in range(1000)]
    assert handed_over(window, thousand, 0.0) == 1000


def test_nobody_fills_a_list_beyond_the_most_or_beyond_what_is_run_in_sixteen_seconds() -> None:
    window = Window(MOST, 0.0)
    assert handed_over(window, [new_job(TYPE) for _ in range(12_000)], 0.0) == MOST
    slow = emptied(0.5, 10)
    slow.taken_back(slow._length)
    assert handed_over(slow, [new_job(TYPE) for _ in range(1000)], 10.0) == 16 * 16


def test_a_customer_has_its_share_again_when_what_it_had_was_taken() -> None:
    window, customer = Window(MOST, 0.0), uuid7()
    window.pushed(1000, 1000, 0.0)
    assert handed_over(window, jobs_of(customer, 40), 0.0) == 32
    assert handed_over(window, jobs_of(customer, 40), 0.0) == 0
    # As many of others as the list holds, twice: all that the customer had is gone.
    for _ in range(3):
        window.beyond([new_job(TYPE) for _ in range(1100)], 0.0)
    assert handed_over(window, jobs_of(customer, 40), 0.0) == 32
