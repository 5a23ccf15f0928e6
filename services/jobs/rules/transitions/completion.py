"""How a run ends and how its charge is settled: pure decisions on a locked job.

The repositories write the changes that they return (`services.jobs.rules.transitions.changes`).
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Any, assert_never
from uuid import UUID

from services.jobs.rules.entities import Billing, BillingStatus, Job, JobStatus
from services.jobs.rules.job_types import NewJobType
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import NOW, RUN_IS_OVER, Change, Failure, Requeueing, next_try, requeued
from services.jobs.rules.transitions.deaths import PROCESS_DIED, DeathRules
from services.kit.charges.callbacks import Callback
from services.kit.fast_dataclasses import made

SNOOZES_MAX = 100
_DEFAULT_RULES = DeathRules()
_JITTER = 0.2

_RELEASING = {BillingStatus.HELD: BillingStatus.RELEASE_DUE, BillingStatus.UNHELD: BillingStatus.RELEASED}
_CHARGING = (BillingStatus.HELD, BillingStatus.UNHELD)


@dataclass(frozen=True)
class Snooze:
    """A run that asks to be repeated after a wait."""

    wait: timedelta


@dataclass(frozen=True)
class AwaitCallback:
    """A run that is over for its runner: an endpoint has accepted the job, and sends the result."""

    callback: Callback


#: How a run ended: with an output, with a failure, with a request to be repeated later, or with a wait for its result.
Outcome = Payload | Failure | Snooze | AwaitCallback


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The end of one run; without an outcome its runner has handed the job back.

    Attributes:
        usage_units: What the run has used; None if it has reported nothing, or has no output.
    """

    job_id: UUID
    lease_id: UUID
    outcome: Outcome | None = None
    usage_units: int | None = None

    @property
    def output_bytes(self) -> int:
        """The largest length of the output when PostgreSQL prints it."""
        return self.outcome.size if isinstance(self.outcome, Payload) else 0

    @cached_property
    def digest(self) -> bytes:
        """A digest of the outcome, by which a repeated completion is recognized."""
        outcome = self.outcome
        output = outcome.text if isinstance(outcome, Payload) else None
        failure = outcome if isinstance(outcome, Failure) else None
        wait: object = outcome.wait if isinstance(outcome, Snooze) else None
        if isinstance(outcome, AwaitCallback):
            wait = "awaiting callback"
        parts: tuple[object, ...] = (output, failure, wait)
        # The same text as in earlier releases, whose digests are stored.
        parts += () if self.usage_units is None else (self.usage_units,)
        return blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=8).digest()


@dataclass(frozen=True)
class Charged:
    """The ledger has charged the job.

    Attributes:
        amount_cents: What it has charged, if that is yet to be compared with the cost of the job: a runner says so, by
            a receipt of the ledger.
    """

    job_id: UUID
    transaction_id: UUID
    amount_cents: int | None = None


@dataclass(frozen=True)
class Declined:
    """The ledger refused the charge, for this reason.

    Attributes:
        is_hearsay: Whether a runner says so that has to be asked for proof, and there is none. Then only missing funds
            are believed, because the settler tries again soon; a charge that needs an operator has to be seen by it.
    """

    job_id: UUID
    reason: str
    is_hearsay: bool = False


@dataclass(frozen=True)
class Released:
    """The job's hold is released: it ended without success, or costs nothing."""

    job_id: UUID


#: The ledger's decision on a charge.
Deduction = Charged | Declined
#: What became of a charge, or of a hold.
Settlement = Deduction | Released


@dataclass(frozen=True, kw_only=True)
class Ending(Change):
    """What a job becomes by a completion.

    Attributes:
        error: The failure that is kept as the job's error; None if the run did not fail.
        run_at: How long the job waits if it is run again.
        completed_at: Now, unless the job is run again.
        next_try_at: When the settler looks at it.
    """

    constant = RUN_IS_OVER
    kept = frozenset({"error", "run_at"})

    status: JobStatus
    billing_status: BillingStatus
    output_data: str | None
    output_bytes: int
    error: Failure | None
    cost_cents: int | None
    usage_units: int | None
    attempt: int
    snooze_count: int
    deaths: int
    run_at: timedelta | None
    completed_at: timedelta | None
    next_try_at: timedelta | None
    completed_lease_id: UUID
    completion_digest: bytes


@dataclass(frozen=True, kw_only=True)
class GiveBack(Requeueing):
    """What a job becomes when its runner hands it back."""

    completed_lease_id: UUID
    completion_digest: bytes


def holds_lease(job: Job, lease_id: UUID) -> bool:
    """Return whether the job runs under this lease."""
    return job.status is JobStatus.RUNNING and job.lease_id == lease_id


def is_repeated(job: Job, completion: Completion) -> bool:
    """Return whether this very completion was recorded before."""
    return job.completed_lease_id == completion.lease_id and job.completion_digest == completion.digest


def released(status: BillingStatus) -> BillingStatus:
    """Return the billing status of a job that ends and is not charged."""
    return _RELEASING.get(status, status)


def backoff(job_type: NewJobType, attempt: int) -> timedelta:
    """Return the wait after a failed attempt: initial * multiplier^(attempt - 1), at most the longest, +-20 %."""
    initial, longest = job_type.retry_initial_backoff, job_type.retry_max_backoff
    try:
        wait = min(initial * job_type.retry_multiplier ** (attempt - 1), longest)
    except OverflowError:
        wait = longest
    # Not a secret: it only keeps jobs that failed together from returning together.
    return wait * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


def ending(
    job: Job,
    completion: Completion,
    job_type: NewJobType | None = None,
    rules: DeathRules = _DEFAULT_RULES,
    *,
    settle_after: timedelta,
) -> Ending:
    """Return what a RUNNING job becomes.

    The price is the one frozen at admission: runners do not name it, only how much of it a metered job has used.

    Args:
        job: The job.
        completion: How its run ended.
        job_type: The job's type, which has the backoff; needed if attempts are left.
        rules: How often the job's own process may die.
        settle_after: How long the runner has to make the charge before the settler does.
    """
    outcome = _outcome(job, completion, job_type, rules)
    values = {
        "job_id": job.id,
        "billing_status": job.billing_status,
        "output_data": completion.outcome.text if isinstance(completion.outcome, Payload) else None,
        "output_bytes": completion.output_bytes,
        "error": None,
        "cost_cents": None,
        "usage_units": None,
        "attempt": job.attempt,
        "snooze_count": job.snooze_count,
        "deaths": job.deaths,
        "run_at": None,
        "completed_lease_id": completion.lease_id,
        "completion_digest": completion.digest,
        **outcome,
    }
    values["completed_at"] = NOW if values["run_at"] is None else None
    values["next_try_at"] = next_try(values["billing_status"], settle_after)
    return made(Ending, values)


def given_back(job: Job, completion: Completion, wait: timedelta | None) -> GiveBack:
    """Return what a RUNNING job becomes that its runner hands back, to be run again after a wait if there is one."""
    return GiveBack(**requeued(job, wait), completed_lease_id=completion.lease_id, completion_digest=completion.digest)


def _outcome(job: Job, completion: Completion, job_type: NewJobType | None, rules: DeathRules) -> dict[str, Any]:
    """Return the columns in which an ending differs from what the job was."""
    match completion.outcome:
        case Snooze(wait):
            return _snoozed(job, wait)
        case Failure(type=kind, retryable=True) as failure if kind == PROCESS_DIED:
            return _died(job, failure, rules)
        case Failure() as failure:
            return _failed(job, failure, job_type)
    return _succeeded(job, completion.usage_units)


def _succeeded(job: Job, usage_units: int | None) -> dict[str, Any]:
    success = {"status": JobStatus.SUCCEEDED, "usage_units": usage_units}
    if job.billing_status not in _CHARGING:
        return {**success, "cost_cents": 0}
    metering = job.metering
    cost_cents = job.estimated_cost_cents if metering is None else metering.cost_cents(usage_units)
    # The ledger has no charge of nothing.
    billing_status = BillingStatus.CHARGE_DUE if cost_cents else released(job.billing_status)
    return {**success, "cost_cents": cost_cents, "billing_status": billing_status}


def _without_success(job: Job, failure: Failure) -> dict[str, Any]:
    return {"status": JobStatus.FAILED, "billing_status": released(job.billing_status), "error": failure}


def _failed(job: Job, failure: Failure, job_type: NewJobType | None) -> dict[str, Any]:
    if not failure.retryable or job.attempt >= job.max_attempts:
        return _without_success(job, failure)
    wait = failure.retry_after
    if wait is None:
        wait = NOW if job_type is None else backoff(job_type, job.attempt)
    return {"status": JobStatus.SCHEDULED, "error": failure, "run_at": wait}


def _died(job: Job, failure: Failure, rules: DeathRules) -> dict[str, Any]:
    """End the run of a job whose own process has died, because of it or its input. It uses up no attempt."""
    deaths = job.deaths + 1
    if deaths > rules.deaths_max:
        return {**_without_success(job, failure), "deaths": deaths}
    return {
        "status": JobStatus.SCHEDULED,
        "error": failure,
        "deaths": deaths,
        "attempt": job.attempt - 1,
        "run_at": rules.pause(deaths),
    }


def _snoozed(job: Job, wait: timedelta) -> dict[str, Any]:
    if job.snooze_count >= SNOOZES_MAX:
        message = f"the handler has asked {SNOOZES_MAX} times to be run again later"
        return _without_success(job, Failure(type="SNOOZED_TOO_OFTEN", message=message, retryable=False))
    return {
        "status": JobStatus.SCHEDULED,
        "attempt": job.attempt - 1,
        "snooze_count": job.snooze_count + 1,
        "run_at": wait,
    }


@dataclass(frozen=True, kw_only=True)
class BillingChange(Change):
    """What becomes of a job's charge, or of its hold.

    Attributes:
        next_try_at: When the settler tries again at the earliest, if it does; never before the time it has chosen.
    """

    billing_status: BillingStatus
    transaction_id: UUID | None = None
    next_try_at: timedelta | None = None


def is_proven(billing: Billing, settlement: Settlement) -> bool:
    """Return whether a charge is that of the job: one of another amount is not."""
    return not isinstance(settlement, Charged) or settlement.amount_cents in (None, billing.cost_cents)


def settled(billing_status: BillingStatus, settlement: Settlement, settle_after: timedelta) -> BillingChange | None:
    """Return what a settlement changes, if anything.

    CHARGE_DUE, DECLINED and CHARGE_BLOCKED become CHARGED; CHARGE_DUE becomes DECLINED when funds are missing. Both
    become CHARGE_BLOCKED when the ledger refused for any other reason, which no retry can cure: the wallet is missing,
    or another one was charged for the job. RELEASE_DUE becomes RELEASED.

    Args:
        billing_status: The job's billing status.
        settlement: The result of the charge.
        settle_after: How long the settler waits before it tries again to charge a job that a runner could not.
    """
    status = _settled_status(billing_status, settlement)
    if status is None:
        return None
    values = {
        "job_id": settlement.job_id,
        "billing_status": status,
        "transaction_id": settlement.transaction_id if isinstance(settlement, Charged) else None,
        "next_try_at": settle_after if status is BillingStatus.DECLINED else None,
    }
    return made(BillingChange, values)


def _settled_status(billing_status: BillingStatus, settlement: Settlement) -> BillingStatus | None:
    tried = billing_status in (BillingStatus.CHARGE_DUE, BillingStatus.DECLINED)
    match settlement:
        case Released():
            return BillingStatus.RELEASED if billing_status is BillingStatus.RELEASE_DUE else None
        case Charged():
            return BillingStatus.CHARGED if tried or billing_status is BillingStatus.CHARGE_BLOCKED else None
        case Declined(reason="INSUFFICIENT_FUNDS"):
            return BillingStatus.DECLINED if billing_status is BillingStatus.CHARGE_DUE else None
        case Declined(is_hearsay=is_hearsay):
            return BillingStatus.CHARGE_BLOCKED if tried and not is_hearsay else None
        case _:
            assert_never(settlement)
