"""Numbers and amounts on the command line: taken as they are typed, or refused; nothing is ever rounded."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from cyclopts import Parameter, validators

from tools.errors import CommandError

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
        ValueError: It is none, or not exact in that currency; the message says what to type.
    """
    from services.kit.currencies import decimals

    if (found := _AMOUNT.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is no amount with its currency, such as 7.50EUR or 500JPY")
    whole, fraction, currency = found[1], found[2] or "", found[3]
    if (places := decimals(currency)) is None:
        raise ValueError(f"{currency} is no currency of ISO 4217 that has a minor unit")
    if len(fraction) > places:
        raise ValueError(f"{text!r} is not exact: {currency} has {places} decimals")
    cents = int(whole + fraction.ljust(places, "0"))
    if cents > _INT64_MAX:
        raise ValueError(f"{text!r} is more than any wallet holds")
    return Money(cents, currency)


def _whole(type_: Any, tokens: Sequence[Any]) -> int:
    text = tokens[0].value
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def _cents(type_: Any, tokens: Sequence[Any]) -> int:
    text = tokens[0].value
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no whole number of cents: type 750, or without -cents 7.50EUR")
    return int(text)


def _money(type_: Any, tokens: Sequence[Any]) -> Money:
    return read_money(tokens[0].value)


WHOLE: Final = Parameter(converter=_whole)
"""Numbers that are counted. By itself the parser of the command line takes 0.6 for 1, and 7.5 for 8."""

Cents: TypeAlias = Annotated[
    int | None, Parameter(converter=_cents, validator=validators.Number(gte=0, lte=_INT64_MAX), show_default=False)
]
Amount: TypeAlias = Annotated[
    Money | None, Parameter(converter=_money, accepts_keys=False, n_tokens=1, show_default=False)
]
CurrencyCode: TypeAlias = Annotated[str | None, Parameter(show_default=False)]

_CURRENCY: Final = "EUR"


def told_key() -> str:
    """Make an idempotency key and say it, before the call: whoever gets no answer repeats the command with it."""
    from innosystem.client import new_id

    key = f"cli:{new_id()}"
    sys.stderr.write(f"--idempotency-key {key}\n")
    return key


def given_money(option: str, amount: Money | None, cents: int | None, currency: str | None) -> Money:
    """Find out what was typed: an amount with its currency, or cents and the currency beside them.

    Args:
        option: The name of the option that takes the amount, such as `--amount`; the other one ends in `-cents`.
        amount: What that option was given.
        cents: What the other was given.
        currency: The currency that was given beside them; by default euros.

    Raises:
        CommandError: Both were given, or neither, or two currencies.
    """
    if (amount is None) == (cents is None):
        raise CommandError(f"say how much once: {option} 7.50EUR, or {option}-cents 750 --currency EUR")
    if amount is None:
        return Money(cents or 0, currency or _CURRENCY)
    if currency not in (None, amount.currency):
        raise CommandError(f"{option} is in {amount.currency} and --currency says {currency}")
    return amount
