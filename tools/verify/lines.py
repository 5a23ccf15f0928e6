"""The input of the check: a line for each job, receipt, deduction and hold, with only the values that rules need."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from tools.verify.findings import Kind

FIRST_ID = UUID(int=0)
LAST_ID = UUID(int=2**128 - 1)


class JobLine(NamedTuple):
    """A row of a job.

    Attributes:
        disagreement: The column that contradicts others; None if none does.
        stuck: The step that should have happened minutes ago; None if none is missing.
        overdue: Why its charge or release is overdue; None if it is not.
        untried: Whether the time of the next try is missing.
        unknown: The value that this release does not understand; None if it understands all.
        estimated_cost_cents: The price at admission.
        needs_hold: Whether its hold, if it has had one, must still exist.
    """

    job_id: UUID
    customer_id: UUID
    currency: str
    status: str
    billing_status: str
    cost_cents: int | None
    transaction_id: UUID | None
    hold_id: UUID | None
    disagreement: str | None
    stuck: str | None
    overdue: str | None
    untried: bool
    unknown: str | None = None
    estimated_cost_cents: int = 0
    needs_hold: bool = True


class Receipt(NamedTuple):
    """The receipt of a charged job that was deleted."""

    job_id: UUID
    customer_id: UUID
    currency: str
    cost_cents: int
    transaction_id: UUID


class Deduction(NamedTuple):
    """A charge in the ledger, with the owner of its wallet.

    Attributes:
        amount_cents: The charged amount, without the sign.
        hold_id: The hold that the charge names.
    """

    job_id: UUID
    transaction_id: UUID
    customer_id: UUID
    currency: str
    amount_cents: int
    hold_id: UUID | None = None


class HoldLine(NamedTuple):
    """Money that is or was reserved, with the owner of its wallet; without an owner if it was never placed."""

    hold_id: UUID
    job_id: UUID | None
    amount_cents: int
    state: str
    created_at: datetime
    customer_id: UUID | None
    currency: str | None

    @property
    def active(self) -> bool:
        """Whether the money is reserved now."""
        return self.state == "ACTIVE"


class Range(NamedTuple):
    """Job IDs from the first to the last, both included."""

    first: UUID
    last: UUID


EVERYTHING = Range(FIRST_ID, LAST_ID)


class HoldPosition(NamedTuple):
    """A hold, in the order of age."""

    created_at: datetime
    hold_id: UUID


class WrongRow(NamedTuple):
    """A row that contradicts itself or related rows, or that has a value of a later release."""

    id: UUID
    problem: "UnknownValue | Contradiction"


class UnknownValue(NamedTuple):
    """A value that this release does not understand, such as `kind BONUS`."""

    value: str


class Contradiction(NamedTuple):
    """A column that contradicts others, and why, such as `hold_id: there is no such hold`."""

    column: str


class RowPage(NamedTuple):
    """The outcome of a page of rows.

    Attributes:
        wrong: The wrong rows.
        customer_ids: The customers of the rows, where rows have customers.
        position: The position of the next page; None after the last.
    """

    wrong: Sequence[WrongRow]
    customer_ids: Sequence[UUID]
    position: str | None


class RowBooks(Protocol):
    """A table whose rows are judged by themselves and by rows of the same database that they refer to."""

    @property
    def kind(self) -> Kind:
        """The kind of finding that a wrong row is."""
        ...

    @property
    def subject(self) -> str:
        """The kind of object that a row is."""
        ...

    async def page(self, after: str | None, limit: int) -> RowPage:
        """Judge the rows after a position, all read at one moment."""
        ...


class CustomersBooks(Protocol):
    """The books of the customers service."""

    async def existing(self, customer_ids: Collection[UUID]) -> set[UUID]:
        """Return the IDs that belong to customers, active or not."""
        ...


class JobsBooks(Protocol):
    """The books of the jobs service. Each call reads at one moment."""

    async def jobs(self, wanted: Range, limit: int) -> Sequence[JobLine]:
        """Read jobs in the order of their IDs."""
        ...

    async def receipts(self, wanted: Range, limit: int) -> Sequence[Receipt]:
        """Read receipts in the order of their jobs' IDs."""
        ...

    async def jobs_of(self, job_ids: Sequence[UUID]) -> Sequence[JobLine]:
        """Read jobs by their IDs; missing jobs are left out."""
        ...

    async def receipts_of(self, job_ids: Sequence[UUID]) -> Sequence[Receipt]:
        """Read receipts by their jobs' IDs."""
        ...


class LedgerBooks(Protocol):
    """The books of the wallets service. Each call reads at one moment."""

    async def deductions(self, wanted: Range, limit: int) -> Sequence[Deduction]:
        """Read the charges of jobs, all or none of each job, so the result may exceed the limit."""
        ...

    async def deductions_of(self, job_ids: Sequence[UUID]) -> Sequence[Deduction]:
        """Read the charges of these jobs."""
        ...

    async def old_holds(self, after: HoldPosition | None, limit: int) -> Sequence[HoldLine]:
        """Read active holds, the oldest first, without those that are too young to be judged."""
        ...

    async def holds_of(self, hold_ids: Sequence[UUID]) -> Sequence[HoldLine]:
        """Read holds by their IDs, whatever their state."""
        ...
