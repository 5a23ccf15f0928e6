"""The HTTP endpoint of a job type, as YAML."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_type_pb2 import ExternalApi, JobType, ResponseRule

_HANDLER: Final = "innosystem.http"
_MEANING: Final = "RESPONSE_MEANING_"
_FIELDS: Final = ("url", "method", "headers", "body", "rules", "output")
_RULE_FIELDS: Final = ("status", "path", "equals", "then")
_STATUS: Final = re.compile(r"(\d{3})(?:-(\d{3}))?")


def set_external_api(job_type: "JobType", text: str) -> None:
    """Set the endpoint of a job type, and the handler that calls it; an empty text removes the endpoint.

    Raises:
        ValueError: The text does not describe an endpoint.
    """
    if not text.strip():
        job_type.ClearField("external_api")
        return
    job_type.external_api.CopyFrom(read_external_api(text))
    job_type.processor_type = "PROCESSOR_TYPE_EXTERNAL_API"  # type: ignore[assignment] # protobuf takes the name
    job_type.processing_logic_id = _HANDLER


def read_external_api(text: str) -> "ExternalApi":
    """Read an endpoint from YAML or JSON.

    Raises:
        ValueError: It is none.
    """
    import yaml

    from innosystem.jobs.v1.job_type_pb2 import ExternalApi

    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from None
    _check_fields(given, _FIELDS, "an endpoint")
    headers = given.get("headers") or {}
    if not isinstance(headers, Mapping):
        raise ValueError("headers: `Name: value` is expected")  # noqa: TRY004 - a wrong value of a person
    return ExternalApi(
        url=str(given.get("url", "")),
        method=str(given.get("method", "")).upper(),
        headers={str(name): str(value) for name, value in headers.items()},
        body_json=json.dumps(given["body"], ensure_ascii=False) if "body" in given else "",
        rules=[_rule(one) for one in given.get("rules") or []],
        output_path=str(given.get("output", "")),
    )


def show_external_api(job_type: "JobType") -> str:
    """Return the YAML of a job type's endpoint; empty if it has none."""
    import yaml

    if not job_type.HasField("external_api"):
        return ""
    described = job_type.external_api
    shown: dict[str, Any] = {"url": described.url, "method": described.method or "POST"}
    if described.headers:
        shown["headers"] = dict(sorted(described.headers.items()))
    if described.body_json:
        shown["body"] = json.loads(described.body_json)
    if described.rules:
        shown["rules"] = [_shown_rule(one) for one in described.rules]
    if described.output_path:
        shown["output"] = described.output_path
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=10_000)


def _rule(given: Any) -> "ResponseRule":
    from innosystem.jobs.v1.job_type_pb2 import ResponseMeaning, ResponseRule

    _check_fields(given, _RULE_FIELDS, "a rule")
    first, last = _statuses(str(given.get("status", "")))
    meanings = [name.removeprefix(_MEANING).lower() for name in ResponseMeaning.keys()[1:]]
    then = str(given.get("then", "")).lower()
    if then not in meanings:
        raise ValueError(f"then: {then!r} is not {' or '.join(meanings)}")
    return ResponseRule(
        status_from=first,
        status_to=last,
        path=str(given.get("path", "")),
        equals_json=json.dumps(given["equals"], ensure_ascii=False) if "equals" in given else "",
        meaning=ResponseMeaning.Value(f"{_MEANING}{then.upper()}"),
    )


def _shown_rule(rule: "ResponseRule") -> dict[str, Any]:
    from innosystem.jobs.v1.job_type_pb2 import ResponseMeaning

    shown: dict[str, Any] = {}
    if rule.status_from or rule.status_to:
        is_range = rule.status_to not in (0, rule.status_from)
        shown["status"] = f"{rule.status_from or 100}-{rule.status_to}" if is_range else rule.status_from
    if rule.path:
        shown["path"] = rule.path
    if rule.equals_json:
        shown["equals"] = json.loads(rule.equals_json)
    return shown | {"then": ResponseMeaning.Name(rule.meaning).removeprefix(_MEANING).lower()}


def _statuses(text: str) -> tuple[int, int]:
    """Return the first and the last status; 0 for those that are not said."""
    if not text:
        return 0, 0
    if re.fullmatch(r"[1-5]xx", text):
        return int(text[0]) * 100, int(text[0]) * 100 + 99
    found = _STATUS.fullmatch(text)
    if found is None:
        raise ValueError(f"status: {text!r} is not 409, 400-499 or 4xx")
    return int(found[1]), int(found[2] or 0)


def _check_fields(given: Any, known: tuple[str, ...], what: str) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} has {', '.join(known)}, each as `name: value`")  # noqa: TRY004 - the same
    if unknown := [str(name) for name in given if name not in known]:
        raise ValueError(f"{what} has no {unknown[0]!r}, but {', '.join(known)}")
