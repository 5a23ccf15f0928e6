"""Numbers and amounts on the command line: taken exactly as typed, or refused, but never rounded."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from cyclopts import Parameter, validators

from tools.errors import UsageError

_INT64_MAX: Final = 2**63 - 1
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,30}")
_AMOUNT: Final = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))? ?([A-Z]{3})")


@dataclass(frozen=True)
class Money:
    """An amount in the minor unit of a currency, an ISO 4217 code."""

    cents: int
    currency: str


def read_money(text: str) -> Money:
    """Read an amount with its currency, such as 7.50EUR.

    Raises:
        ValueError: The text is no amount, or not exact in that currency; the message shows the format.
    """
    from services.kit.currencies import decimals

    if (found := _AMOUNT.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is not an amount with its currency, such as 7.50EUR or 500JPY")
    whole, fraction, currency = found[1], found[2] or "", found[3]
    if (places := decimals(currency)) is None:
        raise ValueError(f"{currency} is not a currency of ISO 4217 with a minor unit")
    if len(fraction) > places:
        raise ValueError(f"{text!r} is not exact: {currency} has {places} decimals")
    cents = int(whole + fraction.ljust(places, "0"))
    if cents > _INT64_MAX:
        raise ValueError(f"{text!r} is more than any wallet holds")
    return Money(cents, currency)


def read_whole(text: str) -> int:
    """Read a whole number.

    Raises:
        ValueError: The text is no whole number.
    """
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _whole(type_: Any, tokens: Sequence[Any]) -> int:
    return read_whole(tokens[0].value)


def _cents(type_: Any, tokens: Sequence[Any]) -> int:
    text = tokens[0].value
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a whole number of cents: type 750, or without -cents 7.50EUR")
    return int(text)


def _money(type_: Any, tokens: Sequence[Any]) -> Money:
    return read_money(tokens[0].value)


WHOLE: Final = Parameter(converter=_whole)
"""Whole numbers. On its own, the parser of the command line reads 0.6 as 1, and 7.5 as 8."""

Cents: TypeAlias = Annotated[
    int | None, Parameter(converter=_cents, validator=validators.Number(gte=0, lte=_INT64_MAX), show_default=False)
]
Amount: TypeAlias = Annotated[
    Money | None, Parameter(converter=_money, accepts_keys=False, n_tokens=1, show_default=False)
]
CurrencyCode: TypeAlias = Annotated[str | None, Parameter(show_default=False)]

_CURRENCY: Final = "EUR"


def new_idempotency_key() -> str:
    """Create an idempotency key and print it before the call, for repeating the command if no response comes."""
    from innosystem.client import new_id

    key = f"cli:{new_id()}"
    sys.stderr.write(f"If this fails, repeat it with: --idempotency-key {key}\n")
    return key


def amount_of(option: str, amount: Money | None, cents: int | None, currency: str | None) -> Money:
    """Return the amount of two options: one for an amount with its currency, and one for cents beside --currency.

    Args:
        option: The name of the option for the amount, such as `--amount`; the other one ends in `-cents`.
        amount: The value of that option.
        cents: The value of the other option.
        currency: The value of --currency; by default euros.

    Raises:
        UsageError: Both options were given, or neither, or two currencies.
    """
    if (amount is None) == (cents is None):
        raise UsageError(f"give the amount once: {option} 7.50EUR, or {option}-cents 750 --currency EUR")
    if amount is None:
        return Money(cents or 0, currency or _CURRENCY)
    if currency not in (None, amount.currency):
        raise UsageError(f"{option} is in {amount.currency} and --currency says {currency}")
    return amount
