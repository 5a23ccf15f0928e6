"""Check what a job type says about the endpoint that its jobs are posted to."""

from collections.abc import Mapping
from typing import Final

from innosystem.shared.endpoints.requests import UrlTemplate, parse_headers
from services.jobs.rules.endpoints.external_api import check_part
from services.jobs.rules.job_types import WEBHOOK_HANDLER, NewJobType, ProcessorType
from services.kit.errors import InvalidField

_FIELD: Final = "job_type.webhook"
_SIGNATURE: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


def check_webhook(job_type: NewJobType) -> None:
    """Check that a job type describes such an endpoint if and only if it is WEBHOOK, and that runners can post to it.

    Raises:
        InvalidField: A field is not as it must be.
    """
    is_webhook = job_type.processor_type is ProcessorType.WEBHOOK
    if is_webhook != (job_type.webhook is not None):
        problem = (
            "must be set for a job type that is WEBHOOK" if is_webhook else "is only for job types that are WEBHOOK"
        )
        raise InvalidField.of(_FIELD, problem)
    if is_webhook != (job_type.processing_logic_id == WEBHOOK_HANDLER):
        problem = f"must be {WEBHOOK_HANDLER} for job types that are WEBHOOK, and only for them"
        raise InvalidField.of("job_type.processing_logic_id", problem)
    if job_type.webhook is not None:
        check_part(f"{_FIELD}.url", UrlTemplate.parse, job_type.webhook.url)
        check_part(f"{_FIELD}.headers", _check_headers, job_type.webhook.headers)


def _check_headers(headers: Mapping[str, str]) -> None:
    parse_headers(headers)
    for name in headers:
        if name.lower() in _SIGNATURE:
            raise ValueError(f"{name} is set by the runner")
