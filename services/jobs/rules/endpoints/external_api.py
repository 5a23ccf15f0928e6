"""Check what a job type says about its HTTP endpoint."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from innosystem.shared.endpoints.json_paths import JsonPath
from innosystem.shared.endpoints.requests import WITHOUT_BODY, UrlTemplate, parse_body, parse_headers
from innosystem.shared.endpoints.responses import Rule
from services.jobs.rules.job_types import NewJobType, ProcessorType
from services.kit.errors import InvalidField

HANDLER: Final = "innosystem.http"
"""The handler of all job types with an endpoint. Runners that call endpoints announce it."""
_FIELD: Final = "job_type.external_api"
_MEANING: Final = "RESPONSE_MEANING_"


def check_external_api(job_type: NewJobType) -> None:
    """Check that a job type describes an endpoint if and only if runners are to call one, and that they can.

    Raises:
        InvalidField: A field is not as it must be.
    """
    is_external = job_type.processor_type is ProcessorType.EXTERNAL_API
    if is_external != (job_type.external_api is not None):
        must = "must be set for the processor type EXTERNAL_API" if is_external else "needs processor_type EXTERNAL_API"
        raise InvalidField.of(_FIELD, must)
    if is_external != (job_type.processing_logic_id == HANDLER):
        must = f"must be {HANDLER} or not set" if is_external else "is reserved for job types with external_api"
        raise InvalidField.of("job_type.processing_logic_id", must)
    if job_type.external_api is not None:
        _check(json.loads(job_type.external_api))


def _check(described: Mapping[str, Any]) -> None:
    check_part(f"{_FIELD}.url", UrlTemplate.parse, described.get("url", ""))
    check_part(f"{_FIELD}.headers", parse_headers, described.get("headers", {}))
    if body := described.get("body_json"):
        if described.get("method") in WITHOUT_BODY:
            raise InvalidField.of(f"{_FIELD}.body_json", f"must not be set for {described['method']}")
        check_part(f"{_FIELD}.body_json", parse_body, body)
    for number, rule in enumerate(described.get("rules", [])):
        check_part(f"{_FIELD}.rules[{number}]", _rule, rule)
    if path := described.get("output_path"):
        check_part(f"{_FIELD}.output_path", JsonPath.parse, path)


def _rule(rule: Mapping[str, Any]) -> Rule:
    return Rule.parse(
        rule.get("status_from", 0),
        rule.get("status_to", 0),
        rule.get("path", ""),
        rule.get("equals_json", ""),
        rule.get("meaning", "").removeprefix(_MEANING),
    )


def check_part(field: str, parse: Callable[[Any], object], value: Any) -> None:
    """Check a part of an endpoint with what parses it for runners.

    Raises:
        InvalidField: It can't be parsed.
    """
    try:
        parse(value)
    except ValueError as error:
        raise InvalidField.of(field, str(error)) from None
