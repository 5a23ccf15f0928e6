"""The columns of job types."""

from typing import TYPE_CHECKING, Final

from tools.cli.commands.job_types.external_api import show_external_api
from tools.cli.output import NOTHING, Column, Columns, age, field, pairs_of
from tools.cli.times import show_duration
from tools.cli.unit_prices import described

if TYPE_CHECKING:
    from datetime import datetime

    from innosystem.jobs.v1.job_type_pb2 import JobType


def _state(job_type: "JobType", now: "datetime | None") -> str:
    if not job_type.enabled:
        return "disabled"
    return "paused" if job_type.paused else "enabled"


def _timeout(job_type: "JobType", now: "datetime | None") -> str:
    return show_duration(job_type.timeout.ToTimedelta())


JOB_TYPES: Final = Columns(
    (
        field("name", usual=20),
        field("standard_cost_cents", "price", priority=1, usual=9, right=True),
        field("queue", priority=2, cut=12),
        Column("state", _state, priority=1, usual=8, fields=("enabled", "paused")),
        Column("timeout", _timeout, priority=4, right=True),
        field("max_attempts", "attempts", priority=5, right=True),
        field("default_priority", "priority", wide=True),
        field("processor_type", wide=True),
        field("processing_logic_id", "handler", priority=6, cut=16),
        age("updated_at", title="changed", priority=7),
        field("id", wide=True),
    ),
    name="name",
)


def job_type_pairs(job_type: "JobType") -> dict[str, str]:
    """Return the names and values of all fields, durations as they are typed."""
    policy = job_type.retry_policy
    waits = [show_duration(one.ToTimedelta()) for one in (policy.initial_backoff, policy.max_backoff)]
    metering = job_type.metering if job_type.HasField("metering") else None
    return pairs_of(job_type) | {
        "external api": show_external_api(job_type) or NOTHING,
        "metering": NOTHING if metering is None else described(metering, job_type.currency),
        "timeout": show_duration(job_type.timeout.ToTimedelta()),
        "expires after": show_duration(job_type.expires_after.ToTimedelta()),
        "retry policy": f"wait {waits[0]}, then {policy.multiplier:g} times as long each time, at most {waits[1]}",
    }
