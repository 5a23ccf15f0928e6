"""The findings of the check, and the report of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

NAMED_PER_KIND = 20


class Kind(StrEnum):
    """The kinds of findings; the values are the keys of the report."""

    SEQUENCE_GAP = "sequence_gaps"
    LEDGER_IMBALANCE = "ledger_imbalance_cents"
    PENDING_IMBALANCE = "pending_imbalance_cents"
    MISSING_CHARGE = "missing_charges"
    DOUBLE_CHARGE = "double_charges"
    CHARGE_WITHOUT_JOB = "charges_without_job"
    ORPHAN_HOLD = "orphan_holds"
    MISSING_HOLD = "holds_missing"
    UNSETTLED_OVERDUE = "unsettled_overdue"
    STUCK_JOB = "stuck_jobs"
    INCONSISTENT_JOB = "inconsistent_jobs"
    INCONSISTENT_JOB_TYPE = "inconsistent_job_types"
    INCONSISTENT_WALLET = "inconsistent_wallets"
    INCONSISTENT_TRANSACTION = "inconsistent_transactions"
    INCONSISTENT_HOLD = "inconsistent_holds"
    INCONSISTENT_CUSTOMER = "inconsistent_customers"
    UNKNOWN_CUSTOMER = "unknown_customers"
    NOT_UNDERSTOOD = "jobs_not_understood"
    VALUE_NOT_UNDERSTOOD = "values_not_understood"
    DECLINED = "declined"
    BLOCKED = "blocked"


# Work that was done and is not paid, as the rules allow: operators should look at it, but the books are right.
KNOWN_EXCEPTIONS = frozenset({Kind.DECLINED, Kind.BLOCKED})
# Under these keys the report counts gaps and cents, summed up by the check of the wallets, instead of findings.
_SUMMED_BY_WALLETS = frozenset({Kind.SEQUENCE_GAP, Kind.LEDGER_IMBALANCE, Kind.PENDING_IMBALANCE})


@dataclass(frozen=True)
class Rebill:
    """A repair that sets a job's charge to the state of the ledger, if its row has not changed since it was judged.

    Attributes:
        billing_status: The billing status that was judged.
        transaction_id: The transaction that was judged.
        charged_by: The deduction that paid for the job; None to let the settler charge it.
    """

    job_id: UUID
    billing_status: str
    transaction_id: UUID | None
    charged_by: UUID | None


@dataclass(frozen=True)
class TryNow:
    """A repair that gives an unsettled job the next try that its row lacks."""

    job_id: UUID
    billing_status: str


@dataclass(frozen=True)
class Release:
    """A repair that releases a hold that no job needs."""

    hold_id: UUID


Repair = Rebill | TryNow | Release


@dataclass(frozen=True)
class Finding:
    """A contradiction in the books, or an overdue piece of work.

    Attributes:
        subject: The kind of object that `id` names: `job`, `job type`, `hold`, `wallet`, `transaction` or `customer`.
        repair: The safe repair, if one exists.
    """

    kind: Kind
    subject: str
    id: UUID
    description: str
    repair: Repair | None = None


@dataclass(frozen=True)
class RepairOutcome:
    """The outcome of a repair.

    Attributes:
        done: Whether the repair took effect. It has none if the state has changed since it was judged.
    """

    finding: Finding
    outcome: str
    done: bool


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long work in flight may take, and how many rows a query reads.

    Attributes:
        grace: The time after which a suspect is read again.
        late: The delay after which a rescue, a release or a next try is overdue, and the tolerance for the clocks of
            different servers.
        in_flight: How long a charge may be due, and a hold be without its job.
        holds_kept: How long holds are kept after they have ended: a hold that ended later must exist.
        page: The number of rows in a page.
    """

    grace: timedelta = timedelta(seconds=5)
    late: timedelta = timedelta(minutes=5)
    in_flight: timedelta = timedelta(minutes=15)
    holds_kept: timedelta = timedelta(days=90)
    page: int = 10_000

    def allowing(
        self,
        *,
        housekeeping_every: timedelta,
        settled_after: timedelta,
        hold_orphan_after: timedelta,
        holds_kept: timedelta,
    ) -> Self:
        """Return limits that fit the settings of a slower platform; none is shorter than in these limits.

        Args:
            housekeeping_every: The interval at which the jobs service looks for late jobs.
            settled_after: The time after which it makes a charge that a runner has not made.
            hold_orphan_after: The age at which it releases a hold without a job.
            holds_kept: How long the wallets service keeps holds that have ended.
        """
        late = max(self.late, 10 * housekeeping_every)
        in_flight = max(self.in_flight, hold_orphan_after + late, settled_after + late)
        return replace(self, late=late, in_flight=in_flight, holds_kept=holds_kept)


@dataclass
class VerifyReport:
    """The outcome of a check.

    Attributes:
        counts: The number of findings of each kind.
        offenders: The first findings of each kind.
        repairs: The number of repairs that took effect.
        repaired: The first outcomes of repairs of each kind.
    """

    wallets: int = 0
    transactions: int = 0
    active_holds: int = 0
    jobs_checked: int = 0
    receipts_checked: int = 0
    sequence_gaps: int = 0
    ledger_imbalance_cents: int = 0
    pending_imbalance_cents: int = 0
    suspects: int = 0
    seconds: float = 0.0
    counts: Counter[Kind] = field(default_factory=Counter)
    offenders: dict[Kind, list[Finding]] = field(default_factory=dict)
    repairs: int = 0
    repaired: dict[Kind, list[RepairOutcome]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the books are right. Declined and blocked charges are allowed exceptions."""
        return not any(count for kind, count in self.counts.items() if kind not in KNOWN_EXCEPTIONS)

    def add(self, finding: Finding) -> None:
        """Add a finding."""
        self.counts[finding.kind] += 1
        named = self.offenders.setdefault(finding.kind, [])
        if len(named) < NAMED_PER_KIND:
            named.append(finding)

    def add_repaired(self, repaired: RepairOutcome) -> None:
        """Add the outcome of a repair."""
        self.repairs += repaired.done
        named = self.repaired.setdefault(repaired.finding.kind, [])
        if len(named) < NAMED_PER_KIND:
            named.append(repaired)

    def figures(self) -> dict[str, int]:
        """Return the numbers of checked rows and of findings, in the order of display."""
        return {
            "wallets": self.wallets,
            "transactions": self.transactions,
            "jobs_checked": self.jobs_checked,
            "receipts_checked": self.receipts_checked,
            "active_holds": self.active_holds,
            "sequence_gaps": self.sequence_gaps,
            "ledger_imbalance_cents": self.ledger_imbalance_cents,
            "pending_imbalance_cents": self.pending_imbalance_cents,
            **{kind.value: self.counts[kind] for kind in Kind if kind not in _SUMMED_BY_WALLETS},
        }

    def to_json(self) -> Mapping[str, Any]:
        """Return the report as `innosystem verify --json` prints it."""
        return {
            **self.figures(),
            "ok": self.ok,
            "repaired": self.repairs,
            "suspects_read_again": self.suspects,
            "seconds": round(self.seconds, 2),
            "offenders": [_finding_json(one) for named in self.offenders.values() for one in named],
            "repairs": [
                {"kind": one.finding.kind.value, "id": str(one.finding.id), "outcome": one.outcome, "done": one.done}
                for named in self.repaired.values()
                for one in named
            ],
        }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "subject": finding.subject,
        "id": str(finding.id),
        "description": finding.description,
        "repairable": finding.repair is not None,
    }
