"""What a submission would cost, without anything being reserved or stored."""

from dataclasses import dataclass

from services.jobs.rules.entities import NewJob
from services.jobs.rules.errors import InsufficientFunds
from services.jobs.rules.prices.metering import Metering


@dataclass(frozen=True)
class Funds:
    """The money of a wallet.

    Attributes:
        available_cents: What is not reserved.
    """

    balance_cents: int
    available_cents: int


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What a job would cost.

    Attributes:
        price_cents: What is charged when it succeeds; of a metered job without a report of usage.
        hold_cents: What is reserved at submission, and the most that is charged.
        metering: The price by usage, if the job would be metered.
        funds: The wallet before; None for a free job, which needs none.
    """

    price_cents: int
    hold_cents: int
    currency: str
    metering: Metering | None
    funds: Funds | None


def quoted(job: NewJob, funds: Funds | None) -> Quote:
    """Return the quote of a job that would be stored.

    Args:
        job: The job.
        funds: The customer's wallet; None for a free job.

    Raises:
        InsufficientFunds: If its price can't be reserved.
    """
    hold_cents = job.estimated_cost_cents
    if funds is not None and funds.available_cents < hold_cents:
        raise InsufficientFunds(funds.available_cents, hold_cents, job.currency, job.customer_id)
    metering = job.metering
    price_cents = hold_cents if metering is None else metering.standard_cost_cents
    return Quote(price_cents=price_cents, hold_cents=hold_cents, currency=job.currency, metering=metering, funds=funds)
