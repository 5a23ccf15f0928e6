"""The arrows of the state diagrams in docs/life-of-a-job.md are the transitions that the rules make."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from uuid_utils.compat import uuid7

from services.jobs.rules.entities import FINAL, BillingStatus, Job, JobStatus, billing_at_admission
from services.jobs.rules.errors import JobNotCancellable, JobNotRetryable
from services.jobs.rules.holds import Reserved
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import Change, Failure, applied
from services.jobs.rules.transitions.completion import (
    Charged,
    Completion,
    Declined,
    Released,
    Snooze,
    ending,
    given_back,
    settled,
)
from services.jobs.rules.transitions.control import cancellation, retried
from services.jobs.rules.transitions.deaths import PROCESS_DIED, DeathRules
from services.jobs.rules.transitions.leasing import Claim, started
from services.jobs.rules.transitions.rescue import rescued
from tests.support.documents import arrows
from tests.support.jobs_examples import NOW, stored_job

NONE, MINUTE = timedelta(0), timedelta(minutes=1)
RULES = DeathRules()
BORN = "[*]"
# The one by a statement of its own, and those of CreateJob.
STATUS_BESIDE_RULES = {("SCHEDULED", "PENDING"), (BORN, "SCHEDULED"), (BORN, "PENDING")}
# What releases before holds have stored, and what the hold auditor and `verify --repair` mend.
BILLING_BESIDE_RULES = {(BORN, "UNHELD"), ("CHARGED", "CHARGE_DUE")}
BEFORE_THE_END = (BillingStatus.NOT_BILLABLE, BillingStatus.HELD, BillingStatus.UNHELD)


def running(**values: Any) -> Job:
    lease = {"lease_id": uuid7(), "runner_id": uuid7(), "started_at": NOW, "lease_expires_at": NOW + MINUTE}
    return stored_job(**{"status": JobStatus.RUNNING, "attempt": 1, "max_attempts": 2, **lease, **values})


def outcomes(job: Job) -> Iterator[Change]:
    """Every way in which a run can end."""
    ids: dict[str, Any] = {"job_id": job.id, "lease_id": uuid7()}
    for failure in (
        Failure(type="E", message="", retryable=True),
        Failure(type="E", message="", retryable=False),
        Failure(type=PROCESS_DIED, message="", retryable=True),
    ):
        yield ending(job, Completion(**ids, outcome=failure), settle_after=NONE)
    yield ending(job, Completion(**ids, outcome=Snooze(MINUTE)), settle_after=NONE)
    yield ending(job, Completion(**ids, outcome=Payload("1", 1)), settle_after=NONE)
    for wait in (None, MINUTE):
        yield given_back(job, Completion(**ids), wait)
    again = running(id=job.id, billing_status=job.billing_status, rescue_count=1)
    killer = running(id=job.id, billing_status=job.billing_status, deaths=RULES.deaths_max)
    for one in (job, again, killer):
        for changes in rescued([one], {}, RULES):
            yield from changes


def by_hand(job: Job) -> Iterator[Change]:
    """Yield the changes of a job by CancelJob and by RetryJob."""
    hold = Reserved(uuid7(), job.hold_generation + 1, job.estimated_cost_cents)
    try:
        if (cancelled := cancellation(job, "")) is not None:
            yield cancelled
    except JobNotCancellable:
        pass
    try:
        if (retry := retried(job, {job.id: hold})) is not None:
            yield retry
    except JobNotRetryable:
        pass


def jobs() -> Iterator[Job]:
    """Return a job in each combination of status and billing status that a change from outside of a run may meet."""
    for status in JobStatus:
        for billing in BillingStatus:
            if (status not in FINAL) == (billing in BEFORE_THE_END) or billing is BillingStatus.NOT_BILLABLE:
                yield stored_job(status=status, billing_status=billing)


def transitions() -> Iterator[tuple[Job, Job]]:
    """Each job before and after each change that a rule makes of it."""
    for billing in BEFORE_THE_END:
        job = running(billing_status=billing)
        yield from ((job, applied(job, change)) for change in outcomes(job))
    for job in jobs():
        yield from ((job, applied(job, change)) for change in by_hand(job))
        for settlement in (
            Charged(job.id, uuid7()),
            Declined(job.id, "INSUFFICIENT_FUNDS"),
            Declined(job.id, "WALLET_NOT_FOUND"),
            Released(job.id),
        ):
            if (change := settled(job.billing_status, settlement, NONE)) is not None:
                yield job, applied(job, change)
    waiting = stored_job(status=JobStatus.PENDING)
    claim = Claim(job_ids=[waiting.id], runner_id=uuid7(), lease_id=uuid7(), lease=MINUTE, bytes_max=1)
    yield waiting, started(waiting, claim, NOW)


def test_the_diagram_of_a_job_has_the_transitions_of_the_rules() -> None:
    made = {(before.status.value, after.status.value) for before, after in transitions()}
    assert {(one, other) for one, other in made if one != other} | STATUS_BESIDE_RULES == arrows("job")


def test_the_diagram_of_its_money_has_the_transitions_of_the_rules() -> None:
    made = {(before.billing_status.value, after.billing_status.value) for before, after in transitions()}
    born = {(BORN, billing_at_admission(cost).value) for cost in (0, 1)}
    assert {(one, other) for one, other in made if one != other} | born | BILLING_BESIDE_RULES == arrows("money")
