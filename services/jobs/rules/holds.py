"""The holds that jobs are admitted with: money that is reserved before the job is stored, and is the job's alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from uuid import UUID, uuid5


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
