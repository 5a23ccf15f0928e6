"""Jobs and job types for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from services.jobs.rules.entities import BillingStatus, Job, NewJob
from services.jobs.rules.job_types import JobType, NewJobType, Priority, ProcessorType

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def new_job_type(**values: Any) -> NewJobType:
    """A job type that costs 5 cents, under a name of its own."""
    job_type_id = uuid7()
    defaults: dict[str, Any] = {
        "id": job_type_id,
        "name": f"type-{job_type_id}",
        "processing_logic_id": "echo",
        "processor_type": ProcessorType.ASYNC,
        "standard_cost_cents": 5,
        "request_digest": b"digest",
    }
    return NewJobType(**{**defaults, **values})


def new_job(job_type_id: UUID, **values: Any) -> NewJob:
    """A job of a customer of its own."""
    defaults: dict[str, Any] = {
        "id": uuid7(),
        "customer_id": uuid7(),
        "job_type_id": job_type_id,
        "billing_status": BillingStatus.UNHELD,
        "priority": Priority.MEDIUM,
        "queue": "default",
        "input_data": '{"n": 1}',
        "input_bytes": 8,
        "estimated_cost_cents": 5,
        "currency": "EUR",
        "max_attempts": 1,
        "expires_at": LATER,
        "request_digest": b"digest",
    }
    return NewJob(**{**defaults, **values})


def stored_job_type(**values: Any) -> JobType:
    """A job type as it is read from the database."""
    return JobType(**{**vars(new_job_type()), "created_at": NOW, "updated_at": NOW, **values})


def stored_job(**values: Any) -> Job:
    """A waiting job as it is read from the database."""
    return Job(**{**vars(new_job(uuid7())), "created_at": NOW, "queued_at": NOW, **values})
