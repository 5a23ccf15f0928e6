"""The schedule of faults is made by its seed alone, and leaves no sort of fault out."""

from tests.chaos.faults import SORTS, schedule


def test_the_same_seed_deals_the_same_faults() -> None:
    assert schedule(7, for_seconds=300, every_seconds=2) == schedule(7, for_seconds=300, every_seconds=2)


def test_another_seed_deals_others() -> None:
    assert schedule(7, for_seconds=300, every_seconds=2) != schedule(8, for_seconds=300, every_seconds=2)


def test_a_deck_has_every_sort_of_fault() -> None:
    deck = sum(sort.copies for sort in SORTS.values())
    dealt = schedule(7, for_seconds=10 * deck, every_seconds=2)[:deck]

    assert {fault.sort for fault in dealt} == set(SORTS)


def test_faults_come_in_order_and_in_time_and_hit_what_they_are_for() -> None:
    dealt = schedule(7, for_seconds=300, every_seconds=2, quiet_seconds=3)

    times = [fault.at_seconds for fault in dealt]
    assert times == sorted(times)
    assert times[0] >= 3
    assert times[-1] < 300
    assert 100 < len(dealt) < 225
    for fault in dealt:
        shortest, longest = SORTS[fault.sort].seconds
        assert shortest <= fault.seconds <= longest
        assert fault.target in SORTS[fault.sort].targets
