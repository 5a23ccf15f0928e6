"""The statements that read, lock and claim jobs."""

from collections.abc import Collection
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    CompoundSelect,
    Interval,
    Select,
    Text,
    Update,
    Uuid,
    bindparam,
    exists,
    func,
    null,
    or_,
    select,
    union_all,
    update,
)

from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.transitions.leasing import Claim
from services.jobs.store.statements.progress import PROGRESS, WITH_PROGRESS
from services.jobs.store.tables import job_types, jobs, lost_runs, queues, receipts
from services.kit.data.array_parameters import any_of, unnest
from services.kit.data.engine.prepared import Prepared

_PENDING = JobStatus.PENDING.value
_LEASE = bindparam("lease", type_=Interval)


def _locked(found: Select[Any], *, wait: bool) -> Prepared:
    """Lock rows in the order of their IDs, so that two batches cannot wait for each other."""
    return Prepared(found.order_by(jobs.c.id).with_for_update(of=jobs, skip_locked=not wait))


def _leased() -> Select[Any]:
    # By the key alone: with a condition on status or lease the planner might choose the index of live jobs, and
    # read all of them for each ID. Status and lease are compared in Python.
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


def _withhold() -> Update:
    # A locked job is about to be changed; the reconciler finds those that stay dispatched.
    waiting = (
        select(jobs.c.id)
        .where(jobs.c.id == any_of("ids", Uuid), jobs.c.status == _PENDING)
        .order_by(jobs.c.id)
        .with_for_update(skip_locked=True)
        .cte("waiting")
    )
    return update(jobs).where(jobs.c.id == waiting.c.id).values(dispatched_at=null())


def _own() -> CompoundSelect[Any]:
    # First by the key alone: the planner might else read all jobs of the customers.
    named = (
        select(jobs.c.id, jobs.c.customer_id, jobs.c.queue)
        .where(jobs.c.id == any_of("ids", Uuid))
        .cte("named")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    all_customers, all_queues = bindparam("all_customers", type_=Boolean), bindparam("all_queues", type_=Boolean)
    return union_all(
        select(named.c.id).where(
            or_(all_customers, named.c.customer_id == any_of("customer_ids", Uuid)),
            or_(all_queues, named.c.queue == any_of("queues", Text)),
        ),
        # Of a deleted job the queue is no longer known.
        select(receipts.c.job_id).where(
            all_queues,
            receipts.c.job_id == any_of("ids", Uuid),
            receipts.c.customer_id == any_of("customer_ids", Uuid),
        ),
    )


_FIELDS = tuple(field.name for field in fields(Job))


def _columns(*, without: Collection[str]) -> tuple[ColumnElement[Any], ...]:
    """Return the columns of a job, null in place of those that are not read."""
    stored = {**dict(jobs.c), "progress": PROGRESS}
    return tuple(null().label(name) if name in without else stored[name] for name in _FIELDS)


# A job with and without its payloads, which are stored out of line and rarely needed.
WHOLE = _columns(without={"progress"})
BARE = _columns(without={"progress", "input_data", "output_data"})
# The same with its progress, for those who look at it.
_shown = select(*_columns(without={"input_data", "output_data"})).select_from(WITH_PROGRESS)

GET_WHOLE = select(*_columns(without=())).select_from(WITH_PROGRESS).where(jobs.c.id == bindparam("entity_id"))
GET_BARE = _shown.where(jobs.c.id == bindparam("entity_id"))
GET_MANY_SHOWN = Prepared(_shown.where(jobs.c.id == any_of("ids", Uuid)))
GET_MANY_WHOLE = Prepared(select(*WHOLE).where(jobs.c.id == any_of("ids", Uuid)))
PAYLOADS = Prepared(select(jobs.c.id, jobs.c.input_data, jobs.c.output_data).where(jobs.c.id == any_of("ids", Uuid)))
_bare = select(*BARE).where(jobs.c.id == any_of("ids", Uuid))
_billing = select(jobs.c.id, jobs.c.billing_status, jobs.c.cost_cents).where(jobs.c.id == any_of("ids", Uuid))
# The same for a claim, with the time, pauses, and the versions of the job types.
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
# Waiting for locked rows, or skipping them.
LOCK_MANY = {wait: _locked(_bare, wait=wait) for wait in (True, False)}
LOCK_BILLING = {wait: _locked(_billing, wait=wait) for wait in (True, False)}
LOCK_FOR_CLAIM = {wait: _locked(_for_claim, wait=wait) for wait in (True, False)}
# The columns that renewals need; locked rows are skipped.
LOCK_LEASED = Prepared(_leased(), fresh=True)
# Those of some IDs that are of jobs of tenants.
OWN = Prepared(_own())
GET_MANY_BARE = Prepared(select(*BARE).where(jobs.c.id == any_of("ids", Uuid)))
VERSIONS = Prepared(select(jobs.c.id, jobs.c.version).where(jobs.c.id == any_of("ids", Uuid)))
RENEW = Prepared(_renew(), fresh=True)
# Make PENDING jobs RUNNING under a lease; return the columns that were not read before.
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
        # Replicas of an earlier release leave it where they rescue a job.
        callback_expires_at=None,
        version=jobs.c.version + 1,
    )
    .returning(jobs.c.id, jobs.c.input_data, jobs.c.started_at)
)
# Mark PENDING jobs as withheld from the queue.
WITHHOLD = Prepared(_withhold())
# How many jobs that had just begun a runner had: those that still seem to run, and those rescued from it before.
BEGUN = Prepared(
    union_all(
        select(jobs.c.runner_id, func.count().label("jobs"))
        .where(
            jobs.c.status == JobStatus.RUNNING.value,
            jobs.c.callback_expires_at.is_(None),
            jobs.c.runner_id == any_of("runner_ids", Uuid),
            jobs.c.lease_expires_at - jobs.c.started_at < bindparam("short", type_=Interval),
        )
        .group_by(jobs.c.runner_id),
        select(lost_runs.c.runner_id, func.sum(lost_runs.c.jobs))
        .where(lost_runs.c.runner_id == any_of("runner_ids", Uuid))
        .group_by(lost_runs.c.runner_id),
    )
)


def claim_parameters(claim: Claim, job_ids: Collection[UUID]) -> dict[str, Any]:
    """Return the parameters of `CLAIM`."""
    return {"ids": job_ids, "runner": claim.runner_id, "lease": claim.lease_id, "duration": claim.lease}
