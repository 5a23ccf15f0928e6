"""The schedule of faults is made by its seed alone, and leaves no sort of fault out."""

from itertools import pairwise

from tests.chaos.support.faults import SORTS, schedule


def test_the_same_seed_deals_the_same_faults() -> None:
    assert schedule(7, for_seconds=300, every_seconds=2) == schedule(7, for_seconds=300, every_seconds=2)


def test_another_seed_deals_others() -> None:
    assert schedule(7, for_seconds=300, every_seconds=2) != schedule(8, for_seconds=300, every_seconds=2)


def test_a_deck_has_every_sort_of_fault() -> None:
    deck = sum(sort.copies for sort in SORTS.values())
    dealt = [one for one in schedule(7, for_seconds=10 * deck, every_seconds=2) if not SORTS[one.sort].once][:deck]

    assert {fault.sort for fault in dealt} == {name for name, sort in SORTS.items() if sort.copies}


def test_what_comes_once_comes_once_in_a_part_of_the_run_of_its_own() -> None:
    once = {name for name, sort in SORTS.items() if sort.once}

    dealt = [fault for fault in schedule(7, for_seconds=300, every_seconds=2) if fault.sort in once]

    assert {fault.sort for fault in dealt} == once
    assert len(dealt) == len(once)
    assert all(before.at_seconds + before.seconds <= after.at_seconds for before, after in pairwise(dealt))
    assert max(fault.seconds for fault in dealt) == 60


def test_faults_come_in_order_and_in_time_and_hit_what_they_are_for() -> None:
    dealt = schedule(7, for_seconds=300, every_seconds=2, quiet_seconds=3)

    times = [fault.at_seconds for fault in dealt]
    assert times == sorted(times)
    assert times[0] >= 3
    assert times[-1] < 300
    assert 100 < len(dealt) < 225
    for fault in dealt:
        shortest, longest = SORTS[fault.sort].seconds
        assert min(shortest, 60) <= fault.seconds <= longest
        assert fault.target in SORTS[fault.sort].targets
