"""The columns of jobs, the same in every command that prints jobs."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tools.cli.names import Names
from tools.cli.output import NOTHING, Column, Columns, age, cell, field, since

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_pb2 import Job


def job_columns(names: Names, *, full: bool = False) -> Columns:
    """Return the columns of jobs.

    Args:
        names: The names of their types and customers; where one is missing, the ID is shown.
        full: Whether to have the inputs and outputs as well.
    """
    columns = [
        field("id"),
        Column("type", lambda job, now: names.job_types.get(job.job_type_id, job.job_type_id), priority=1, cut=10),
        field("status"),
        field("billing_status", "billing", priority=5),
        Column("try", lambda job, now: f"{job.attempt}/{job.max_attempts}", priority=4),
        age("created_at", priority=2),
        Column("starts", _starts, priority=7),
        Column("took", lambda job, now: duration(job), priority=8),
        Column("cost", lambda job, now: cost(job), priority=9, right=True),
        field("queue", priority=10),
        field("priority", wide=True),
        Column("customer", lambda job, now: names.customers.get(job.customer_id, job.customer_id), priority=6),
        field("customer_id", wide=True),
        field("labels", wide=True),
        Column("error", lambda job, now: error(job), priority=3, cut=12),
    ]
    if full:
        columns += [field("input_json", "input"), field("output_json", "output")]
    return Columns(tuple(columns))


def error(job: "Job") -> str:
    """Return the type and the message of a job's error."""
    if not job.HasField("error"):
        return NOTHING
    return ": ".join(part for part in (job.error.type, job.error.message) if part)


def duration(job: "Job") -> str:
    """Return how long the present or last run of a job took, until now if it runs."""
    from innosystem.jobs.v1.job_pb2 import JOB_STATUS_RUNNING

    if not job.HasField("started_at"):
        return NOTHING
    started = job.started_at.ToDatetime(UTC)
    if job.HasField("completed_at"):
        return since(started, job.completed_at.ToDatetime(UTC))
    return since(started, datetime.now(UTC)) if job.status == JOB_STATUS_RUNNING else NOTHING


def cost(job: "Job") -> str:
    """Return what a job costs, or the price that is reserved for it."""
    return cell(job, "cost_cents" if job.HasField("cost_cents") else "estimated_cost_cents")


def _starts(job: "Job", now: datetime | None) -> str:
    from innosystem.jobs.v1.job_pb2 import JOB_STATUS_SCHEDULED

    return cell(job, "run_at", now) if job.status == JOB_STATUS_SCHEDULED else NOTHING
