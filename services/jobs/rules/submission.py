"""The requirements on a submission, and the job that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.jobs.rules.entities import JobStatus, NewJob, billing_at_admission
from services.jobs.rules.errors import (
    InputTooLarge,
    InvalidInputJson,
    JobTypeDisabled,
    PriceAboveMaximum,
)
from services.jobs.rules.job_types import JobType, Priority
from services.jobs.rules.prices.metering import Metering
from services.jobs.rules.schemas import payloads
from services.jobs.rules.schemas.verdict import Verdict
from services.kit.errors import DomainError, InvalidField
from services.kit.idempotency import digest

#: How far in the future a job may be scheduled.
HORIZON = timedelta(days=90)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A client's request to run a job.

    Attributes:
        job_type: The job type's ID or name.
        priority: None for the job type's default.
        max_cost_cents: The highest price the client agrees to; None for any.
        request_id: The request that it came with, for logs.
        checked: The result of checking the input, if that has been done.
        verdict: The result of checking it against the job type's schema, if that has been done.
        validate_only: Whether the client only asks what it would cost.
    """

    job_id: UUID
    customer_id: UUID
    job_type: UUID | str
    priority: Priority | None = None
    input_json: str = ""
    run_at: datetime | None = None
    expires_at: datetime | None = None
    max_cost_cents: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    checked: payloads.Payload | DomainError | None = None
    verdict: Verdict | None = None
    validate_only: bool = False

    @property
    def parameters(self) -> dict[str, object]:
        """The values that must be the same in a repeated submission, under the names of the contract."""
        return {
            "customer_id": str(self.customer_id),
            "job_type_id" if isinstance(self.job_type, UUID) else "job_type": str(self.job_type),
            "priority": self.priority,
            "input_json": self.input_json,
            "run_at": self.run_at,
            "expires_at": self.expires_at,
            "max_cost_cents": self.max_cost_cents,
            "labels": sorted(self.labels.items()),
        }


def checked_input(submission: Submission) -> payloads.Payload:
    """Check that the input can be stored.

    Raises:
        InvalidInputJson: If it cannot be stored.
        InputTooLarge: If it is too large.
    """
    try:
        return payloads.check(submission.input_json)
    except payloads.NotStorable as error:
        raise InvalidInputJson(str(error)) from None
    except payloads.TooLarge as error:
        raise InputTooLarge(error.size, payloads.BYTES_MAX) from None


def admitted(
    submission: Submission,
    job_type: JobType,
    payload: payloads.Payload,
    *,
    now: datetime,
) -> NewJob:
    """Build the job that is stored, at the job type's present price.

    Raises:
        JobTypeDisabled: If the job type is disabled.
        PriceAboveMaximum: If it may cost more than the client agrees to.
        InvalidField: If a time is out of range.
    """
    if not job_type.enabled:
        raise JobTypeDisabled(job_type.name)
    metering = job_type.metering
    price = job_type.standard_cost_cents if metering is None else metering.max_cost_cents
    if submission.max_cost_cents is not None and price > submission.max_cost_cents:
        raise PriceAboveMaximum(price, submission.max_cost_cents, job_type.currency, job_type.name)
    later = submission.run_at is not None and submission.run_at > now
    begins_at = submission.run_at if submission.run_at is not None and later else now
    if begins_at > now + HORIZON:
        raise InvalidField.of("run_at", f"must be at most {HORIZON.days} days from now")
    if submission.expires_at is not None and submission.expires_at <= begins_at:
        raise InvalidField.of("expires_at", "must be after run_at" if later else "must be in the future")
    priority = job_type.default_priority if submission.priority is None else submission.priority
    return NewJob(
        id=submission.job_id,
        customer_id=submission.customer_id,
        job_type_id=job_type.id,
        status=JobStatus.SCHEDULED if later else JobStatus.PENDING,
        billing_status=billing_at_admission(price),
        priority=priority,
        queue=job_type.queue,
        input_data=payload.text,
        input_bytes=payload.size,
        estimated_cost_cents=price,
        currency=job_type.currency,
        max_attempts=job_type.max_attempts,
        labels=submission.labels,
        run_at=submission.run_at,
        expires_at=submission.expires_at or begins_at + job_type.expires_after,
        request_id=submission.request_id,
        request_digest=digest(submission.parameters),
        **({} if metering is None else _frozen(metering)),
    )


def _frozen(metering: Metering) -> dict[str, Any]:
    return {
        "metering_unit": metering.unit,
        "unit_price_micro_cents": metering.unit_price_micro_cents,
        "standard_cost_cents": metering.standard_cost_cents,
    }


def check_verdict(job_type: JobType, verdict: Verdict) -> None:
    """Check that an input satisfies the job type's schema.

    Raises:
        InvalidInputJson: If it does not.
    """
    if verdict.problem is not None:
        raise InvalidInputJson(f"it does not satisfy the input schema of {job_type.name} {verdict.problem}")
