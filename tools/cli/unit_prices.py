"""Prices of units, which are finer than the smallest coin of their currency: taken exactly as typed, or refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from cyclopts import Parameter

from tools.cli.output import NOTHING

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_pb2 import Job
    from innosystem.jobs.v1.job_type_pb2 import Metering

_INT64_MAX: Final = 2**63 - 1
_PRICE: Final = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))? ?([A-Z]{3})")
# A micro-cent is a millionth of the minor unit.
_MICRO_DECIMALS: Final = 6


@dataclass(frozen=True)
class UnitPrice:
    """The price of one unit, in millionths of the minor unit of a currency."""

    micro_cents: int
    currency: str


def read_unit_price(text: str) -> UnitPrice:
    """Read the price of a unit with its currency, such as 0.00002EUR.

    Raises:
        ValueError: The text is no price, or not exact; the message shows the format.
    """
    from services.kit.currencies import decimals

    if (found := _PRICE.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is not a price with its currency, such as 0.00002EUR")
    whole, fraction, currency = found[1], (found[2] or "").rstrip("0"), found[3]
    if (minor := decimals(currency)) is None:
        raise ValueError(f"{currency} is not a currency of ISO 4217 with a minor unit")
    places = minor + _MICRO_DECIMALS
    if len(fraction) > places:
        raise ValueError(f"{text!r} is not exact: the price of a unit in {currency} has {places} decimals at most")
    micro_cents = int(whole + fraction.ljust(places, "0"))
    if not 0 < micro_cents <= _INT64_MAX:
        raise ValueError(f"{text!r} is not a price above 0 that can be stored")
    return UnitPrice(micro_cents, currency)


def show_unit_price(micro_cents: int, currency: str) -> str:
    """Format the price of a unit, without zeros at its end: 0.00002 EUR."""
    from services.kit.currencies import decimals

    minor = decimals(currency)
    if minor is None:
        return f"{micro_cents} millionths of the minor unit of {currency}"
    places = minor + _MICRO_DECIMALS
    digits = f"{micro_cents:0{places + 1}d}"
    whole, fraction = digits[:-places], digits[-places:].rstrip("0").ljust(minor, "0")
    return f"{whole}{'.' if fraction else ''}{fraction} {currency}"


def described(metering: "Metering", currency: str) -> str:
    """Describe a price by usage: 0.00002 EUR per token, at most 5.00 EUR."""
    from services.kit.currencies import money

    price = show_unit_price(metering.unit_price_micro_cents, currency)
    text = f"{price} per {metering.unit}, at most {money(metering.max_cost_cents, currency)}"
    if not metering.HasField("standard_cost_cents"):
        return text
    return f"{text}, {money(metering.standard_cost_cents, currency)} if it reports none"


def usage_of(job: "Job") -> str:
    """Return what a job has used, with its unit: 1234 token."""
    if not job.HasField("usage_units"):
        return NOTHING
    return f"{job.usage_units} {job.metering.unit}".rstrip()


def _unit_price(type_: Any, tokens: Sequence[Any]) -> UnitPrice:
    return read_unit_price(tokens[0].value)


UnitPriceOption: TypeAlias = Annotated[
    UnitPrice | None, Parameter(converter=_unit_price, accepts_keys=False, n_tokens=1, show_default=False)
]
