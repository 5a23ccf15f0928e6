"""Token buckets, with a clock that stands still."""

import pytest

from services.kit.errors import RateLimited
from services.kit.limits.buckets import Buckets, Charge
from services.kit.rates import Rate


class Clock:
    """A clock that tests move."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(buckets: Buckets, *charges: Charge) -> bool:
    try:
        buckets.take(charges)
    except RateLimited:
        return False
    return True


def charge(cost: float = 1, *, subject: str = "ada", rate: str = "10/20", limit: str = "requests") -> Charge:
    return Charge(limit, subject, Rate.parse(rate), cost)


def refusal(buckets: Buckets, *charges: Charge) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        buckets.take(charges)
    return caught.value


def test_a_burst_is_accepted_and_not_one_more(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    assert [taken(buckets, charge()) for _ in range(22)] == [True] * 20 + [False] * 2


def test_in_the_long_run_the_rate_is_accepted_exactly(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    accepted = 0
    for _ in range(100_000):
        clock.now += 0.003
        accepted += taken(buckets, charge())
    assert accepted == 20 + 300 * 10 - 1


def test_a_refusal_says_when_there_is_room_and_then_there_is(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    buckets.take([charge(20)])
    error = refusal(buckets, charge(5))
    assert (error.limit, error.allowed) == ("requests", "10/20")
    assert error.retry_after_seconds == pytest.approx(0.5)
    clock.now += 0.499
    assert not taken(buckets, charge(5))
    clock.now += 0.001
    assert taken(buckets, charge(5))


def test_a_refusal_costs_nothing(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    buckets.take([charge(20)])
    for _ in range(1000):
        assert not taken(buckets, charge())
    clock.now += 0.1
    assert taken(buckets, charge())


def test_a_batch_larger_than_the_burst_takes_an_empty_bucket_and_is_paid_in_full(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    assert taken(buckets, charge(100))
    assert refusal(buckets, charge()).retry_after_seconds == pytest.approx(8.1)
    assert refusal(buckets, charge(100)).retry_after_seconds == pytest.approx(10)
    clock.now += 10
    assert taken(buckets, charge(100))


def test_of_several_limits_all_are_charged_or_none(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    buckets.take([charge(20, limit="submissions")])
    assert refusal(buckets, charge(), charge(limit="submissions")).limit == "submissions"
    assert taken(buckets, charge(20))


def test_subjects_do_not_share_a_bucket(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    buckets.take([charge(20)])
    assert not taken(buckets, charge())
    assert taken(buckets, charge(subject="bob"))


def test_a_higher_limit_makes_room_immediately_and_a_lower_one_takes_it(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    day = 86_400
    buckets.take([charge(day, rate=f"1/{day}")])
    assert not taken(buckets, charge(rate=f"1/{day}"))
    assert taken(buckets, charge(day, rate=f"2/{2 * day}"))
    assert not taken(buckets, charge(rate=f"1/{day}"))


def test_empty_buckets_are_dropped_so_that_memory_is_bounded(clock: Clock) -> None:
    buckets = Buckets(clock=clock)
    for number in range(50_000):
        clock.now += 0.01
        buckets.take([charge(subject=str(number))])
    assert len(buckets) <= 1_001


def test_beyond_the_maximum_the_oldest_buckets_are_dropped_and_new_ones_work(clock: Clock) -> None:
    buckets = Buckets(clock=clock, size_max=500)
    for number in range(5_000):
        buckets.take([charge(20, subject=str(number))])
        assert not taken(buckets, charge(subject=str(number)))
    assert len(buckets) <= 500


@pytest.mark.parametrize(
    ("text", "rate"), [("200/400", Rate(200, 400)), ("200", Rate(200, 200)), ("0.5", Rate(0.5, 1)), ("0", Rate(0, 1))]
)
def test_a_rate_is_read_with_its_burst(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert bool(rate) == (text != "0")


@pytest.mark.parametrize("text", ["", "fast", "-1", "1/", "1/2/3", "inf", "1e3"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="200/400"):
        Rate.parse(text)
