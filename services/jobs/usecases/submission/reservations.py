"""Holds for jobs: money that is reserved before its job is stored, and for this job only.

A hold's ID is derived from the job's, so a submission that is repeated after a crash finds its own hold, and adopts the
price that was reserved first, unless its caller does not agree to that much. A hold whose job was never stored is
released by the hold auditor, and only by it; from then on the job's next generation has a hold of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from services.jobs.rules.entities import NewJob
from services.jobs.rules.holds import Hold, HoldState, HoldTimes, Reservation, Reserved
from services.jobs.rules.prices.quote import Funds
from services.jobs.usecases.ports import HoldWallets
from services.kit.errors import DomainError, IdempotencyKeyReused

# Each generation was placed, was not used within the hold auditor's time, and was released.
GENERATIONS_MAX = 20


class Reservations:
    """The reservation of the price of jobs.

    Args:
        wallets: The wallets service.
        times: The limits of holds without a job.
    """

    def __init__(self, wallets: HoldWallets, times: HoldTimes) -> None:
        self._wallets = wallets
        self.times = times

    async def reserve(self, wanted: Sequence[Reservation]) -> Mapping[UUID, Reserved | DomainError]:
        """Reserve money in one call, and in another for jobs whose hold of an earlier call is no longer usable.

        Args:
            wanted: The reservations, at most one for a job.

        Returns:
            By job the money that is reserved, at the price of its first reservation, or why none is.
        """
        outcomes: dict[UUID, Reserved | DomainError] = {}
        left = list(wanted)
        for _ in range(GENERATIONS_MAX):
            if not left:
                break
            holds = await self._wallets.place_holds(left)
            following: list[Reservation] = []
            for one, hold in zip(left, holds, strict=True):
                outcome = hold if isinstance(hold, DomainError) else self._judged(one, hold)
                if outcome is None:
                    following.append(replace(one, generation=one.generation + 1))
                else:
                    outcomes[one.job_id] = outcome
            left = following
        return outcomes | {one.job_id: _spent() for one in left}

    async def funds(self, jobs: Sequence[NewJob]) -> Mapping[tuple[UUID, str], Funds | DomainError]:
        """Return what the wallets hold from which the price of jobs would be reserved, by customer and currency."""
        owners = {(one.customer_id, one.currency) for one in jobs if one.estimated_cost_cents}
        return await self._wallets.funds(owners) if owners else {}

    def _judged(self, wanted: Reservation, hold: Hold | HoldState) -> Reserved | DomainError | None:
        """Return what a hold means for the job; None if the job needs a new hold."""
        state = hold if isinstance(hold, HoldState) else hold.state
        if state is HoldState.CAPTURED:
            # The job was charged and then deleted: it must not run again under its ID.
            return _spent()
        if state is HoldState.RELEASED or isinstance(hold, HoldState):
            return None
        if hold.age > self.times.adopt_within:
            return None
        same = {"customer_id": hold.customer_id == wanted.customer_id, "job_type": hold.currency == wanted.currency}
        if differing := tuple(name for name, is_same in same.items() if not is_same):
            return IdempotencyKeyReused(differing)
        if not wanted.adopts(hold.amount_cents):
            return None
        return Reserved(hold.id, wanted.generation, hold.amount_cents)


def _spent() -> DomainError:
    return IdempotencyKeyReused(("job_id",))
