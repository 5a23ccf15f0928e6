"""What the check reads: one line for each job, receipt, deduction and hold, with no more than it needs to judge."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from tools.verify.findings import Kind

FIRST_ID = UUID(int=0)
LAST_ID = UUID(int=2**128 - 1)


class JobLine(NamedTuple):
    """A job, as its row has it.

    Attributes:
        disagreement: Which of its columns contradict one another; None if none do.
        stuck: What should have happened to it minutes ago; None if nothing.
        overdue: Why its charge or release is overdue; None if it is not.
        untried: Whether it has no time of a next try.
        unknown: What this release does not understand of it; None if it understands all.
        estimated_cost_cents: The price it was admitted with.
        needs_hold: Whether its hold, if it has had one, ended so recently that it is still kept.
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
    """What is kept of a charged job that was deleted."""

    job_id: UUID
    customer_id: UUID
    currency: str
    cost_cents: int
    transaction_id: UUID


class Deduction(NamedTuple):
    """A charge in the ledger, with whose wallet it is.

    Attributes:
        amount_cents: What was charged, without the sign.
        hold_id: The hold that the charge names.
    """

    job_id: UUID
    transaction_id: UUID
    customer_id: UUID
    currency: str
    amount_cents: int
    hold_id: UUID | None = None


class HoldLine(NamedTuple):
    """Money that is reserved, or was, with whose wallet it is; nobody's if it was never placed."""

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
    """A row that contradicts itself or those it belongs to.

    Attributes:
        unknown: The value that this release does not understand; None if it understands all.
        wrong: What contradicts; None if only something is not understood.
    """

    id: UUID
    unknown: str | None
    wrong: str | None


class RowPage(NamedTuple):
    """What a page of rows has come to.

    Attributes:
        customer_ids: Whose the rows are, where rows have customers.
        position: Where the next page goes on; None after the last.
    """

    wrong: Sequence[WrongRow]
    customer_ids: Sequence[UUID]
    position: str | None


class RowBooks(Protocol):
    """A table whose rows are judged by themselves and by what they name in the same database."""

    @property
    def kind(self) -> Kind:
        """What a wrong row is."""
        ...

    @property
    def subject(self) -> str:
        """What a row is."""
        ...

    async def page(self, after: str | None, limit: int) -> RowPage:
        """Judge the rows after a position, all as they are at one moment."""
        ...


class CustomersBooks(Protocol):
    """What the customers service says."""

    async def existing(self, customer_ids: Collection[UUID]) -> set[UUID]:
        """Return those of the IDs that are customers, active or not."""
        ...


class JobsBooks(Protocol):
    """What the jobs service says. Each call reads at one moment."""

    async def jobs(self, wanted: Range, limit: int) -> Sequence[JobLine]:
        """Reads jobs in the order of their IDs."""
        ...

    async def receipts(self, wanted: Range, limit: int) -> Sequence[Receipt]:
        """Reads receipts in the order of their jobs' IDs."""
        ...

    async def jobs_of(self, job_ids: Sequence[UUID]) -> Sequence[JobLine]:
        """Reads jobs by their IDs; those that are not there are left out."""
        ...

    async def receipts_of(self, job_ids: Sequence[UUID]) -> Sequence[Receipt]:
        """Reads receipts by their jobs' IDs."""
        ...


class LedgerBooks(Protocol):
    """What the wallets service says. Each call reads at one moment."""

    async def deductions(self, wanted: Range, limit: int) -> Sequence[Deduction]:
        """Reads the charges of jobs, all of a job or none of them: so there may be more than the limit."""
        ...

    async def deductions_of(self, job_ids: Sequence[UUID]) -> Sequence[Deduction]:
        """Reads the charges of these jobs."""
        ...

    async def old_holds(self, after: HoldPosition | None, limit: int) -> Sequence[HoldLine]:
        """Reads active holds, the oldest first, without those that are too young to be judged."""
        ...

    async def holds_of(self, hold_ids: Sequence[UUID]) -> Sequence[HoldLine]:
        """Reads holds by their IDs, whatever their state."""
        ...
