"""How a run ends and how its charge is settled: pure decisions on a locked job.

Both repositories ask here what to do and then do only that, so the rules are written once.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from uuid import UUID

from services.jobs.rules.deaths import PROCESS_DIED, DeathRules
from services.jobs.rules.entities import BillingStatus, Job, JobStatus
from services.jobs.rules.job_types import NewJobType
from services.kit.fast_dataclasses import changed

SNOOZES_MAX = 100
_DEFAULT_RULES = DeathRules()
_JITTER = 0.2

_RELEASING = {BillingStatus.HELD: BillingStatus.RELEASE_DUE, BillingStatus.UNHELD: BillingStatus.RELEASED}
_CHARGING = (BillingStatus.HELD, BillingStatus.UNHELD)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a runner says about a failed run. The server adds attempt and time.

    Attributes:
        retry_after: How long to wait before the next attempt, instead of the job type's backoff.
    """

    type: str
    message: str
    retryable: bool
    retry_after: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """How one run ended: with an output, with a failure, or with the wish to be run again later.

    Attributes:
        output_data: JSON text; None if the run did not succeed.
        output_bytes: How long the output is at most when PostgreSQL prints it.
        snooze: After which time to run again.
    """

    job_id: UUID
    lease_id: UUID
    output_data: str | None = None
    output_bytes: int = 0
    failure: Failure | None = None
    snooze: timedelta | None = None

    @cached_property
    def digest(self) -> bytes:
        """Tells whether a repeated completion is the same."""
        outcome = repr((self.output_data, self.failure, self.snooze))
        return blake2b(outcome.encode(errors="surrogatepass"), digest_size=8).digest()


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What became of a charge.

    Attributes:
        transaction_id: The deduction; None if the ledger refused.
        declined_reason: The reason of the refusal; empty if there was none.
        released: Whether there was nothing to charge, and the hold is released.
    """

    job_id: UUID
    transaction_id: UUID | None = None
    declined_reason: str = ""
    released: bool = False


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What a job becomes by a completion.

    Attributes:
        attempt: The attempts it has used up.
        failure: What is kept as the job's error; None if the run did not fail.
        deaths: The ends of runners, and of its own process, that count against it.
        run_after: After which time it is run again; only when SCHEDULED.
    """

    status: JobStatus
    billing_status: BillingStatus
    cost_cents: int | None = None
    attempt: int
    snooze_count: int
    deaths: int = 0
    failure: Failure | None = None
    run_after: timedelta | None = None


def holds_lease(job: Job, lease_id: UUID) -> bool:
    """Whether the job runs under this lease."""
    return job.status is JobStatus.RUNNING and job.lease_id == lease_id


def is_repeated(job: Job, completion: Completion) -> bool:
    """Whether this very completion was recorded before."""
    return job.completed_lease_id == completion.lease_id and job.completion_digest == completion.digest


def released(status: BillingStatus) -> BillingStatus:
    """The billing status of a job that ends without success."""
    return _RELEASING.get(status, status)


def backoff(job_type: NewJobType, attempt: int) -> timedelta:
    """How long to wait after a failed attempt: initial * multiplier^(attempt - 1), at most the longest, +-20 %."""
    initial, longest = job_type.retry_initial_backoff, job_type.retry_max_backoff
    try:
        wait = min(initial * job_type.retry_multiplier ** (attempt - 1), longest)
    except OverflowError:
        wait = longest
    # Not a secret: it only keeps jobs that failed together from coming back together.
    return wait * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311


def ending(
    job: Job, completion: Completion, job_type: NewJobType | None = None, rules: DeathRules = _DEFAULT_RULES
) -> Ending:
    """What a RUNNING job becomes. The price is the one frozen at admission: no runner names it.

    Args:
        job: The job.
        completion: How its run ended.
        job_type: Says how long failed jobs wait; needed where attempts are left.
        rules: How often the job's own process may die.
    """
    if completion.snooze is not None:
        return _snoozed(job, completion.snooze)
    if completion.failure is not None:
        if completion.failure.type == PROCESS_DIED and completion.failure.retryable:
            return _died(job, completion.failure, rules)
        return _failed(job, completion.failure, job_type)
    charged = job.billing_status in _CHARGING
    return Ending(
        status=JobStatus.SUCCEEDED,
        billing_status=BillingStatus.CHARGE_DUE if charged else job.billing_status,
        cost_cents=job.estimated_cost_cents if charged else 0,
        attempt=job.attempt,
        snooze_count=job.snooze_count,
        deaths=job.deaths,
    )


def _failed(job: Job, failure: Failure, job_type: NewJobType | None) -> Ending:
    again = failure.retryable and job.attempt < job.max_attempts
    wait = failure.retry_after
    if again and wait is None:
        wait = timedelta(0) if job_type is None else backoff(job_type, job.attempt)
    return Ending(
        status=JobStatus.SCHEDULED if again else JobStatus.FAILED,
        billing_status=job.billing_status if again else released(job.billing_status),
        attempt=job.attempt,
        snooze_count=job.snooze_count,
        deaths=job.deaths,
        failure=failure,
        run_after=wait if again else None,
    )


def _died(job: Job, failure: Failure, rules: DeathRules) -> Ending:
    """A job whose own process has died: certainly of it, or of what it was given. No attempt is used up."""
    deaths = job.deaths + 1
    again = deaths <= rules.deaths_max
    return Ending(
        status=JobStatus.SCHEDULED if again else JobStatus.FAILED,
        billing_status=job.billing_status if again else released(job.billing_status),
        attempt=job.attempt - 1 if again else job.attempt,
        snooze_count=job.snooze_count,
        deaths=deaths,
        failure=failure,
        run_after=rules.pause(deaths) if again else None,
    )


def _snoozed(job: Job, wait: timedelta) -> Ending:
    if job.snooze_count >= SNOOZES_MAX:
        message = f"the handler has asked {SNOOZES_MAX} times to be run again later"
        return _failed(job, Failure(type="SNOOZED_TOO_OFTEN", message=message, retryable=False), None)
    return Ending(
        status=JobStatus.SCHEDULED,
        billing_status=job.billing_status,
        attempt=job.attempt - 1,
        snooze_count=job.snooze_count + 1,
        deaths=job.deaths,
        run_after=wait,
    )


def ended(job: Job, completion: Completion, end: Ending) -> Job:
    """The job as it is after its run was ended, as far as answers need it."""
    return changed(
        job,
        status=end.status,
        billing_status=end.billing_status,
        cost_cents=end.cost_cents,
        attempt=end.attempt,
        snooze_count=end.snooze_count,
        deaths=end.deaths,
        completed_lease_id=completion.lease_id,
        completion_digest=completion.digest,
    )


def settled(billing_status: BillingStatus, settlement: Settlement) -> BillingStatus | None:
    """The billing status a settlement leads to, or None if it changes nothing.

    CHARGE_DUE, DECLINED and CHARGE_BLOCKED become CHARGED; CHARGE_DUE becomes DECLINED when funds are missing. Both
    become CHARGE_BLOCKED when the ledger refused for any other reason, which no retry can cure: the wallet is missing,
    or another one was charged for the job. RELEASE_DUE becomes RELEASED.
    """
    if settlement.released:
        return BillingStatus.RELEASED if billing_status is BillingStatus.RELEASE_DUE else None
    tried = billing_status in (BillingStatus.CHARGE_DUE, BillingStatus.DECLINED)
    if settlement.transaction_id is not None:
        return BillingStatus.CHARGED if tried or billing_status is BillingStatus.CHARGE_BLOCKED else None
    if not tried:
        return None
    if settlement.declined_reason != "INSUFFICIENT_FUNDS":
        return BillingStatus.CHARGE_BLOCKED
    return BillingStatus.DECLINED if billing_status is BillingStatus.CHARGE_DUE else None
