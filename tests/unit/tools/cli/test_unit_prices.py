"""Prices of units on the command line: exact to a millionth of the minor unit, or refused."""

import pytest

from innosystem.jobs.v1.job_pb2 import Job
from innosystem.jobs.v1.job_type_pb2 import Metering
from tools.cli.unit_prices import described, read_unit_price, show_unit_price, usage_of


@pytest.mark.parametrize(
    ("text", "micro_cents", "shown"),
    [
        ("0.00002EUR", 2_000, "0.00002 EUR"),
        ("0.00000001EUR", 1, "0.00000001 EUR"),
        ("2 EUR", 200_000_000, "2.00 EUR"),
        ("0.5JPY", 500_000, "0.5 JPY"),
        ("3JPY", 3_000_000, "3 JPY"),
        ("0.100000000EUR", 10_000_000, "0.10 EUR"),
    ],
)
def test_a_price_is_read_exactly_and_shown_without_zeros_at_its_end(text: str, micro_cents: int, shown: str) -> None:
    price = read_unit_price(text)
    assert price.micro_cents == micro_cents
    assert show_unit_price(micro_cents, price.currency) == shown
    assert read_unit_price(shown) == price


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0.000000001EUR", "has 8 decimals at most"),
        ("0.0000001JPY", "has 6 decimals at most"),
        ("2", "such as 0.00002EUR"),
        ("2EURO", "such as 0.00002EUR"),
        ("1XAU", "not a currency"),
        ("0EUR", "above 0"),
        ("100000000000000EUR", "can be stored"),
    ],
)
def test_a_price_that_is_not_exact_or_no_price_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_unit_price(text)


def test_a_price_by_usage_is_described_in_one_line() -> None:
    metering = Metering(unit="token", unit_price_micro_cents=2_000, max_cost_cents=500)
    assert described(metering, "EUR") == "0.00002 EUR per token, at most 5.00 EUR"
    metering.standard_cost_cents = 10
    assert described(metering, "EUR") == "0.00002 EUR per token, at most 5.00 EUR, 0.10 EUR if it reports none"


def test_usage_has_its_unit_and_is_missing_if_nothing_was_reported() -> None:
    assert usage_of(Job()) == "-"
    assert usage_of(Job(usage_units=0)) == "0"
    assert usage_of(Job(usage_units=1234, metering=Metering(unit="token"))) == "1234 token"
