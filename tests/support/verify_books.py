"""PlatformBooks for the tests of the check: lines to judge, and books in memory that count how often they are read."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.kit.data.transactions.memory import MemoryTransactions
from services.wallets.store.verify_memory import MemoryBooksReader
from services.wallets.usecases.verify_ledger import LedgerVerification
from tools.verify.lines import Deduction, HoldLine, HoldPosition, JobLine, Range, Receipt
from tools.verify.verification import PlatformBooks

OWNER, STRANGER = UUID(int=1 << 64), UUID(int=2 << 64)
OLD = datetime(2026, 1, 1, tzinfo=UTC)
# docs/verify.md promises these keys of the report in JSON.
PROMISED_KEYS = (
    "wallets",
    "transactions",
    "jobs_checked",
    "ledger_imbalance_cents",
    "pending_imbalance_cents",
    "sequence_gaps",
    "missing_charges",
    "double_charges",
    "charges_without_job",
    "orphan_holds",
    "unsettled_overdue",
    "declined",
    "blocked",
    "ok",
)


def job_id(number: int) -> UUID:
    """The ID of a job."""
    return UUID(int=number)


def transaction_id(number: int) -> UUID:
    """The ID of the transaction that charged a job."""
    return UUID(int=number + (1 << 32))


def job_line(number: int = 1, **values: Any) -> JobLine:
    """A job that was charged 5 cents."""
    charged = values.get("billing_status", "CHARGED") == "CHARGED"
    line = JobLine(
        job_id=job_id(number),
        customer_id=OWNER,
        currency="EUR",
        status="SUCCEEDED",
        billing_status="CHARGED",
        cost_cents=5,
        transaction_id=transaction_id(number) if charged else None,
        hold_id=None,
        disagreement=None,
        stuck=None,
        overdue=None,
        untried=True,
        estimated_cost_cents=5,
    )
    return line._replace(**values)


def receipt(number: int = 1, **values: Any) -> Receipt:
    """What is kept of that job."""
    return Receipt(job_id(number), OWNER, "EUR", 5, transaction_id(number))._replace(**values)


def deduction(number: int = 1, **values: Any) -> Deduction:
    """Its charge."""
    return Deduction(job_id(number), transaction_id(number), OWNER, "EUR", 5)._replace(**values)


def hold_line(number: int = 1, **values: Any) -> HoldLine:
    """An active hold for a job."""
    line = HoldLine(UUID(int=number + (1 << 40)), job_id(number), 5, "ACTIVE", OLD, OWNER, "EUR")
    return line._replace(**values)


@dataclass
class MemoryBooks:
    """Jobs, receipts, deductions and holds in lists.

    Attributes:
        reads: How often each method was called.
        on_read: Called with the name of the method before each read: something may happen meanwhile.
    """

    job_lines: list[JobLine] = field(default_factory=list)
    receipt_lines: list[Receipt] = field(default_factory=list)
    deduction_lines: list[Deduction] = field(default_factory=list)
    hold_lines: list[HoldLine] = field(default_factory=list)
    unknown_customers: set[UUID] = field(default_factory=set)
    reads: Counter[str] = field(default_factory=Counter)
    on_read: Callable[[str], None] = lambda _: None

    @property
    def books(self) -> PlatformBooks:
        """All of it, with no wallets."""
        transactions = MemoryTransactions()
        return PlatformBooks(
            self, self, LedgerVerification(transactions, MemoryBooksReader(transactions)), customers=self
        )

    def _read(self, name: str) -> None:
        self.reads[name] += 1
        self.on_read(name)

    async def existing(self, customer_ids: Collection[UUID]) -> set[UUID]:
        """All customers but those that are said to be unknown."""
        self._read("existing")
        return set(customer_ids) - self.unknown_customers

    async def jobs(self, wanted: Range, limit: int) -> Sequence[JobLine]:
        """Jobs of a range."""
        self._read("jobs")
        return sorted(one for one in self.job_lines if wanted.first <= one.job_id <= wanted.last)[:limit]

    async def receipts(self, wanted: Range, limit: int) -> Sequence[Receipt]:
        """Receipts of a range."""
        self._read("receipts")
        return sorted(one for one in self.receipt_lines if wanted.first <= one.job_id <= wanted.last)[:limit]

    async def deductions(self, wanted: Range, limit: int) -> Sequence[Deduction]:
        """Deductions of a range, with ties."""
        self._read("deductions")
        found = sorted(one for one in self.deduction_lines if wanted.first <= one.job_id <= wanted.last)
        if len(found) <= limit:
            return found
        return [one for one in found if one.job_id <= found[limit - 1].job_id]

    async def jobs_of(self, job_ids: Sequence[UUID]) -> Sequence[JobLine]:
        """Jobs by ID."""
        self._read("jobs_of")
        return [one for one in self.job_lines if one.job_id in job_ids]

    async def receipts_of(self, job_ids: Sequence[UUID]) -> Sequence[Receipt]:
        """Receipts by ID."""
        self._read("receipts_of")
        return [one for one in self.receipt_lines if one.job_id in job_ids]

    async def deductions_of(self, job_ids: Sequence[UUID]) -> Sequence[Deduction]:
        """Deductions by job."""
        self._read("deductions_of")
        return [one for one in self.deduction_lines if one.job_id in job_ids]

    async def old_holds(self, after: HoldPosition | None, limit: int) -> Sequence[HoldLine]:
        """Active holds by age."""
        self._read("old_holds")
        active = sorted((one for one in self.hold_lines if one.active), key=_position)
        return [one for one in active if after is None or _position(one) > after][:limit]

    async def holds_of(self, hold_ids: Sequence[UUID]) -> Sequence[HoldLine]:
        """Hold by ID."""
        self._read("holds_of")
        return [one for one in self.hold_lines if one.hold_id in hold_ids]


def _position(hold: HoldLine) -> HoldPosition:
    return HoldPosition(hold.created_at, hold.hold_id)
