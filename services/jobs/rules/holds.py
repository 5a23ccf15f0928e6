"""The holds that jobs are admitted with: money that is reserved before the job is stored, and is the job's alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from uuid import UUID, uuid5


class HoldState(StrEnum):
    """The state of a hold in the wallets service."""

    ACTIVE = "ACTIVE"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """A request to reserve money for a job.

    Attributes:
        generation: 0 at the first submission; each hold that cannot be used any more is followed by the next.
        amount_cents_min: The smallest amount of an earlier hold that may be adopted.
        amount_cents_max: The largest amount of an earlier hold that may be adopted; None for any.
        is_maximum: Whether the amount is the maximum of a metered job. If the job is no longer metered, another hold is
            placed, because adopting this one would charge it that maximum.
    """

    job_id: UUID
    customer_id: UUID
    currency: str
    amount_cents: int
    generation: int = 0
    amount_cents_min: int = 0
    amount_cents_max: int | None = None
    is_maximum: bool = False

    @cached_property
    def hold_id(self) -> UUID:
        """The hold's ID, which follows from job and generation."""
        return uuid5(self.job_id, f"{'maximum' if self.is_maximum else 'hold'}:{self.generation}")

    def adopts(self, amount_cents: int) -> bool:
        """Return whether a hold of this amount, which was placed for the job at another price, may be used."""
        return self.amount_cents_min <= amount_cents and (
            self.amount_cents_max is None or amount_cents <= self.amount_cents_max
        )


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A hold in the wallets service; job and customer are None if it was released before it was placed.

    Attributes:
        created_at: When it was placed, by the ledger's clock.
        age: Its age at the time of the response, by that clock as well.
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


@dataclass(frozen=True)
class HoldTimes:
    """How long a hold may be without a job. The limits are far apart.

    Attributes:
        orphan_after: The age from which the hold auditor looks for the job of a hold.
    """

    orphan_after: timedelta

    @property
    def adopt_within(self) -> timedelta:
        """The age up to which a repeated submission may use the hold: the auditor must not release it meanwhile."""
        return self.orphan_after / 2

    @property
    def store_within(self) -> timedelta:
        """The time within which the job of a hold must be stored."""
        return self.orphan_after / 20
