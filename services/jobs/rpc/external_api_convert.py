"""Conversion between the message of an endpoint and the JSON text that is stored."""

import json
from functools import lru_cache

from google.protobuf.json_format import MessageToDict, Parse

from innosystem.jobs.v1 import job_type_pb2
from services.jobs.rules.endpoints.external_api import HANDLER
from services.jobs.rules.job_types import WEBHOOK_HANDLER


def external_api_text(message: job_type_pb2.ExternalApi) -> str:
    """Return the JSON text of an endpoint."""
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True), sort_keys=True, ensure_ascii=False)


@lru_cache(maxsize=1000)
def external_api_message(text: str | None) -> job_type_pb2.ExternalApi | None:
    """Return the message of an endpoint, which must not be changed. Fields of a later release are left out."""
    return None if text is None else Parse(text, job_type_pb2.ExternalApi(), ignore_unknown_fields=True)


def with_handler(job_type: job_type_pb2.JobType) -> job_type_pb2.JobType:
    """Return a job type as it was given, with the handler that calls its endpoint if it has one."""
    is_webhook = job_type.HasField("webhook")
    if job_type.processing_logic_id or not (is_webhook or job_type.HasField("external_api")):
        return job_type
    given = job_type_pb2.JobType()
    given.CopyFrom(job_type)
    given.processing_logic_id = WEBHOOK_HANDLER if is_webhook else HANDLER
    return given
