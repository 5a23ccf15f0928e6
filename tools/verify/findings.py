"""What is found, and the report that it makes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

NAMED_PER_KIND = 20


class Kind(StrEnum):
    """What can be wrong; the values are the keys of the report."""

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


# Work that was done and is not paid, by the rules: somebody should look at it, but the books are right.
KNOWN_EXCEPTIONS = frozenset({Kind.DECLINED, Kind.BLOCKED})
# Their keys of the report count gaps and cents, which the check of the wallets sums up, and not findings.
_SUMMED_BY_WALLETS = frozenset({Kind.SEQUENCE_GAP, Kind.LEDGER_IMBALANCE, Kind.PENDING_IMBALANCE})


@dataclass(frozen=True)
class Rebill:
    """Sets a job's charge to what the ledger says, if its row is still as it was judged.

    Attributes:
        billing_status: What it was judged by; so is `transaction_id`.
        charged_by: The deduction that paid for it; None to have the settler charge it.
    """

    job_id: UUID
    billing_status: str
    transaction_id: UUID | None
    charged_by: UUID | None


@dataclass(frozen=True)
class TryNow:
    """Gives an unsettled job the next try that its row lacks."""

    job_id: UUID
    billing_status: str


@dataclass(frozen=True)
class Release:
    """Releases a hold that no job needs."""

    hold_id: UUID


Repair = Rebill | TryNow | Release


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        subject: What kind of thing `id` names: `job`, `job type`, `hold`, `wallet`, `transaction` or `customer`.
        repair: What would set it right, if something safe does.
    """

    kind: Kind
    subject: str
    id: UUID
    description: str
    repair: Repair | None = None


@dataclass(frozen=True)
class Repaired:
    """What was done about a finding.

    Attributes:
        done: Whether it took effect. It does not where the state is no longer the one that was judged.
    """

    finding: Finding
    outcome: str
    done: bool


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long what is under way may take, and how much is read at once.

    Attributes:
        grace: After which time a suspect is looked at again.
        late: How long after its time a rescue, a release or a next try is overdue. Times that are further apart than
            the clocks of two servers contradict one another from here on.
        in_flight: How long a charge may be due, and a hold be without its job.
        holds_kept: How long holds are kept that have ended: one that ended later has to be there.
        page: How many rows are read at once.
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
        """Return limits that a platform keeps which is set to be slower; never shorter ones than these.

        Args:
            housekeeping_every: How often the jobs service looks for what is late.
            settled_after: After which time it makes a charge that a runner has not made.
            hold_orphan_after: From which age on it releases a hold without a job.
            holds_kept: How long the wallets service keeps holds that have ended.
        """
        late = max(self.late, 10 * housekeeping_every)
        in_flight = max(self.in_flight, hold_orphan_after + late, settled_after + late)
        return replace(self, late=late, in_flight=in_flight, holds_kept=holds_kept)


@dataclass
class Report:
    """The outcome of a check.

    Attributes:
        counts: How many findings there are of each kind.
        offenders: The first of each kind.
        repairs: How many repairs took effect.
        repaired: What was done, the first of each kind.
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
    repaired: dict[Kind, list[Repaired]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is broken. Declined and blocked charges are exceptions that the rules know."""
        return not any(count for kind, count in self.counts.items() if kind not in KNOWN_EXCEPTIONS)

    def add(self, finding: Finding) -> None:
        """Takes a finding down."""
        self.counts[finding.kind] += 1
        named = self.offenders.setdefault(finding.kind, [])
        if len(named) < NAMED_PER_KIND:
            named.append(finding)

    def add_repaired(self, repaired: Repaired) -> None:
        """Takes down what was done."""
        self.repairs += repaired.done
        named = self.repaired.setdefault(repaired.finding.kind, [])
        if len(named) < NAMED_PER_KIND:
            named.append(repaired)

    def figures(self) -> dict[str, int]:
        """What was looked at and what was found, in the order in which it is shown."""
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
        """What `innosystem verify --json` prints."""
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
