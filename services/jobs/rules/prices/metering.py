"""Prices by usage: what a metered job costs, in exact integers."""

from dataclasses import dataclass

#: How many micro-cents, in which units are priced, make one minor unit of a currency.
MICRO_CENTS = 1_000_000
UNITS_MAX = 2**63 - 1


@dataclass(frozen=True)
class Metering:
    """The price of a job by its usage.

    Attributes:
        unit: What is counted, for people.
        unit_price_micro_cents: The price of one unit, in millionths of the currency's minor unit.
        max_cost_cents: The most that the job costs, which is reserved.
        standard_cost_cents: What it costs if no usage is reported; at most as much.
    """

    unit: str
    unit_price_micro_cents: int
    max_cost_cents: int
    standard_cost_cents: int

    def cost_cents(self, usage_units: int | None) -> int:
        """Return what a job costs.

        Args:
            usage_units: Its usage; None if none was reported.
        """
        if usage_units is None:
            return self.standard_cost_cents
        return min(used_cents(usage_units, self.unit_price_micro_cents), self.max_cost_cents)


def used_cents(usage_units: int, unit_price_micro_cents: int) -> int:
    """Return the price of some units, rounded half up to whole minor units."""
    return (usage_units * unit_price_micro_cents + MICRO_CENTS // 2) // MICRO_CENTS
