"""The rules: whether a job, its receipt, its charges and its hold fit together. Independent of any database."""

from collections.abc import Iterator, Sequence

from services.kit.currencies import money
from tools.verify.findings import Finding, Kind, Rebill, Release, Repair, TryNow
from tools.verify.lines import Deduction, HoldLine, JobLine, Receipt

# The money of such a job may be reserved: its charge is neither made nor given up.
UNSETTLED = frozenset({"HELD", "CHARGE_DUE", "RELEASE_DUE", "DECLINED", "CHARGE_BLOCKED"})
_EXCEPTIONS = {"DECLINED": Kind.DECLINED, "CHARGE_BLOCKED": Kind.BLOCKED}
# A runner or settler that dies leaves a deduction behind that the job does not name yet. The settler completes jobs
# that are CHARGE_DUE, so they are no findings until they are overdue.
_CHARGED_SOON = "CHARGE_DUE"
# The allowed states of a job's hold, which is read after the job and so may be one step further.
_HOLD_STATES = {
    "HELD": ("ACTIVE",),
    "CHARGE_DUE": ("ACTIVE", "CAPTURED"),
    "RELEASE_DUE": ("ACTIVE", "RELEASED"),
    "RELEASED": ("RELEASED",),
}


def judge_job(job: JobLine) -> Iterator[Finding]:
    """Find contradictions within a job, and steps that are overdue."""
    if job.unknown is not None:
        # The rules of this release do not apply to a job of a later one.
        yield _of(job, Kind.NOT_UNDERSTOOD, f"has a value that this release does not understand: {job.unknown}")
        return
    if job.disagreement is not None:
        yield _of(job, Kind.INCONSISTENT_JOB, f"is {_state(job)}, which does not fit its {job.disagreement}")
    if job.stuck is not None:
        yield _of(job, Kind.STUCK_JOB, f"is {_state(job)}: {job.stuck}")
    if job.overdue is not None:
        repair = TryNow(job.job_id, job.billing_status) if job.untried else None
        yield _of(job, Kind.UNSETTLED_OVERDUE, f"is {_state(job)}: {job.overdue}", repair)


def exception_of(job: JobLine) -> Finding | None:
    """Return a finding for a job whose charge was declined or is blocked, else None."""
    if (kind := _EXCEPTIONS.get(job.billing_status)) is None:
        return None
    return _of(job, kind, f"{money(job.cost_cents or 0, job.currency)} of customer {job.customer_id}")


def judge_charge(job: JobLine | None, receipt: Receipt | None, deductions: Sequence[Deduction]) -> Iterator[Finding]:
    """Find errors in the charges of a job.

    Args:
        job: The job, if it exists.
        receipt: The receipt, if it exists. Both exist if a new job has the ID of a deleted one.
        deductions: The deductions of the job.
    """
    charged = job is not None and job.billing_status == "CHARGED"
    if job is not None and charged:
        yield from _judge_claim(job, deductions)
    if receipt is not None and not (charged and receipt.transaction_id == _transaction(job)):
        yield from _judge_claim(receipt, deductions)
    if receipt is None and not charged and deductions:
        yield from _judge_surplus(job, deductions)


def judge_job_hold(job: JobLine, hold: HoldLine | None) -> Finding | None:
    """Return a finding if the hold that a job names is not the one that reserves, or reserved, its price."""
    if job.unknown is not None:
        return None
    if (reason := _hold_mismatch(job, hold)) is None:
        return None
    return _of(job, Kind.MISSING_HOLD, f"is {_state(job)}, and its hold {job.hold_id} {reason}")


def _hold_mismatch(job: JobLine, hold: HoldLine | None) -> str | None:
    if hold is None:
        return "does not exist" if job.needs_hold else None
    if hold.job_id != job.job_id:
        return f"is of the job {hold.job_id}"
    if (hold.customer_id, hold.currency) != (job.customer_id, job.currency):
        return f"is on a wallet of customer {hold.customer_id} in {hold.currency}"
    if hold.amount_cents != job.estimated_cost_cents:
        held, price = (money(cents, job.currency) for cents in (hold.amount_cents, job.estimated_cost_cents))
        return f"is of {held}, and its price is {price}"
    # States of a later release, and the hold of a finished charge, are judged elsewhere.
    allowed = _HOLD_STATES.get(job.billing_status)
    return f"is {hold.state}" if allowed is not None and hold.state not in allowed else None


def judge_hold(hold: HoldLine, job: JobLine | None) -> Finding | None:
    """Return a finding if no job needs a hold."""
    if not hold.active or (job is not None and job.hold_id == hold.hold_id and job.billing_status in UNSETTLED):
        return None
    if job is not None and job.unknown is not None:
        # A later release may need the hold.
        return None
    if job is None:
        reason = f"the job {hold.job_id} does not exist"
    elif job.hold_id != hold.hold_id:
        reason = f"the job {hold.job_id} has the hold {job.hold_id}"
    else:
        reason = f"the job {hold.job_id} is {_state(job)}"
    held = money(hold.amount_cents, hold.currency or "")
    description = f"{held} held since {hold.created_at:%Y-%m-%d %H:%M:%SZ}, and {reason}"
    return Finding(Kind.ORPHAN_HOLD, "hold", hold.hold_id, description, Release(hold.hold_id))


def _judge_claim(claim: JobLine | Receipt, deductions: Sequence[Deduction]) -> Iterator[Finding]:
    """Compare the charge that a job or its receipt claims with the deductions."""
    whose = "is CHARGED" if isinstance(claim, JobLine) else "has a receipt"
    if not deductions:
        repair = _rebill(claim, None)
        yield _of(claim, Kind.MISSING_CHARGE, f"{whose} by {claim.transaction_id}, and no deduction is its", repair)
        return
    if len(deductions) > 1:
        yield _of(claim, Kind.DOUBLE_CHARGE, f"was charged {len(deductions)} times: {_listed(deductions)}")
    fitting = [one for one in deductions if _fits(claim, one) and one.transaction_id == claim.transaction_id]
    if not fitting:
        yield _judge_misfit(claim, deductions, whose)
    elif isinstance(claim, JobLine) and fitting[0].hold_id not in (None, claim.hold_id):
        description = f"{whose}, names the hold {claim.hold_id}, and its charge the hold {fitting[0].hold_id}"
        yield _of(claim, Kind.INCONSISTENT_JOB, description)


def _judge_misfit(claim: JobLine | Receipt, deductions: Sequence[Deduction], whose: str) -> Finding:
    own = [one for one in deductions if (one.customer_id, one.currency) == (claim.customer_id, claim.currency)]
    if not own:
        return _of(claim, Kind.MISSING_CHARGE, f"{whose}, and another wallet was charged: {_listed(deductions)}")
    one = own[0]
    if not _fits(claim, one):
        # The customer was charged too much, or a part of the charge is missing.
        kind = Kind.DOUBLE_CHARGE if one.amount_cents > (claim.cost_cents or 0) else Kind.MISSING_CHARGE
        return _of(
            claim, kind, f"costs {money(claim.cost_cents or 0, claim.currency)}, and was charged {_listed([one])}"
        )
    description = f"{whose} by {claim.transaction_id}, and was charged by {one.transaction_id}"
    return _of(claim, Kind.MISSING_CHARGE, description, _rebill(claim, one) if len(deductions) == 1 else None)


def _judge_surplus(job: JobLine | None, deductions: Sequence[Deduction]) -> Iterator[Finding]:
    """Judge the deductions of a job that claims no charge."""
    if job is None:
        description = f"neither job nor receipt exists, and it was charged {_listed(deductions)}"
        yield Finding(Kind.CHARGE_WITHOUT_JOB, "job", deductions[0].job_id, description)
        return
    if job.unknown is not None:
        return
    if len(deductions) > 1:
        times = f"{len(deductions)} times: {_listed(deductions)}"
        yield _of(job, Kind.DOUBLE_CHARGE, f"is {_state(job)}, and was charged {times}")
        return
    # The settler takes over an existing deduction, unless it differs from the one that the settler would make.
    fits = _fits(job, deductions[0])
    if job.billing_status == _CHARGED_SOON and fits and job.overdue is None:
        return
    unsettled = job.billing_status in (_CHARGED_SOON, *_EXCEPTIONS)
    repair = _rebill(job, deductions[0]) if unsettled and fits else None
    yield _of(job, Kind.CHARGE_WITHOUT_JOB, f"is {_state(job)}, and was charged {_listed(deductions)}", repair)


def _rebill(claim: JobLine | Receipt, charged_by: Deduction | None) -> Repair | None:
    # A receipt has no settler: an operator must decide.
    if isinstance(claim, Receipt):
        return None
    transaction_id = None if charged_by is None else charged_by.transaction_id
    return Rebill(claim.job_id, claim.billing_status, claim.transaction_id, transaction_id)


def _fits(claim: JobLine | Receipt, charge: Deduction) -> bool:
    claimed = (claim.customer_id, claim.currency, claim.cost_cents)
    return claimed == (charge.customer_id, charge.currency, charge.amount_cents)


def _transaction(job: JobLine | None) -> object:
    return None if job is None else job.transaction_id


def _listed(deductions: Sequence[Deduction]) -> str:
    return ", ".join(
        f"{money(one.amount_cents, one.currency)} of customer {one.customer_id} by {one.transaction_id}"
        for one in deductions
    )


def _state(job: JobLine) -> str:
    return f"{job.status}, {job.billing_status}"


def _of(line: JobLine | Receipt, kind: Kind, description: str, repair: Repair | None = None) -> Finding:
    return Finding(kind, "job", line.job_id, description, repair)
