"""Admission of submissions: each becomes a job to store, is refused, or needs a slow check first."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.jobs.rules.entities import NewJob
from services.jobs.rules.errors import CustomerInactive, CustomerNotFound, JobTypeNotFound
from services.jobs.rules.job_types import JobType
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.submission import Submission, admitted, check_verdict, checked_input
from services.jobs.usecases.ports import SchemaChecks
from services.kit.errors import DomainError

# A larger input takes more than a millisecond or two to parse, and is parsed outside of the event loop.
_LARGE = 64 * 1024


@dataclass(frozen=True)
class Unchecked:
    """A submission that is admissible if its input satisfies a schema, which takes a slow check."""

    submission: Submission
    schema: str
    text: str


@dataclass(frozen=True)
class Admissions:
    """The data that a batch of submissions is judged by.

    Attributes:
        types: The job types that the submissions name.
        now: The time of the database.
        checks: Checks inputs with schemas.
    """

    types: Mapping[UUID | str, JobType | DomainError]
    now: datetime
    checks: SchemaChecks

    def judge(self, submission: Submission, active: bool | DomainError | None) -> NewJob | Unchecked | DomainError:
        """Return the job to store, the slow check that it needs first, or the reason to refuse it.

        Args:
            submission: The submission.
            active: Whether its customer is active, or why that is unknown; None if the customer does not exist.
        """
        try:
            payload = _payload(submission)
            if (refusal := customer_refusal(submission.customer_id, active)) is not None:
                raise refusal
            job_type = self._job_type(submission.job_type)
            job = admitted(submission, job_type, payload, now=self.now)
            return self._unchecked(submission, job_type, payload) or job
        except DomainError as error:
            return error

    def _unchecked(self, submission: Submission, job_type: JobType, payload: Payload) -> Unchecked | None:
        schema = job_type.input_schema
        if schema is None:
            return None
        verdict = submission.verdict
        if verdict is None or verdict.schema != schema:
            verdict = self.checks.check_small(schema, payload.text)
        if verdict is None:
            return Unchecked(submission, schema, payload.text)
        check_verdict(job_type, verdict)
        return None

    def _job_type(self, wanted: UUID | str) -> JobType:
        job_type = self.types.get(wanted)
        if job_type is None:
            raise JobTypeNotFound(str(wanted))
        if isinstance(job_type, DomainError):
            raise job_type
        return job_type


def customer_refusal(customer_id: UUID, active: bool | DomainError | None) -> DomainError | None:
    """Return why a customer's jobs are not accepted, nor run again; None if they are.

    Args:
        customer_id: The customer.
        active: Whether it is active, or why that is unknown; None if it does not exist.
    """
    if active is None:
        return CustomerNotFound(customer_id)
    if isinstance(active, DomainError):
        return active
    return None if active else CustomerInactive(customer_id)


async def with_large_inputs_checked(submissions: Sequence[Submission]) -> Sequence[Submission]:
    """Return the submissions with their large inputs checked, outside of the event loop."""
    if all(len(one.input_json) <= _LARGE for one in submissions):
        return submissions
    return [
        replace(one, checked=await asyncio.to_thread(_checked, one)) if len(one.input_json) > _LARGE else one
        for one in submissions
    ]


def _checked(submission: Submission) -> Payload | DomainError:
    try:
        return checked_input(submission)
    except DomainError as error:
        return error


def _payload(submission: Submission) -> Payload:
    checked = submission.checked or checked_input(submission)
    if isinstance(checked, DomainError):
        raise checked
    return checked
