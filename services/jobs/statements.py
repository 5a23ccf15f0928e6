"""The set-based statements of the jobs table: each changes many jobs at once, whatever their number."""

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Insert,
    Integer,
    LargeBinary,
    Text,
    Update,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    null,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from services.jobs.completion import Completion, Ending, Settlement
from services.jobs.domain import BillingStatus, Job, JobStatus, NewJob
from services.jobs.job_types import JobType
from services.jobs.models import job_types, jobs
from services.jobs.repository import Claim
from services.kit.data.arrays import any_of, unnest

Parameters = dict[str, Any]

_PENDING = JobStatus.PENDING.value

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
}


def _insert() -> Insert:
    rows = unnest("new", _INSERTED)
    values = [cast(rows.c[name], JSONB) if name in _JSON_TEXT else rows.c[name] for name in _INSERTED]
    return (
        insert(jobs)
        .from_select([*_INSERTED, "dispatched_at"], select(*values, func.now()))
        .on_conflict_do_nothing(index_elements=[jobs.c.id])
        .returning(*BARE)
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
            completed_at=func.now(),
            lease_id=null(),
            lease_expires_at=null(),
            completed_lease_id=done.c.lease_id,
            completion_digest=done.c.digest,
            version=jobs.c.version + 1,
        )
    )


def _settle() -> Update:
    settled = unnest("settled", {"job_id": Uuid, "transaction_id": Uuid, "billing_status": Text})
    return (
        update(jobs)
        .where(jobs.c.id == settled.c.job_id)
        .values(
            billing_status=settled.c.billing_status,
            transaction_id=settled.c.transaction_id,
            version=jobs.c.version + 1,
        )
    )


_PAYLOADS = frozenset({"input_data", "output_data"})
_FIELDS = tuple(field.name for field in fields(Job))

# All of a job, and a job without its payloads: those are stored out of line, and most work does not need them.
WHOLE = tuple(jobs.c[name] for name in _FIELDS)
BARE = tuple(null().label(name) if name in _PAYLOADS else jobs.c[name] for name in _FIELDS)

GET_WHOLE = select(*WHOLE).where(jobs.c.id == bindparam("entity_id"))
GET_MANY_WHOLE = select(*WHOLE).where(jobs.c.id == any_of("ids", Uuid))
PAYLOADS = select(jobs.c.id, jobs.c.input_data, jobs.c.output_data).where(jobs.c.id == any_of("ids", Uuid))
RESOLVE = select(*(job_types.c[field.name] for field in fields(JobType))).where(
    or_(job_types.c.id == any_of("ids", Uuid), job_types.c.name == any_of("names", Text))
)
# In the order of the IDs, so that two batches can't wait for each other.
LOCK_MANY = select(*BARE).where(jobs.c.id == any_of("ids", Uuid)).order_by(jobs.c.id).with_for_update()
# Inserts jobs as handed to the queue, leaves out those whose ID exists, and answers the others.
INSERT = _insert()
# Ends the runs of RUNNING jobs.
COMPLETE = _complete()
# Stores what became of charges.
SETTLE = _settle()


def insert_parameters(new: Sequence[NewJob]) -> Parameters:
    """The parameters of `INSERT`."""
    ordered = sorted(new, key=lambda job: job.id)
    return {name: [getattr(job, name) for job in ordered] for name in _INSERTED}


def complete_parameters(endings: Sequence[tuple[Completion, Ending]]) -> Parameters:
    """The parameters of `COMPLETE`."""
    rows = [(one, one.failure, end) for one, end in endings]
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
    }


def settle_parameters(settlements: Sequence[tuple[Settlement, BillingStatus]]) -> Parameters:
    """The parameters of `SETTLE`."""
    return {
        "job_id": [settlement.job_id for settlement, _ in settlements],
        "transaction_id": [settlement.transaction_id for settlement, _ in settlements],
        "billing_status": [status.value for _, status in settlements],
    }


def claimed(claim: Claim, job_ids: Collection[UUID]) -> Update:
    """Makes PENDING jobs RUNNING under the claim's lease."""
    return (
        update(jobs)
        .where(jobs.c.id == func.any(list(job_ids)), jobs.c.status == _PENDING)
        .values(
            status=JobStatus.RUNNING.value,
            started_at=func.now(),
            attempt=jobs.c.attempt + 1,
            runner_id=claim.runner_id,
            lease_id=claim.lease_id,
            lease_expires_at=func.now() + claim.lease,
            version=jobs.c.version + 1,
        )
    )


def withheld(job_ids: Collection[UUID]) -> Update:
    """Marks PENDING jobs as still to be handed to the queue."""
    return (
        update(jobs).where(jobs.c.id == func.any(list(job_ids)), jobs.c.status == _PENDING).values(dispatched_at=null())
    )


WAITING = (jobs.c.id, jobs.c.queue, jobs.c.priority, jobs.c.queued_at)
WAITING_ORDER = (jobs.c.queue, jobs.c.priority, jobs.c.queued_at, jobs.c.id)


def waiting_after(last: tuple[Any, ...] | None, limit: int) -> Any:
    """Reads PENDING jobs that were handed to the queue, in the order of the index `ix_jobs_live`."""
    statement = select(*WAITING).where(jobs.c.status == _PENDING, jobs.c.dispatched_at.is_not(None))
    if last is not None:
        statement = statement.where(tuple_(*WAITING_ORDER) > tuple_(*last))
    return statement.order_by(*WAITING_ORDER).limit(limit)


def dispatched(limit: int) -> Update:
    """Marks PENDING jobs that are still to be handed to the queue as handed over, highest priority first."""
    chosen = (
        select(jobs.c.id)
        .where(jobs.c.status == _PENDING, jobs.c.dispatched_at.is_(None))
        .order_by(jobs.c.priority, jobs.c.queued_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return update(jobs).where(jobs.c.id.in_(chosen)).values(dispatched_at=func.now()).returning(*WAITING)


STATS_WINDOW_SECONDS = 60

# Each part is answered by an index of its own; history is never read.
STATS = text(
    """
    SELECT queue, priority, sum(waiting)::bigint AS waiting, sum(withheld)::bigint AS withheld,
           sum(running)::bigint AS running, now() - min(oldest) AS oldest_age,
           sum(submitted)::bigint AS submitted, sum(completed)::bigint AS completed
    FROM (
        SELECT queue, priority, count(*) FILTER (WHERE status = 'PENDING') AS waiting, 0 AS withheld,
               count(*) FILTER (WHERE status = 'RUNNING') AS running,
               min(queued_at) FILTER (WHERE status = 'PENDING') AS oldest, 0 AS submitted, 0 AS completed
        FROM jobs WHERE status IN ('PENDING', 'RUNNING') GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, 0, count(*), 0, NULL, 0, 0
        FROM jobs WHERE status = 'PENDING' AND dispatched_at IS NULL GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, 0, 0, 0, NULL, count(*), 0
        FROM jobs WHERE created_at > now() - make_interval(secs => :window) GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, 0, 0, 0, NULL, 0, count(*)
        FROM jobs WHERE completed_at > now() - make_interval(secs => :window) GROUP BY queue, priority
    ) AS parts
    WHERE cardinality(CAST(:queues AS text[])) = 0 OR queue = ANY(CAST(:queues AS text[]))
    GROUP BY queue, priority
    """
)
