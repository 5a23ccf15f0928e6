"""Conversion between the messages of the job type contract and the domain."""

from datetime import timedelta
from typing import Any, Final, Literal

from google.protobuf.duration_pb2 import Duration

from innosystem.jobs.v1 import job_type_pb2
from services.jobs.rpc.convert import priority_from, priority_message
from services.jobs.rpc.external_api_convert import external_api_message, external_api_text
from services.jobs.rules import job_types
from services.jobs.rules.job_types import JobType, NewJobType, Priority, ProcessorType, Webhook
from services.jobs.rules.prices.metering import Metering
from services.kit.auth.tenants import Tenants
from services.kit.rpc.convert import duration, id_or_new, timestamp

_ENDPOINTS: Final[tuple[Literal["external_api", "webhook"], ...]] = ("external_api", "webhook")

CHANGEABLE = (
    "name",
    "description",
    "processing_logic_id",
    "processor_type",
    "standard_cost_cents",
    "enabled",
    "queue",
    "default_priority",
    "max_attempts",
    "timeout",
    "expires_after",
    "retry_policy",
    "input_schema_json",
    "metering",
    "external_api",
    "webhook",
)
REQUIRED = frozenset({"name", "processing_logic_id"})


def new_job_type(message: job_type_pb2.JobType) -> NewJobType:
    """Return the job type of a create request, which satisfies the contract."""
    values = {name: value for path in CHANGEABLE for name, value in _values(message, path).items()}
    # The service tells whether it was set.
    values["max_attempts"] = message.max_attempts
    if not message.HasField("enabled"):
        values["enabled"] = True
    return NewJobType(
        id=id_or_new(message.id),
        currency=message.currency or job_types.DEFAULT_CURRENCY,
        **values,
    )


def changes(message: job_type_pb2.JobType, paths: frozenset[str]) -> dict[str, Any]:
    """Return the new values of an update, by the names of the entity's fields."""
    return {name: value for path in sorted(paths) for name, value in _values(message, path).items()}


def _values(message: job_type_pb2.JobType, path: str) -> dict[str, Any]:  # noqa: PLR0911 -- one a field
    """Return the entity's values for one field of the message, with the contract's defaults for unset fields."""
    match path:
        case "processor_type":
            named = message.processor_type != job_type_pb2.PROCESSOR_TYPE_UNSPECIFIED
            name = job_type_pb2.ProcessorType.Name(message.processor_type).removeprefix("PROCESSOR_TYPE_")
            return {path: ProcessorType(name) if named else ProcessorType.SYNC, "processor_type_named": named}
        case "queue":
            return {path: message.queue or job_types.DEFAULT_QUEUE}
        case "default_priority":
            priority = priority_from(message.default_priority)
            return {path: Priority.MEDIUM if priority is None else priority}
        case "max_attempts":
            return {path: message.max_attempts or job_types.DEFAULT_MAX_ATTEMPTS}
        case "timeout" | "expires_after":
            length = getattr(message, path) if message.HasField(path) else None
            default = job_types.DEFAULT_TIMEOUT if path == "timeout" else job_types.DEFAULT_EXPIRES_AFTER
            return {path: _length(length, default)}
        case "retry_policy":
            return _retry_values(message.retry_policy)
        case "input_schema_json":
            return {"input_schema": message.input_schema_json or None}
        case "metering":
            return _metering_values(message.metering if message.HasField("metering") else None)
        case "external_api":
            return {path: external_api_text(message.external_api) if message.HasField(path) else None}
        case "webhook":
            return _webhook_values(message.webhook if message.HasField("webhook") else None)
    return {path: getattr(message, path)}


def _metering_values(metering: job_type_pb2.Metering | None) -> dict[str, Any]:
    return {
        "metering_unit": metering.unit if metering else None,
        "unit_price_micro_cents": metering.unit_price_micro_cents if metering else None,
        "max_cost_cents": metering.max_cost_cents if metering else None,
    }


def _retry_values(policy: job_type_pb2.RetryPolicy) -> dict[str, Any]:
    initial_backoff = policy.initial_backoff if policy.HasField("initial_backoff") else None
    max_backoff = policy.max_backoff if policy.HasField("max_backoff") else None
    return {
        "retry_initial_backoff": _length(initial_backoff, job_types.DEFAULT_INITIAL_BACKOFF),
        "retry_max_backoff": _length(max_backoff, job_types.DEFAULT_MAX_BACKOFF),
        "retry_multiplier": policy.multiplier or job_types.DEFAULT_MULTIPLIER,
    }


def _webhook_values(webhook: job_type_pb2.Webhook | None) -> dict[str, Any]:
    if webhook is None:
        webhook = job_type_pb2.Webhook()
    is_set = bool(webhook.url)
    timeout = webhook.callback_timeout if webhook.HasField("callback_timeout") else None
    return {
        "webhook_url": webhook.url or None,
        "webhook_headers": dict(sorted(webhook.headers.items())),
        "webhook_signing_secret": webhook.signing_secret or None,
        "webhook_callback_timeout": _length(timeout, job_types.DEFAULT_CALLBACK_TIMEOUT) if is_set else None,
    }


def webhook_message(webhook: Webhook) -> job_type_pb2.Webhook:
    """Return the message of an endpoint."""
    return job_type_pb2.Webhook(
        url=webhook.url,
        headers=webhook.headers,
        signing_secret=webhook.signing_secret,
        callback_timeout=duration(webhook.callback_timeout),
    )


def _length(length: Duration | None, default: timedelta) -> timedelta:
    return default if length is None else length.ToTimedelta()


def _processor_type(job_type: JobType) -> "job_type_pb2.ProcessorType.ValueType":
    if not job_type.processor_type_named:
        return job_type_pb2.PROCESSOR_TYPE_UNSPECIFIED
    return job_type_pb2.ProcessorType.Value(f"PROCESSOR_TYPE_{job_type.processor_type.value}")


def _metering_message(metering: Metering) -> job_type_pb2.Metering:
    return job_type_pb2.Metering(
        unit=metering.unit,
        unit_price_micro_cents=metering.unit_price_micro_cents,
        max_cost_cents=metering.max_cost_cents,
    )


def job_type_for(tenants: Tenants, job_type: JobType) -> job_type_pb2.JobType:
    """Return the message of a job type for a caller. A bound caller does not see where the platform's endpoints are."""
    message = job_type_message(job_type)
    if not tenants.are_all:
        for field in _ENDPOINTS:
            message.ClearField(field)
    return message


def job_type_message(job_type: JobType) -> job_type_pb2.JobType:
    """Return the message of a job type."""
    return job_type_pb2.JobType(
        id=str(job_type.id),
        name=job_type.name,
        description=job_type.description,
        processing_logic_id=job_type.processing_logic_id,
        processor_type=_processor_type(job_type),
        standard_cost_cents=job_type.standard_cost_cents,
        currency=job_type.currency,
        enabled=job_type.enabled,
        paused=job_type.paused,
        queue=job_type.queue,
        default_priority=priority_message(job_type.default_priority),
        max_attempts=job_type.max_attempts,
        timeout=duration(job_type.timeout),
        expires_after=duration(job_type.expires_after),
        retry_policy=job_type_pb2.RetryPolicy(
            initial_backoff=duration(job_type.retry_initial_backoff),
            max_backoff=duration(job_type.retry_max_backoff),
            multiplier=job_type.retry_multiplier,
        ),
        input_schema_json=job_type.input_schema or "",
        metering=_metering_message(job_type.metering) if job_type.metering else None,
        external_api=external_api_message(job_type.external_api),
        webhook=webhook_message(job_type.webhook) if job_type.webhook else None,
        created_at=timestamp(job_type.created_at),
        updated_at=timestamp(job_type.updated_at),
        etag=job_type.etag,
    )
