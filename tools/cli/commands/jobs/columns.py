"""The columns of jobs, the same in every command that prints jobs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tools.cli.names import NO_NAMES, Names, customer_names, job_type_names
from tools.cli.output import NOTHING, Column, Columns, Output, age, cell, field, since, to_json
from tools.cli.unit_prices import usage_of

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_pb2 import Job

# As wide as the start of an ID that is shown of most.
_START: Final = 13
_CANCELLED: Final = "CANCELLED"


async def job_columns(client: "Innosystem", jobs: "Sequence[Job]", output: Output, *, full: bool = False) -> Columns:
    """Return the columns of jobs, with the names of their types and customers, each by one call.

    Args:
        client: The platform.
        jobs: The jobs.
        output: The format: names that it does not have are not asked for.
        full: Whether to have the inputs and outputs as well.
    """
    names = NO_NAMES
    if jobs and output.format != "name":
        job_types = await job_type_names(client, {job.job_type_id for job in jobs})
        has_customers = output.for_people or output.format == "csv"
        customers = await customer_names(client, {job.customer_id for job in jobs}) if has_customers else {}
        names = Names(job_types, customers)
    return columns_of(names, full=full)


def columns_of(names: Names, *, full: bool = False) -> Columns:
    """Return the columns of jobs.

    Args:
        names: The names of their types and customers; where one is missing, the ID is shown.
        full: Whether to have the inputs and outputs as well.
    """
    columns = [
        field("id", usual=_START, short=True),
        Column(
            "type",
            lambda job, now: names.job_type(job.job_type_id),
            priority=1,
            cut=20,
            fields=("job_type", "job_type_id"),
        ),
        field("status", usual=9),
        field("billing_status", "billing", priority=7, usual=14),
        Column(
            "try",
            lambda job, now: f"{job.attempt}/{job.max_attempts}",
            priority=4,
            usual=5,
            fields=("attempt", "max_attempts"),
        ),
        age("created_at", priority=2),
        Column("starts", _starts, priority=9, fields=("run_at",)),
        Column("took", lambda job, now: duration(job), priority=8, usual=9, fields=("started_at", "completed_at")),
        Column(
            "cost",
            lambda job, now: cost(job),
            priority=6,
            usual=8,
            right=True,
            fields=("cost_cents", "estimated_cost_cents", "currency"),
        ),
        Column("usage", lambda job, now: usage_of(job), wide=True, right=True, fields=("usage_units",)),
        field("queue", priority=10, usual=12),
        field("priority", wide=True),
        Column("customer", lambda job, now: names.customer(job.customer_id), priority=5, cut=12),
        field("customer_id", wide=True),
        field("labels", wide=True),
        Column(
            "error",
            lambda job, now: error_of(job),
            priority=3,
            cut=12,
            fields=("error.type", "error.message"),
        ),
    ]
    if full:
        columns += [field("input_json", "input"), field("output_json", "output")]

    def document(job: "Job") -> dict[str, Any]:
        return {**to_json(job), "job_type": names.job_types.get(job.job_type_id, "")}

    return Columns(tuple(columns), document=document)


def error_of(job: "Job") -> str:
    """Return the type and the message of a job's error, or the reason of a cancellation."""
    if not job.HasField("error"):
        return NOTHING
    if job.error.type == _CANCELLED and job.error.message:
        # The status says that already.
        return job.error.message
    return ": ".join(part for part in (job.error.type, job.error.message) if part)


def progress_of(job: "Job") -> str:
    """Return how far the run of a job says it is; empty if it says nothing."""
    if not job.HasField("progress"):
        return ""
    return f"{job.progress.percent:.0f} % {job.progress.message}".strip()


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
