"""The holds that jobs are admitted with: money that is reserved before the job is stored, and is the job's alone.

A hold's ID follows from the job's, so a submission that is repeated after a crash finds its own hold, and adopts the
price that was reserved first, unless its caller does not agree to that much. A hold that no job came to is released by
the hold auditor, and only by it; from then on the job's ID stands for the hold of its next generation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Protocol
from uuid import UUID, uuid5

from services.kit.errors import DomainError, IdempotencyKeyReused

# Each of them was placed, was not used within the hold auditor's time, and was released.
GENERATIONS_MAX = 20


class HoldState(StrEnum):
    """What became of a hold, as the wallets service has it."""

    ACTIVE = "ACTIVE"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Money that is to be reserved for a job.

    Attributes:
        generation: 0 at the first submission; each hold that can't be used any more takes the next one.
        amount_cents_min: What a hold of an earlier time must at least amount to.
        amount_cents_max: What it may amount to at most; None for any.
    """

    job_id: UUID
    customer_id: UUID
    currency: str
    amount_cents: int
    generation: int = 0
    amount_cents_min: int = 0
    amount_cents_max: int | None = None

    @cached_property
    def hold_id(self) -> UUID:
        """The hold's ID, the same for whoever asks."""
        return uuid5(self.job_id, f"hold:{self.generation}")

    def adopts(self, amount_cents: int) -> bool:
        """Whether a hold of this amount may be used, which was placed for the job at another price."""
        return self.amount_cents_min <= amount_cents and (
            self.amount_cents_max is None or amount_cents <= self.amount_cents_max
        )


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A hold as the wallets service knows it; job and customer are None where nobody placed it.

    Attributes:
        created_at: When it was placed, by the ledger's clock.
        age: How old it was when the wallets service answered, by that clock as well.
    """

    id: UUID
    job_id: UUID | None
    customer_id: UUID | None
    currency: str
    amount_cents: int
    state: HoldState
    created_at: datetime
    age: timedelta


@dataclass(frozen=True)
class Reserved:
    """Money that is reserved for a job."""

    hold_id: UUID
    generation: int
    amount_cents: int


class HoldWallets(Protocol):
    """What reservations need of the wallets service."""

    async def place_holds(self, wanted: Sequence[Reservation]) -> list[Hold | HoldState | DomainError]:
        """Reserves money.

        Returns:
            For each the hold of its ID, which may be another one than was asked for (of one that is over, its state may
            be all), or why there is none.
        """
        ...


@dataclass(frozen=True)
class HoldTimes:
    """How long a hold may be without a job. Each limit leaves the one before it plenty of room.

    Attributes:
        orphan_after: From which age on the hold auditor looks for the job of a hold.
    """

    orphan_after: timedelta

    @property
    def adopt_within(self) -> timedelta:
        """Until which age a submission that is repeated may use the hold: the auditor must not come meanwhile."""
        return self.orphan_after / 2

    @property
    def store_within(self) -> timedelta:
        """How long it may take to store the job of a hold."""
        return self.orphan_after / 20


class Reservations:
    """Reserves the price of jobs.

    Args:
        wallets: The wallets service.
        times: How long a hold may be without a job.
    """

    def __init__(self, wallets: HoldWallets, times: HoldTimes) -> None:
        self._wallets = wallets
        self.times = times

    async def reserve(self, wanted: Sequence[Reservation]) -> Mapping[UUID, Reserved | DomainError]:
        """Reserves money in one call; in one more for those whose hold of an earlier time can't be used any more.

        Args:
            wanted: At most one for a job.

        Returns:
            By job what is reserved, at the price that was reserved first, or why nothing is.
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

    def _judged(self, wanted: Reservation, hold: Hold | HoldState) -> Reserved | DomainError | None:
        """What a hold means for the job; None if another one is needed."""
        state = hold if isinstance(hold, HoldState) else hold.state
        if state is HoldState.CAPTURED:
            # The job was charged, and is deleted by now: it must not be run again under its ID.
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
