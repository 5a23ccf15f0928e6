"""Judges what a run left behind: what was promised, against the books. Knows no service and no fault."""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import groupby

from tests.chaos.support.books import BooksSnapshot, HoldRow, JobRow, TransactionRow
from tests.chaos.support.kinds import CANCELLED, FAILED, SUCCEEDED, expected_output
from tests.chaos.support.notes import Notes
from tests.chaos.support.submissions import Submission

CHARGED, NOT_BILLABLE, RELEASED = "CHARGED", "NOT_BILLABLE", "RELEASED"
ACTIVE, CAPTURED = "ACTIVE", "CAPTURED"
INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
DEDUCTION, CREDIT = "DEDUCTION", "CREDIT"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All there is to judge by.

    Attributes:
        submissions: What was submitted, by job ID.
        credited_cents: What was paid in, by customer.
        may_be_refused: The customers whose jobs may be refused for want of money.
        handed_back: How often runners said that they hand a job back, by job ID.
    """

    books: BooksSnapshot
    submissions: Mapping[str, Submission]
    credited_cents: Mapping[str, int]
    notes: Notes
    may_be_refused: Set[str] = frozenset()
    handed_back: Mapping[str, int] = field(default_factory=dict)


def complaints(evidence: Evidence) -> list[str]:
    """Everything that is not as it has to be; nothing if all is well."""
    return [
        *_about_submissions(evidence),
        *_about_ends(evidence),
        *_about_charges(evidence),
        *_about_holds(evidence),
        *_about_wallets(evidence),
        *_about_executions(evidence),
        *(f"{count} IDs are left in {name}" for name, count in evidence.books.lists.items() if count),
    ]


def unfinished(books: BooksSnapshot) -> list[str]:
    """What is still to happen by itself, with the jobs' IDs; nothing when the system is at rest."""
    open_ends = [f"{job.job_id} is {job.status}/{job.billing_status}" for job in books.jobs.values() if _moves(job)]
    held = [f"the hold {hold.hold_id} of {hold.job_id} is ACTIVE" for hold in books.holds if hold.state == ACTIVE]
    listed = [f"{count} IDs are in {name}" for name, count in books.lists.items() if count]
    return [*open_ends, *held, *listed]


def _moves(job: JobRow) -> bool:
    return job.status not in (SUCCEEDED, FAILED, CANCELLED) or job.billing_status in ("CHARGE_DUE", "RELEASE_DUE")


def _about_submissions(evidence: Evidence) -> Iterator[str]:
    for submission in evidence.submissions.values():
        job_id = submission.job_id
        if submission.refused and _may_be_refused(evidence, submission):
            continue
        if submission.refused:
            yield f"{job_id} ({submission.kind.name}) was refused: {submission.refused}"
        elif not submission.accepted:
            yield f"{job_id} ({submission.kind.name}) was never accepted, in {submission.tries} tries"
        elif job_id not in evidence.books.jobs:
            yield f"{job_id} ({submission.kind.name}) was accepted and is lost"
        elif submission.cancel_after_seconds is not None and not submission.cancellation:
            yield f"{job_id} ({submission.kind.name}) could not be taken back"
        elif submission.retries and not submission.retried:
            yield f"{job_id} ({submission.kind.name}) could not be run again"
        elif submission.watched and submission.seen != evidence.books.jobs[job_id].status:
            yield f"{job_id} ({submission.kind.name}) was watched, and {submission.seen or 'no end'} was seen last"
    for job_id in evidence.books.jobs.keys() - evidence.submissions.keys():
        yield f"{job_id} was submitted by nobody"


def _may_be_refused(evidence: Evidence, submission: Submission) -> bool:
    stored = submission.job_id in evidence.books.jobs
    if _came_too_late(submission):
        return not stored
    short = submission.refused.startswith(INSUFFICIENT_FUNDS) and submission.kind.cost_cents > 0
    # An earlier try that got no response may have been slower, and have found money that was free again by then.
    return short and submission.customer_id in evidence.may_be_refused and (not stored or submission.tries > 1)


def _came_too_late(submission: Submission) -> bool:
    """It could not be submitted before its time was over: that is a response."""
    return submission.kind.expires_seconds is not None and "expires_at" in submission.refused


def _known(evidence: Evidence) -> Iterator[tuple[Submission, JobRow]]:
    for job_id, submission in evidence.submissions.items():
        if (job := evidence.books.jobs.get(job_id)) is not None:
            yield submission, job


# How often a job was run again, by what came of the last RetryJob. A call that arrives late may be carried out after
# another one was refused.
_RUN_AGAIN = {"": (0,), "again": (1,)}


def _about_ends(evidence: Evidence) -> Iterator[str]:
    for submission, job in _known(evidence):
        kind, name = submission.kind, f"{job.job_id} ({submission.kind.name})"
        if job.status not in kind.ends:
            yield f"{name} ended {job.status} ({job.error_type})"
        elif job.status == SUCCEEDED and job.output != expected_output(submission.inputs):
            yield f"{name} has the output {job.output_json}"
        elif job.status != SUCCEEDED and job.error_type not in kind.error_types:
            yield f"{name} ended {job.status} with the error {job.error_type}"
        if submission.cancellation == "cancelled" and not submission.retries and job.status != CANCELLED:
            yield f"{name} was taken back and ended {job.status}"
        if submission.cancellation == "too late" and job.status == CANCELLED:
            yield f"{name} could not be taken back and is CANCELLED"
        if job.retry_count not in _RUN_AGAIN.get(submission.retried, (0, 1)):
            yield f"{name} was run again {job.retry_count} times (RetryJob: {submission.retried or 'not called'})"


def _about_charges(evidence: Evidence) -> Iterator[str]:
    deductions: dict[str, list[TransactionRow]] = {}
    for transaction in evidence.books.transactions:
        if transaction.kind == DEDUCTION:
            deductions.setdefault(transaction.job_id or "no job", []).append(transaction)
    for job_id in deductions.keys() - evidence.books.jobs.keys():
        yield f"{job_id} is no job and was charged"
    for submission, job in _known(evidence):
        made = deductions.get(job.job_id, [])
        yield from (
            f"{job.job_id} ({submission.kind.name}) {problem}" for problem in _about_charge(evidence, submission, made)
        )


def _about_charge(evidence: Evidence, submission: Submission, made: list[TransactionRow]) -> Iterator[str]:
    job = evidence.books.jobs[submission.job_id]
    wallet = evidence.books.wallets.get(job.customer_id)
    cost, is_free = submission.cost_cents, not submission.kind.cost_cents
    # Never DECLINED: the money was reserved.
    expected = NOT_BILLABLE if is_free else CHARGED if cost and job.status == SUCCEEDED else RELEASED
    if job.billing_status != expected:
        yield f"is {job.status} and {job.billing_status}"
    if job.status == SUCCEEDED and not cost and job.cost_cents:
        yield f"costs nothing, and says {job.cost_cents}"
    if job.billing_status != CHARGED:
        if made:
            yield f"is {job.status}, {job.billing_status} and was charged {len(made)} times"
        return
    if len(made) != 1:
        yield f"was charged {len(made)} times"
        return
    [deduction] = made
    if deduction.amount_cents != -cost or job.cost_cents != cost:
        yield f"costs {cost}, says {job.cost_cents} and was charged {-deduction.amount_cents}"
    if deduction.transaction_id != job.transaction_id:
        yield f"names the transaction {job.transaction_id}, and was charged by {deduction.transaction_id}"
    if wallet is None or deduction.wallet_id != wallet.wallet_id:
        yield "was charged to another customer's wallet"


def _about_holds(evidence: Evidence) -> Iterator[str]:
    """Every hold has ended, and captured are exactly those of the charged jobs, at their price."""
    holds = {hold.hold_id: hold for hold in evidence.books.holds}
    for hold in holds.values():
        yield from (f"hold {hold.hold_id} of {hold.job_id} {problem}" for problem in _about_hold(evidence, hold))
    for submission, job in _known(evidence):
        name = f"{job.job_id} ({submission.kind.name})"
        own = holds.get(job.hold_id or "")
        if job.billing_status == CHARGED and (own is None or own.state != CAPTURED):
            yield f"{name} was charged, and its hold is {own.state if own else 'missing'}"
        if submission.kind.cost_cents and (own is None or own.amount_cents != submission.kind.cost_cents):
            reserved = own.amount_cents if own else "nothing"
            yield f"{name} costs {submission.kind.cost_cents}, and {reserved} was reserved"


def _about_hold(evidence: Evidence, hold: HoldRow) -> Iterator[str]:
    if hold.state not in (CAPTURED, RELEASED):
        yield f"is {hold.state}"
    if (submission := evidence.submissions.get(hold.job_id or "")) is None:
        yield "was placed for a job that nobody submitted"
    elif not submission.kind.cost_cents:
        yield "was placed for a job that costs nothing"
    job = evidence.books.jobs.get(hold.job_id or "")
    if hold.state == CAPTURED and (job is None or job.hold_id != hold.hold_id or job.billing_status != CHARGED):
        yield "is CAPTURED, and its job was not charged with it"


def _about_wallets(evidence: Evidence) -> Iterator[str]:
    lines = {
        wallet_id: list(group)
        for wallet_id, group in groupby(evidence.books.transactions, lambda transaction: transaction.wallet_id)
    }
    for wallet in evidence.books.wallets.values():
        statement = lines.pop(wallet.wallet_id, [])
        name = f"wallet {wallet.wallet_id}"
        balance = 0
        for number, line in enumerate(statement, 1):
            balance += line.amount_cents
            if line.sequence != number:
                yield f"{name}: number {line.sequence} stands where {number} should"
            if line.balance_after_cents != balance:
                yield f"{name}: after number {number} the balance is {line.balance_after_cents}, not {balance}"
        if balance != wallet.balance_cents:
            yield f"{name}: the balance is {wallet.balance_cents}, the statement says {balance}"
        if wallet.balance_cents < 0 or wallet.pending_cents:
            yield f"{name}: the balance is {wallet.balance_cents}, {wallet.pending_cents} of it held"
        credited = sum(line.amount_cents for line in statement if line.kind == CREDIT)
        if credited != evidence.credited_cents.get(wallet.customer_id, 0):
            yield f"{name}: {credited} were credited, {evidence.credited_cents.get(wallet.customer_id, 0)} were paid in"
    for wallet_id in lines:
        yield f"wallet {wallet_id} has a statement and does not exist"


def _about_executions(evidence: Evidence) -> Iterator[str]:
    for submission, job in _known(evidence):
        name = f"{job.job_id} ({submission.kind.name})"
        if job.status == SUCCEEDED and not evidence.notes.returns(job.job_id):
            yield f"{name} succeeded, and its handler never returned"
        if unexplained := repeats(evidence, submission, job)["unexplained"]:
            yield f"{name} was run {unexplained} times more than anything explains"
    for job_id in evidence.notes.counts.keys() - evidence.submissions.keys():
        yield f"{job_id} was run and never submitted"


def repeats(evidence: Evidence, submission: Submission, job: JobRow) -> Counter[str]:
    """How often a handler was called beyond what its behaviour asks for, by reason.

    Who has a job run again starts its counts anew, so of those nothing can be said but how often.
    """
    more = max(evidence.notes.executions(job.job_id) - submission.kind.runs, 0)
    if submission.retries:
        return Counter({"run again": more})
    rescued = min(more, job.rescue_count)
    returned = min(more - rescued, evidence.handed_back.get(job.job_id, 0))
    return Counter({"rescued": rescued, "handed back": returned, "unexplained": more - rescued - returned})
