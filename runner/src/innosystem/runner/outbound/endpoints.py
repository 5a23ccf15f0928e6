"""An endpoint as its job type describes it, and the request of a job."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from innosystem.jobs.v1 import job_type_pb2
from innosystem.runner.context import JobContext
from innosystem.runner.errors import JobError
from innosystem.runner.outbound.messages import OutboundRequest
from innosystem.runner.outbound.secrets import Secrets
from innosystem.shared.endpoints.json_paths import JsonPath, Missing
from innosystem.shared.endpoints.placeholders import InputValue, JobValue, Placeholder, SecretValue, Template, Unfit
from innosystem.shared.endpoints.requests import (
    WITHOUT_BODY,
    Body,
    UrlTemplate,
    parse_body,
    parse_headers,
    render_body,
    render_header,
)
from innosystem.shared.endpoints.responses import Rule

_MEANING: Final = "RESPONSE_MEANING_"
_USER_AGENT: Final = "innosystem-runner"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint.

    Attributes:
        method: The method.
        url: The URL.
        headers: The headers by name.
        body: The body; None for the input itself.
        rules: What responses mean.
        output_path: Where a response has the output; None for the whole response.
    """

    method: str
    url: UrlTemplate
    headers: Mapping[str, Template]
    body: Body | None
    rules: Sequence[Rule]
    output_path: JsonPath | None

    @classmethod
    def of(cls, described: job_type_pb2.ExternalApi) -> Self:
        """Read the description of an endpoint.

        Raises:
            JobError: It can't be read: a later release may have stored it.
        """
        try:
            return cls(
                described.method or "POST",
                UrlTemplate.parse(described.url),
                parse_headers(described.headers),
                parse_body(described.body_json) if described.body_json else None,
                [_rule(one) for one in described.rules],
                JsonPath.parse(described.output_path) if described.output_path else None,
            )
        except ValueError as exc:
            raise JobError(f"The job type's endpoint can't be read: {exc}", type="INVALID_ENDPOINT") from None


class Values:
    """The values of placeholders for one job.

    Args:
        input: The input.
        job: The job.
        secrets: The secrets of the runner.

    Attributes:
        secrets_used: The secrets that were looked up.
    """

    def __init__(self, input: Any, job: JobContext, secrets: Secrets) -> None:
        self._input = input
        self._job = job
        self._secrets = secrets
        self.secrets_used: set[str] = set()

    def __call__(self, placeholder: Placeholder) -> Any:
        """Return the value of a placeholder.

        Raises:
            JobError: There is none.
        """
        match placeholder:
            case InputValue(path):
                try:
                    return path.find(self._input)
                except Missing:
                    raise _unfit(f"it has no value at {path.text}") from None
            case JobValue("id"):
                return self._job.job_id
            case JobValue(name):
                return getattr(self._job, name)
            case SecretValue(name):
                secret = self._secrets.get(name)
                self.secrets_used.add(secret)
                return secret


def request_of(endpoint: Endpoint, input: Any, job: JobContext, values: Values) -> OutboundRequest:
    """Return the request for a job.

    Raises:
        JobError: The input does not fit, or a secret can't be used.
    """
    headers = {"Accept": "application/json"}
    secret_headers: dict[str, str] = {}
    content = b""
    try:
        url = httpx.URL(endpoint.url.render(values))
        if endpoint.method not in WITHOUT_BODY:
            headers["Content-Type"] = "application/json"
            content = json.dumps(input if endpoint.body is None else render_body(endpoint.body, values)).encode()
        for name, template in endpoint.headers.items():
            is_secret = any(isinstance(one, SecretValue) for one in template.placeholders)
            (secret_headers if is_secret else headers)[name] = render_header(template, values)
    except Unfit as exc:
        raise _unfit(f"a value for the request is {exc}") from None
    except httpx.InvalidURL as exc:
        raise JobError(f"The URL is none: {exc}", type="INVALID_ENDPOINT") from None
    headers |= {"Idempotency-Key": job.job_id, "User-Agent": _USER_AGENT}
    return OutboundRequest(endpoint.method, url, headers, secret_headers, content)


def _rule(rule: job_type_pb2.ResponseRule) -> Rule:
    meaning = job_type_pb2.ResponseMeaning.Name(rule.meaning).removeprefix(_MEANING)
    return Rule.parse(rule.status_from, rule.status_to, rule.path, rule.equals_json, meaning)


def _unfit(why: str) -> JobError:
    return JobError(f"The input does not fit the job type's endpoint: {why}", type="INVALID_INPUT", retryable=False)
