"""What ISO 4217 says of currencies, and how amounts are written."""

from uuid import UUID

import pytest

from services.jobs.rules import errors as submission
from services.kit.currencies import check_currency, decimals, money
from services.kit.errors import InvalidField
from services.wallets.rules import errors as ledger


@pytest.mark.parametrize(
    ("cents", "code", "written"),
    [
        (500, "JPY", "500 JPY"),
        (500, "EUR", "5.00 EUR"),
        (500, "KWD", "0.500 KWD"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (0, "JPY", "0 JPY"),
        (-2, "EUR", "-0.02 EUR"),
        (-750, "EUR", "-7.50 EUR"),
        (2**63 - 1, "EUR", "92233720368547758.07 EUR"),
        (12345, "CLF", "1.2345 CLF"),
    ],
)
def test_an_amount_is_written_in_the_units_of_its_currency(cents: int, code: str, written: str) -> None:
    assert money(cents, code) == written


@pytest.mark.parametrize("code", ["XQZ", "XAU", "eur", ""])
def test_an_amount_of_what_is_no_currency_says_that_it_is_in_minor_units(code: str) -> None:
    assert decimals(code) is None
    assert money(500, code).startswith("500 minor units of ")


@pytest.mark.parametrize("code", ["XQZ", "XAU", "XTS", "XXX", "HRK"])
def test_what_iso_does_not_know_or_has_no_minor_unit_is_refused(code: str) -> None:
    with pytest.raises(InvalidField, match=f"wallet.currency: must be a currency of ISO 4217 .* not {code}"):
        check_currency(code, "wallet.currency")


def test_refusals_name_amounts_in_the_units_of_their_currency() -> None:
    assert str(submission.InsufficientFunds(0, 500, "JPY", UUID(int=1))) == (
        "The job costs 500 JPY and 0 JPY are available: the wallet has to be credited first."
    )
    assert str(submission.PriceAboveMaximum(5, 4, "EUR", "type")) == (
        "The job costs 0.05 EUR and the caller allows 0.04 EUR at most."
    )
    refused = ledger.InsufficientFunds(0, 500, "KWD", UUID(int=1))
    assert refused.message == "0.500 KWD are required and 0.000 KWD are available: the wallet has to be credited first."
    assert refused.metadata == {"available_cents": "0", "required_cents": "500", "currency": "KWD"}
