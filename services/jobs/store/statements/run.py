"""The set-based statements of the jobs table: each changes many jobs at once, whatever their number."""

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Insert,
    Integer,
    Interval,
    LargeBinary,
    Select,
    Text,
    Update,
    Uuid,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    null,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from services.jobs.rules.completion import Completion, Ending, Settlement
from services.jobs.rules.control import Removal, Retry
from services.jobs.rules.entities import BillingStatus, Job, JobStatus, NewJob
from services.jobs.rules.job_types import JobType
from services.jobs.rules.leasing import Claim
from services.jobs.rules.rescue import Rescue
from services.jobs.store.tables import job_types, jobs, lost_runs, queues, receipts
from services.kit.data.array_parameters import any_of, unnest
from services.kit.data.engine.prepared import Prepared

Parameters = dict[str, Any]

_PENDING = JobStatus.PENDING.value
_CHARGE_DUE = BillingStatus.CHARGE_DUE.value
_DECLINED = BillingStatus.DECLINED.value
_RELEASE_DUE = BillingStatus.RELEASE_DUE.value
_SETTLE_AFTER = bindparam("settle_after", type_=Interval)
_LEASE = bindparam("lease", type_=Interval)


def _waiting_again(wait: ColumnElement[Any]) -> dict[str, Any]:
    """A run that does not count: the job waits again where it was, handed over, as if it had not been claimed.

    Args:
        wait: After which time; null for at once.
    """
    at_once = wait.is_(None)
    return {
        "status": case((at_once, _PENDING), else_=JobStatus.SCHEDULED.value),
        "attempt": jobs.c.attempt - 1,
        "dispatched_at": case((at_once, func.now())),
        "run_at": func.coalesce(func.now() + wait, jobs.c.run_at),
        "lease_id": null(),
        "lease_expires_at": null(),
        "version": jobs.c.version + 1,
    }


# Columns that are handed over as text and become `jsonb` in the statement.
_JSON_TEXT = frozenset({"input_data"})

_INSERTED: dict[str, Any] = {
    "id": Uuid,
    "customer_id": Uuid,
    "job_type_id": Uuid,
    "status": Text,
    "billing_status": Text,
    "priority": Integer,
    "queue": Text,
    "input_data": Text,
    "input_bytes": Integer,
    "estimated_cost_cents": BigInteger,
    "currency": Text,
    "max_attempts": Integer,
    "labels": JSONB,
    "run_at": DateTime(timezone=True),
    "expires_at": DateTime(timezone=True),
    "request_id": Text,
    "request_digest": LargeBinary,
    "hold_id": Uuid,
    "hold_generation": Integer,
}


def _insert() -> Insert:
    rows = unnest("new", {**_INSERTED, "handed_over": Boolean})
    values = [cast(rows.c[name], JSONB) if name in _JSON_TEXT else rows.c[name] for name in _INSERTED]
    handed_over_at = case((rows.c.handed_over, func.now()))
    # A job that was charged and deleted would be run again, and its second charge be a replay of the first.
    is_new = ~exists().where(receipts.c.job_id == rows.c.id)
    return (
        insert(jobs)
        .from_select([*_INSERTED, "dispatched_at"], select(*values, handed_over_at).where(is_new))
        .on_conflict_do_nothing(index_elements=[jobs.c.id])
        .returning(jobs.c.id, jobs.c.created_at, jobs.c.queued_at, jobs.c.dispatched_at)
    )


def _complete() -> Update:
    done = unnest(
        "done",
        {
            "job_id": Uuid,
            "lease_id": Uuid,
            "digest": LargeBinary,
            "output_data": Text,
            "output_bytes": Integer,
            "error_type": Text,
            "error_message": Text,
            "retryable": Boolean,
            "status": Text,
            "billing_status": Text,
            "cost_cents": BigInteger,
            "attempt": Integer,
            "snooze_count": Integer,
            "deaths": Integer,
            "run_after": Interval,
        },
    )
    # Attempt and time of a failure are the database's.
    error = func.jsonb_build_object(
        *("type", done.c.error_type),
        *("message", done.c.error_message),
        *("retryable", done.c.retryable),
        *("attempt", jobs.c.attempt),
        *("at", func.now()),
    )
    return (
        update(jobs)
        .where(jobs.c.id == done.c.job_id, jobs.c.lease_id == done.c.lease_id)
        .values(
            status=done.c.status,
            billing_status=done.c.billing_status,
            output_data=cast(done.c.output_data, JSONB),
            output_bytes=done.c.output_bytes,
            error=case((done.c.error_type.is_not(None), error), else_=jobs.c.error),
            cost_cents=done.c.cost_cents,
            attempt=done.c.attempt,
            snooze_count=done.c.snooze_count,
            deaths=done.c.deaths,
            run_at=func.coalesce(func.now() + done.c.run_after, jobs.c.run_at),
            completed_at=case((done.c.run_after.is_(None), func.now())),
            dispatched_at=null(),
            lease_id=null(),
            lease_expires_at=null(),
            completed_lease_id=done.c.lease_id,
            completion_digest=done.c.digest,
            next_try_at=case(
                (done.c.billing_status == _CHARGE_DUE, func.now() + _SETTLE_AFTER),
                # Nobody but the settler does that.
                (done.c.billing_status == _RELEASE_DUE, func.now()),
            ),
            version=jobs.c.version + 1,
        )
    )


def _return() -> Update:
    returned = unnest("returned", {"job_id": Uuid, "lease_id": Uuid, "digest": LargeBinary, "wait": Interval})
    return (
        update(jobs)
        .where(jobs.c.id == returned.c.job_id, jobs.c.lease_id == returned.c.lease_id)
        .values(
            **_waiting_again(returned.c.wait),
            completed_lease_id=returned.c.lease_id,
            completion_digest=returned.c.digest,
        )
        .returning(*WAITING, jobs.c.status)
    )


def _remove() -> Update:
    removed = unnest(
        "removed",
        {"job_id": Uuid, "status": Text, "billing_status": Text, "error_type": Text, "error_message": Text},
    )
    error = func.jsonb_build_object(
        *("type", removed.c.error_type),
        *("message", removed.c.error_message),
        *("retryable", false()),
        *("attempt", jobs.c.attempt),
        *("at", func.now()),
    )
    return (
        update(jobs)
        .where(jobs.c.id == removed.c.job_id)
        .values(
            status=removed.c.status,
            billing_status=removed.c.billing_status,
            error=error,
            next_try_at=case((removed.c.billing_status == _RELEASE_DUE, func.now())),
            completed_at=func.now(),
            dispatched_at=null(),
            lease_id=null(),
            lease_expires_at=null(),
            version=jobs.c.version + 1,
        )
    )


def _retry() -> Update:
    retried = unnest("retried", {"job_id": Uuid, "billing_status": Text, "hold_id": Uuid, "hold_generation": Integer})
    return (
        update(jobs)
        .where(jobs.c.id == retried.c.job_id)
        .values(
            status=_PENDING,
            billing_status=retried.c.billing_status,
            hold_id=func.coalesce(retried.c.hold_id, jobs.c.hold_id),
            hold_generation=func.coalesce(retried.c.hold_generation, jobs.c.hold_generation),
            settle_attempts=0,
            retry_count=jobs.c.retry_count + 1,
            attempt=0,
            rescue_count=0,
            deaths=0,
            early_losses=0,
            snooze_count=0,
            run_at=null(),
            queued_at=func.now(),
            dispatched_at=null(),
            started_at=null(),
            completed_at=null(),
            # It may wait as long as a new job of its type.
            expires_at=func.now()
            + select(job_types.c.expires_after).where(job_types.c.id == jobs.c.job_type_id).scalar_subquery(),
            completed_lease_id=null(),
            completion_digest=null(),
            version=jobs.c.version + 1,
        )
    )


def _locked(found: Select[Any], *, wait: bool) -> Prepared:
    """In the order of the IDs, so that two batches can't wait for each other."""
    return Prepared(found.order_by(jobs.c.id).with_for_update(of=jobs, skip_locked=not wait))


def _leased() -> Select[Any]:
    # By the key alone: a condition on status or lease could be looked for in the index of the live jobs, and all of
    # them would be read for each ID. Which of the jobs run under which lease is compared where that takes no plan.
    wanted = unnest("wanted", {"job_id": Uuid})
    return (
        select(jobs.c.id, jobs.c.status, jobs.c.lease_id, (func.now() + _LEASE).label("until"))
        .join(wanted, jobs.c.id == wanted.c.job_id)
        .order_by(jobs.c.id)
        .with_for_update(of=jobs, skip_locked=True)
    )


def _renew() -> Update:
    kept = unnest("kept", {"job_id": Uuid})
    return update(jobs).where(jobs.c.id == kept.c.job_id).values(lease_expires_at=func.now() + _LEASE)


def _rescue() -> Update:
    rescued = unnest("rescued", {"job_id": Uuid, "deaths": Integer, "early_losses": Integer, "wait": Interval})
    return (
        update(jobs)
        .where(jobs.c.id == rescued.c.job_id, jobs.c.status == JobStatus.RUNNING.value)
        .values(
            **{
                **_waiting_again(rescued.c.wait),
                "rescue_count": jobs.c.rescue_count + 1,
                "deaths": rescued.c.deaths,
                "early_losses": rescued.c.early_losses,
            }
        )
        .returning(*WAITING, jobs.c.status)
    )


def _withhold() -> Update:
    # Whoever has locked one of them is about to change it; what is left handed over is found by the reconciler.
    waiting = (
        select(jobs.c.id)
        .where(jobs.c.id == any_of("ids", Uuid), jobs.c.status == _PENDING)
        .order_by(jobs.c.id)
        .with_for_update(skip_locked=True)
        .cte("waiting")
    )
    return update(jobs).where(jobs.c.id == waiting.c.id).values(dispatched_at=null())


def _settle() -> Update:
    settled = unnest("settled", {"job_id": Uuid, "transaction_id": Uuid, "billing_status": Text})
    return (
        update(jobs)
        .where(jobs.c.id == settled.c.job_id)
        .values(
            billing_status=settled.c.billing_status,
            transaction_id=settled.c.transaction_id,
            # The settler has put its own next try off already; a runner's refusal is tried again first after a while.
            next_try_at=case(
                (settled.c.billing_status == _DECLINED, func.greatest(jobs.c.next_try_at, func.now() + _SETTLE_AFTER))
            ),
            version=jobs.c.version + 1,
        )
    )


_PAYLOADS = frozenset({"input_data", "output_data"})
_FIELDS = tuple(field.name for field in fields(Job))

# All of a job, and a job without its payloads: those are stored out of line, and most work does not need them.
WHOLE = tuple(jobs.c[name] for name in _FIELDS)
BARE = tuple(null().label(name) if name in _PAYLOADS else jobs.c[name] for name in _FIELDS)

GET_WHOLE = select(*WHOLE).where(jobs.c.id == bindparam("entity_id"))
GET_MANY_WHOLE = Prepared(select(*WHOLE).where(jobs.c.id == any_of("ids", Uuid)))
PAYLOADS = Prepared(select(jobs.c.id, jobs.c.input_data, jobs.c.output_data).where(jobs.c.id == any_of("ids", Uuid)))
RESOLVE = Prepared(
    select(*(job_types.c[field.name] for field in fields(JobType))).where(
        or_(job_types.c.id == any_of("ids", Uuid), job_types.c.name == any_of("names", Text))
    )
)
WAITING = (jobs.c.id, jobs.c.queue, jobs.c.priority, jobs.c.queued_at)
_bare = select(*BARE).where(jobs.c.id == any_of("ids", Uuid))
_billing = select(jobs.c.id, jobs.c.billing_status).where(jobs.c.id == any_of("ids", Uuid))
# The same for a claim, which has to know the time, what is paused, and whether the job types are as they were.
_for_claim = (
    select(
        *BARE,
        func.now().label("now"),
        or_(exists().where(queues.c.name == jobs.c.queue, queues.c.paused), job_types.c.paused).label("paused"),
        job_types.c.version.label("type_version"),
    )
    .join(job_types, job_types.c.id == jobs.c.job_type_id)
    .where(jobs.c.id == any_of("ids", Uuid))
)
# Waiting for each row, or passing by those that others have locked.
LOCK_MANY = {wait: _locked(_bare, wait=wait) for wait in (True, False)}
LOCK_BILLING = {wait: _locked(_billing, wait=wait) for wait in (True, False)}
LOCK_FOR_CLAIM = {wait: _locked(_for_claim, wait=wait) for wait in (True, False)}
# Jobs as renewals need them; those that others have locked are left out.
LOCK_LEASED = Prepared(_leased(), fresh=True)
GET_MANY_BARE = Prepared(select(*BARE).where(jobs.c.id == any_of("ids", Uuid)))
VERSIONS = Prepared(select(jobs.c.id, jobs.c.version).where(jobs.c.id == any_of("ids", Uuid)))
# Inserts jobs as handed to the queue, leaves out those whose ID exists or has a receipt, and returns of the others what
# is not known.
INSERT = Prepared(_insert())
# Finds the job types that a new job can refer to without waiting for anybody.
FREE_TYPES = Prepared(
    select(job_types.c.id)
    .where(job_types.c.id == any_of("ids", Uuid))
    .with_for_update(read=True, key_share=True, skip_locked=True)
)
# Ends the runs of RUNNING jobs.
COMPLETE = Prepared(_complete())
# Stores what became of charges.
SETTLE = Prepared(_settle())
RENEW = Prepared(_renew(), fresh=True)
RETURN = Prepared(_return())
# Makes PENDING jobs RUNNING under a lease, and answers what locking them has not told.
CLAIM = Prepared(
    update(jobs)
    .where(jobs.c.id == any_of("ids", Uuid), jobs.c.status == _PENDING)
    .values(
        status=JobStatus.RUNNING.value,
        started_at=func.now(),
        attempt=jobs.c.attempt + 1,
        runner_id=bindparam("runner", type_=Uuid),
        lease_id=bindparam("lease", type_=Uuid),
        lease_expires_at=func.now() + bindparam("duration", type_=Interval),
        version=jobs.c.version + 1,
    )
    .returning(jobs.c.id, jobs.c.input_data, jobs.c.started_at, jobs.c.lease_expires_at)
)
# Marks PENDING jobs as still to be handed to the queue.
WITHHOLD = Prepared(_withhold())
REMOVE = Prepared(_remove())
RETRY = Prepared(_retry())
# Makes RUNNING jobs whose runner is lost wait again: in the queue, or until their time comes.
RESCUE = Prepared(_rescue())
# How many jobs that were just begun a runner had: those that still seem to run, and those taken from it before.
BEGUN = Prepared(
    union_all(
        select(jobs.c.runner_id, func.count().label("jobs"))
        .where(
            jobs.c.status == JobStatus.RUNNING.value,
            jobs.c.runner_id == any_of("runner_ids", Uuid),
            jobs.c.lease_expires_at - jobs.c.started_at < bindparam("short", type_=Interval),
        )
        .group_by(jobs.c.runner_id),
        select(lost_runs.c.runner_id, func.sum(lost_runs.c.jobs))
        .where(lost_runs.c.runner_id == any_of("runner_ids", Uuid))
        .group_by(lost_runs.c.runner_id),
    )
)


def insert_parameters(new: Sequence[NewJob], withheld: Collection[UUID]) -> Parameters:
    """The parameters of `INSERT`."""
    ordered = sorted(new, key=attrgetter("id.int"))
    return {
        **{name: list(map(attrgetter(name), ordered)) for name in _INSERTED},
        "handed_over": [job.status is JobStatus.PENDING and job.id not in withheld for job in ordered],
    }


def complete_parameters(endings: Sequence[tuple[Completion, Ending]], settle_after: timedelta) -> Parameters:
    """The parameters of `COMPLETE`."""
    rows = [(one, end.failure, end) for one, end in endings]
    return {
        "job_id": [one.job_id for one, _, _ in rows],
        "lease_id": [one.lease_id for one, _, _ in rows],
        "digest": [one.digest for one, _, _ in rows],
        "output_data": [one.output_data for one, _, _ in rows],
        "output_bytes": [one.output_bytes for one, _, _ in rows],
        "error_type": [failure and failure.type for _, failure, _ in rows],
        "error_message": [failure and failure.message for _, failure, _ in rows],
        "retryable": [failure and failure.retryable for _, failure, _ in rows],
        "status": [end.status.value for _, _, end in rows],
        "billing_status": [end.billing_status.value for _, _, end in rows],
        "cost_cents": [end.cost_cents for _, _, end in rows],
        "attempt": [end.attempt for _, _, end in rows],
        "snooze_count": [end.snooze_count for _, _, end in rows],
        "deaths": [end.deaths for _, _, end in rows],
        "run_after": [end.run_after for _, _, end in rows],
        "settle_after": settle_after,
    }


def remove_parameters(removals: Sequence[Removal]) -> Parameters:
    """The parameters of `REMOVE`."""
    return {
        "job_id": [one.job_id for one in removals],
        "status": [one.status.value for one in removals],
        "billing_status": [one.billing_status.value for one in removals],
        "error_type": [one.error_type for one in removals],
        "error_message": [one.error_message for one in removals],
    }


def retry_parameters(retries: Sequence[Retry]) -> Parameters:
    """The parameters of `RETRY`."""
    return {
        "job_id": [one.job_id for one in retries],
        "billing_status": [one.billing_status.value for one in retries],
        "hold_id": [one.hold and one.hold.hold_id for one in retries],
        "hold_generation": [one.hold and one.hold.generation for one in retries],
    }


def rescue_parameters(rescues: Sequence[Rescue]) -> Parameters:
    """The parameters of `RESCUE`."""
    return {
        "job_id": [one.job_id for one in rescues],
        "deaths": [one.deaths for one in rescues],
        "early_losses": [one.early_losses for one in rescues],
        "wait": [one.wait for one in rescues],
    }


def settle_parameters(settlements: Sequence[tuple[Settlement, BillingStatus]], settle_after: timedelta) -> Parameters:
    """The parameters of `SETTLE`."""
    return {
        "settle_after": settle_after,
        "job_id": [settlement.job_id for settlement, _ in settlements],
        "transaction_id": [settlement.transaction_id for settlement, _ in settlements],
        "billing_status": [status.value for _, status in settlements],
    }


def claim_parameters(claim: Claim, job_ids: Collection[UUID]) -> Parameters:
    """The parameters of `CLAIM`."""
    return {"ids": job_ids, "runner": claim.runner_id, "lease": claim.lease_id, "duration": claim.lease}


STATS_WINDOW_SECONDS = 60

# Each part is answered by an index of its own; history is never read.
STATS = text(
    """
    SELECT queue, priority, sum(waiting)::bigint AS waiting, sum(withheld)::bigint AS withheld,
           sum(running)::bigint AS running, now() - min(oldest) AS oldest_age,
           sum(submitted)::bigint AS submitted, sum(completed)::bigint AS completed,
           queue IN (SELECT name FROM queues WHERE paused) AS paused
    FROM (
        SELECT queue, priority, count(*) FILTER (WHERE status = 'PENDING') AS waiting, 0 AS withheld,
               count(*) FILTER (WHERE status = 'RUNNING') AS running,
               min(queued_at) FILTER (WHERE status = 'PENDING') AS oldest, 0 AS submitted, 0 AS completed
        FROM jobs WHERE status = 'RUNNING' OR (status = 'PENDING' AND dispatched_at IS NOT NULL)
        GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, count(*), count(*), 0, min(queued_at), 0, 0
        FROM jobs WHERE status = 'PENDING' AND dispatched_at IS NULL GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, 0, 0, 0, NULL, count(*), 0
        FROM jobs WHERE created_at > now() - make_interval(secs => :window) GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, 0, 0, 0, NULL, 0, count(*)
        FROM jobs WHERE completed_at > now() - make_interval(secs => :window) GROUP BY queue, priority
        UNION ALL
        SELECT name, priority, 0, 0, 0, NULL, 0, 0
        FROM queues, generate_series(0, 2) AS priority WHERE paused
    ) AS parts
    WHERE cardinality(CAST(:queues AS text[])) = 0 OR queue = ANY(CAST(:queues AS text[]))
    GROUP BY queue, priority
    """
)
