"""The set-based statements of the jobs table: each changes many jobs at once, whatever their number."""

from collections.abc import Collection, Sequence
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
    case,
    cast,
    func,
    null,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from services.jobs.completion import Completion, Ending, Settlement
from services.jobs.domain import BillingStatus, JobStatus, NewJob
from services.jobs.models import jobs
from services.jobs.repository import Claim
from services.kit.data.arrays import unnest

_PENDING = JobStatus.PENDING.value

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
# Columns that are written as text and become `jsonb` in the statement.
_JSON_TEXT = frozenset({"input_data"})


def inserted(new: Sequence[NewJob]) -> Insert:
    """Inserts jobs as handed to the queue; those whose ID exists are left out."""
    ordered = sorted(new, key=lambda job: job.id)
    rows = unnest(
        "new",
        {
            name: (kind, [getattr(job, name) for job in ordered])
            for name, kind in _INSERTED.items()
        },
    )
    values = [
        cast(rows.c[name], JSONB) if name in _JSON_TEXT else rows.c[name] for name in _INSERTED
    ]
    return (
        insert(jobs)
        .from_select([*_INSERTED, "dispatched_at"], select(*values, func.now()))
        .on_conflict_do_nothing(index_elements=[jobs.c.id])
    )


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


def completed(endings: Sequence[tuple[Completion, Ending]]) -> Update:
    """Ends the runs of RUNNING jobs. Attempt and time of a failure are the database's."""
    done = unnest(
        "done",
        {
            "id": (Uuid, [completion.job_id for completion, _ in endings]),
            "lease_id": (Uuid, [completion.lease_id for completion, _ in endings]),
            "digest": (LargeBinary, [completion.digest for completion, _ in endings]),
            "output": (Text, [completion.output_data for completion, _ in endings]),
            "output_bytes": (Integer, [completion.output_bytes for completion, _ in endings]),
            "error_type": (Text, [c.failure and c.failure.type for c, _ in endings]),
            "error_message": (Text, [c.failure and c.failure.message for c, _ in endings]),
            "retryable": (Boolean, [c.failure and c.failure.retryable for c, _ in endings]),
            "status": (Text, [ending.status.value for _, ending in endings]),
            "billing_status": (Text, [ending.billing_status.value for _, ending in endings]),
            "cost_cents": (BigInteger, [ending.cost_cents for _, ending in endings]),
        },
    )
    error = func.jsonb_build_object(
        *("type", done.c.error_type),
        *("message", done.c.error_message),
        *("retryable", done.c.retryable),
        *("attempt", jobs.c.attempt),
        *("at", func.now()),
    )
    return (
        update(jobs)
        .where(jobs.c.id == done.c.id, jobs.c.lease_id == done.c.lease_id)
        .values(
            status=done.c.status,
            billing_status=done.c.billing_status,
            output_data=cast(done.c.output, JSONB),
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


def settled(settlements: Sequence[tuple[Settlement, BillingStatus]]) -> Update:
    """Stores what became of charges."""
    rows = unnest(
        "settled",
        {
            "id": (Uuid, [settlement.job_id for settlement, _ in settlements]),
            "transaction_id": (Uuid, [settlement.transaction_id for settlement, _ in settlements]),
            "billing_status": (Text, [status.value for _, status in settlements]),
        },
    )
    return (
        update(jobs)
        .where(jobs.c.id == rows.c.id)
        .values(
            billing_status=rows.c.billing_status,
            transaction_id=rows.c.transaction_id,
            version=jobs.c.version + 1,
        )
    )


def withheld(job_ids: Collection[UUID]) -> Update:
    """Marks PENDING jobs as still to be handed to the queue."""
    return (
        update(jobs)
        .where(jobs.c.id == func.any(list(job_ids)), jobs.c.status == _PENDING)
        .values(dispatched_at=null())
    )


WAITING = (jobs.c.id, jobs.c.queue, jobs.c.priority, jobs.c.queued_at)
WAITING_ORDER = (jobs.c.queue, jobs.c.priority, jobs.c.queued_at, jobs.c.id)


def waiting_after(last: tuple[Any, ...] | None, limit: int) -> Any:
    """Reads PENDING jobs that were handed to the queue, in the order of the index `ix_jobs_live`."""
    statement = select(*WAITING).where(
        jobs.c.status == _PENDING, jobs.c.dispatched_at.is_not(None)
    )
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
    return (
        update(jobs)
        .where(jobs.c.id.in_(chosen))
        .values(dispatched_at=func.now())
        .returning(*WAITING)
    )


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
