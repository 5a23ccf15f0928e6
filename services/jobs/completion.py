"""How a run ends and how its charge is settled: pure decisions on a locked job.

Both repositories ask here what to do and then do only that, so the rules are written once.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b
from uuid import UUID

from services.jobs.domain import BillingStatus, Job, JobStatus

_RELEASING = {BillingStatus.HELD: BillingStatus.RELEASE_DUE, BillingStatus.UNHELD: BillingStatus.RELEASED}
_CHARGING = (BillingStatus.HELD, BillingStatus.UNHELD)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a runner says about a failed run. The server adds attempt and time."""

    type: str
    message: str
    retryable: bool


@dataclass(frozen=True, kw_only=True)
class Completion:
    """How one run ended: with an output or with a failure.

    Attributes:
        output_data: JSON text; None if the run failed.
        output_bytes: How long the output is at most when PostgreSQL prints it.
    """

    job_id: UUID
    lease_id: UUID
    output_data: str | None = None
    output_bytes: int = 0
    failure: Failure | None = None

    @property
    def digest(self) -> bytes:
        """Tells whether a repeated completion is the same."""
        outcome = repr((self.output_data, self.failure))
        return blake2b(outcome.encode(errors="surrogatepass"), digest_size=8).digest()


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What became of a charge.

    Attributes:
        transaction_id: The deduction; None if the ledger refused.
        declined_reason: The reason of the refusal; empty if there was none.
    """

    job_id: UUID
    transaction_id: UUID | None = None
    declined_reason: str = ""


@dataclass(frozen=True)
class Ending:
    """What a job becomes by a completion."""

    status: JobStatus
    billing_status: BillingStatus
    cost_cents: int | None


def holds_lease(job: Job, lease_id: UUID) -> bool:
    """Whether the job runs under this lease."""
    return job.status is JobStatus.RUNNING and job.lease_id == lease_id


def is_repeated(job: Job, completion: Completion) -> bool:
    """Whether this very completion was recorded before."""
    return job.completed_lease_id == completion.lease_id and job.completion_digest == completion.digest


def ending(job: Job, completion: Completion) -> Ending:
    """What a RUNNING job becomes. The price is the one frozen at admission: no runner names it."""
    if completion.failure is not None:
        released = _RELEASING.get(job.billing_status, job.billing_status)
        return Ending(JobStatus.FAILED, released, None)
    if job.billing_status in _CHARGING:
        return Ending(JobStatus.SUCCEEDED, BillingStatus.CHARGE_DUE, job.estimated_cost_cents)
    return Ending(JobStatus.SUCCEEDED, job.billing_status, 0)


def ended(job: Job, completion: Completion, end: Ending) -> Job:
    """The job as it is after its run was ended, as far as answers need it."""
    return replace(
        job,
        status=end.status,
        billing_status=end.billing_status,
        cost_cents=end.cost_cents,
        completed_lease_id=completion.lease_id,
        completion_digest=completion.digest,
    )


def settled(job: Job, settlement: Settlement) -> BillingStatus | None:
    """The billing status a settlement leads to, or None if it changes nothing.

    CHARGE_DUE, DECLINED and CHARGE_BLOCKED become CHARGED; CHARGE_DUE becomes DECLINED when funds are missing, and
    CHARGE_BLOCKED when the ledger refused for any other reason, which no retry can cure.
    """
    due = job.billing_status is BillingStatus.CHARGE_DUE
    if settlement.transaction_id is not None:
        unpaid = (BillingStatus.DECLINED, BillingStatus.CHARGE_BLOCKED)
        return BillingStatus.CHARGED if due or job.billing_status in unpaid else None
    if not due:
        return None
    if settlement.declined_reason == "INSUFFICIENT_FUNDS":
        return BillingStatus.DECLINED
    return BillingStatus.CHARGE_BLOCKED
