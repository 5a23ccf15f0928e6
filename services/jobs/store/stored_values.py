"""The values of stored jobs. A value that this release does not understand is an error of its row alone."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from services.jobs.rules.entities import Billing, BillingStatus, JobError, ListKey, Progress
from services.jobs.rules.job_types import Priority
from services.kit.data.corrupt import noted
from services.kit.errors import DataCorrupt

_BILLING_STATUSES = {status.value: status for status in BillingStatus}
_PRIORITIES = {priority.value: priority for priority in Priority}
_ERROR_FIELDS = tuple(field.name for field in fields(JobError))


def error(row: Mapping[Any, Any]) -> JobError | None:
    """Return the error of a row.

    Raises:
        DataCorrupt: If it is not understood.
    """
    stored = row["error"]
    if stored is None:
        return None
    try:
        # A later release may write more fields.
        known = {name: stored[name] for name in _ERROR_FIELDS}
        at = datetime.fromisoformat(known["at"])
    except (KeyError, TypeError, ValueError) as problem:
        raise corrupt(row["id"], "error", f"{type(problem).__name__}: {problem}") from problem
    if (type(known["type"]), type(known["message"]), type(known["attempt"])) != (str, str, int):
        raise corrupt(row["id"], "error", "a field of another type")
    return JobError(**{**known, "at": at})


def progress(row: Mapping[Any, Any]) -> Progress | None:
    """Return the progress of a row, which the statement has put together."""
    if row["progress"] is None:
        return None
    percent, message, at, sequence = row["progress"]
    return Progress(float(percent), message, datetime.fromisoformat(at), sequence)


def labels(row: Mapping[Any, Any]) -> Mapping[str, str]:
    """Return the labels of a row.

    Raises:
        DataCorrupt: If they are not understood.
    """
    stored = row["labels"]
    if not isinstance(stored, dict) or not all(isinstance(value, str) for value in stored.values()):
        raise corrupt(row["id"], "labels", "not a map of strings")
    return stored


def billing(job_id: UUID, status: str, cost_cents: int | None) -> Billing | DataCorrupt:
    """Return a billing status and the cost, or log and return the error of their row."""
    known = _BILLING_STATUSES.get(status)
    return noted(corrupt(job_id, "billing_status", status)) if known is None else Billing(known, cost_cents)


def list_key(queue: str, priority: int) -> ListKey | DataCorrupt:
    """Return the list of a queue and priority, or log and return the error of the priority."""
    known = _PRIORITIES.get(priority)
    return noted(corrupt(f"of queue {queue}", "priority", priority)) if known is None else ListKey(queue, known)


def corrupt(job_id: object, field: str, value: object) -> DataCorrupt:
    """Return the error of a row that is not understood."""
    return DataCorrupt("jobs", str(job_id), field, str(value))
