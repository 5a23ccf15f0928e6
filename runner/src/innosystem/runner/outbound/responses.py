"""What becomes of a job by the response of its endpoint."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn

import httpx

from innosystem.runner.errors import JobError
from innosystem.runner.outbound.endpoints import Endpoint
from innosystem.runner.outbound.messages import OutboundResponse
from innosystem.runner.outbound.secrets import hidden
from innosystem.shared.endpoints.json_paths import Missing
from innosystem.shared.endpoints.responses import Meaning, meaning

_EXCERPT_LENGTH: Final = 500


def output_of(response: OutboundResponse, endpoint: Endpoint, secrets: Collection[str]) -> Any:
    """Return the output of a job whose endpoint has responded.

    Args:
        response: The response.
        endpoint: What the job type says of its responses.
        secrets: Secrets of the request, which neither output nor error may show.

    Raises:
        JobError: The response is no success, or has no output.
    """
    body, is_text = _body(response.content)
    try:
        body = hidden(body, secrets)
        means = meaning(response.status, body, endpoint.rules)
    except RecursionError:
        raise JobError("The response is nested too deep", type="INVALID_RESPONSE", retryable=False) from None
    if means is not Meaning.SUCCESS:
        raise _refusal(response, body, means)
    if not is_text:
        raise JobError("The response is neither JSON nor UTF-8 text", type="INVALID_RESPONSE", retryable=False)
    if endpoint.output_path is None:
        return body
    try:
        return endpoint.output_path.find(body)
    except Missing:
        raise JobError(
            f"The response has no value at {endpoint.output_path.text}: {_excerpt(body)}",
            type="INVALID_RESPONSE",
            retryable=False,
        ) from None


def check_accepted(response: OutboundResponse, secrets: Collection[str]) -> None:
    """Check that an endpoint has accepted a job, whatever the body of its response.

    Args:
        response: The response.
        secrets: Secrets of the request, which the error may not show.

    Raises:
        JobError: It has not.
    """
    means = meaning(response.status, None, ())
    if means is not Meaning.SUCCESS:
        raise _refusal(response, hidden(response.content.decode("utf-8", "replace"), secrets) or None, means)


def retry_after(headers: httpx.Headers) -> float | None:
    """Return how long the endpoint asks to wait, in seconds; None if it does not say so.

    JobError bounds it to 24 hours.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


def _refusal(response: OutboundResponse, body: Any, means: Meaning) -> JobError:
    return JobError(
        f"The endpoint responded with status {response.status}: {_excerpt(body)}",
        type=f"HTTP_{response.status}",
        retryable=means is Meaning.RETRY,
        retry_after=retry_after(response.headers) if means is Meaning.RETRY else None,
    )


def _body(content: bytes) -> tuple[Any, bool]:
    """Return the body as parsed JSON, or else as text, and whether it is text at all; an empty one is null."""
    if not content:
        return None, True
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("utf-8", "replace"), False
    try:
        return json.loads(text, parse_constant=_no_number), True
    except RecursionError:
        raise JobError("The response is nested too deep", type="INVALID_RESPONSE", retryable=False) from None
    except ValueError:
        return text, True


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _excerpt(body: Any) -> str:
    if body is None:
        return "no body"
    text = body.strip() if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return text if len(text) <= _EXCERPT_LENGTH else f"{text[:_EXCERPT_LENGTH]}…"
