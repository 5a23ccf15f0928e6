"""Runs of jobs with an endpoint: the request by the description, and what the response makes of the job."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from innosystem.jobs.v1 import job_type_pb2
from innosystem.runner import JobError
from innosystem.runner.context import JobContext
from innosystem.runner.outbound.endpoints import Endpoint, Values, request_of
from innosystem.runner.outbound.messages import OutboundRequest, OutboundResponse
from innosystem.runner.outbound.responses import output_of, retry_after
from innosystem.runner.outbound.secrets import Secrets

JOB = JobContext(
    job_id="01990000-0000-7000-8000-000000000001",
    customer_id="01990000-0000-7000-8000-000000000002",
    job_type_id="01990000-0000-7000-8000-000000000003",
    processing_logic_id="innosystem.http",
    queue="default",
    attempt=2,
    max_attempts=3,
    labels={},
    request_id="",
    deadline=None,
)
URL = "https://api.example.com/v1"


def external_api(**fields: Any) -> job_type_pb2.ExternalApi:
    return job_type_pb2.ExternalApi(**({"url": URL} | fields))


def request(input: Any, folder: Path | None = None, **fields: Any) -> OutboundRequest:
    values = Values(input, JOB, Secrets(str(folder or "")))
    return request_of(Endpoint.of(external_api(**fields)), input, JOB, values)


def output(status: int, content: bytes, secrets: tuple[str, ...] = (), headers: Any = None, **fields: Any) -> Any:
    response = OutboundResponse(status, httpx.Headers(headers or {}), content)
    return output_of(response, Endpoint.of(external_api(**fields)), secrets)


def failure(*arguments: Any, **fields: Any) -> JobError:
    with pytest.raises(JobError) as raised:
        output(*arguments, **fields)
    return raised.value


def rule(meaning: str, **fields: Any) -> job_type_pb2.ResponseRule:
    number = job_type_pb2.ResponseMeaning.Value(f"RESPONSE_MEANING_{meaning}")
    return job_type_pb2.ResponseRule(meaning=number, **fields)


def test_without_a_template_the_input_is_posted_with_the_id_of_the_job_as_key() -> None:
    made = request({"a": [1, None, "é"]})

    assert (made.method, str(made.url), json.loads(made.content)) == ("POST", URL, {"a": [1, None, "é"]})
    assert made.headers == {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Idempotency-Key": JOB.job_id,
        "User-Agent": "innosystem-runner",
    }


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_get_and_delete_have_no_body(method: str) -> None:
    made = request({"id": "a b"}, method=method, url=f"{URL}/{{$.id}}")

    assert (made.method, str(made.url), made.content) == (method, f"{URL}/a%20b", b"")
    assert "Content-Type" not in made.headers


def test_url_headers_and_body_follow_their_templates(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("s3cret-key\n")
    made = request(
        {"order": {"id": 7}, "lines": [1, 2]},
        tmp_path,
        method="PUT",
        url=f"{URL}/orders/{{$.order.id}}?customer={{job.customer_id}}",
        headers={"Authorization": "Bearer {secret:KEY}", "X-Order": "{$.order.id}", "accept": "text/csv"},
        body_json='{"lines": "{$.lines}", "of": "order {$.order.id}"}',
    )

    assert str(made.url) == f"{URL}/orders/7?customer={JOB.customer_id}"
    assert json.loads(made.content) == {"lines": [1, 2], "of": "order 7"}
    assert made.secret_headers == {"Authorization": "Bearer s3cret-key"}
    assert made.headers["X-Order"] == "7"
    assert "s3cret" not in repr(made)


@pytest.mark.parametrize(
    ("input", "fault"),
    [({}, "it has no value at $.id"), ({"id": None}, "a value for the request is null"), ({"id": ".."}, "segment")],
)
def test_an_input_that_does_not_fit_fails_the_job_for_good(input: Any, fault: str) -> None:
    with pytest.raises(JobError, match="does not fit") as raised:
        request(input, url=f"{URL}/{{$.id}}")

    assert (raised.value.type, raised.value.retryable) == ("INVALID_INPUT", False)
    assert fault in raised.value.message


def test_an_endpoint_of_a_later_release_is_left_to_another_attempt() -> None:
    with pytest.raises(JobError) as raised:
        request({}, url="gopher://api.example.com/")

    assert (raised.value.type, raised.value.retryable) == ("INVALID_ENDPOINT", True)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"", None),
        (b"null", None),
        ("é text".encode(), "é text"),
        (b"NaN", "NaN"),
        (b"12", 12),
    ],
)
def test_the_body_of_a_success_is_the_output(content: bytes, expected: Any) -> None:
    assert output(200, content) == expected


def test_the_output_may_be_a_part_of_the_response() -> None:
    assert output(200, b'{"result": {"items": [1, 2]}}', output_path="$.result.items[-1]") == 2

    error = failure(200, b'{"error": "x"}', output_path="$.result")
    assert (error.type, error.retryable) == ("INVALID_RESPONSE", False)
    assert error.message == 'The response has no value at $.result: {"error": "x"}'


def test_a_response_that_is_neither_json_nor_text_is_no_output() -> None:
    assert failure(200, b"\xff\xfe").type == "INVALID_RESPONSE"
    assert failure(200, b"[" * 100_000).type == "INVALID_RESPONSE"
    assert failure(200, b'{"a":' * 3000 + b"1" + b"}" * 3000, ("s3cret-key",)).type == "INVALID_RESPONSE"


@pytest.mark.parametrize(("status", "retryable"), [(503, True), (429, True), (404, False), (302, False)])
def test_a_failure_has_the_status_and_the_beginning_of_the_body(status: int, retryable: bool) -> None:
    error = failure(status, b'{"why": "no"}', headers={"Retry-After": "7"})

    assert (error.type, error.retryable) == (f"HTTP_{status}", retryable)
    assert error.message == f'The endpoint responded with status {status}: {{"why": "no"}}'
    assert error.retry_after_seconds == (7 if retryable else None)
    assert len(failure(500, b"x" * 10_000).message) < 600
    assert failure(500, b"").message.endswith("no body")


def test_rules_decide_before_the_status() -> None:
    rules = [
        rule("SUCCESS", status_from=409),
        rule("RETRY", status_from=200, status_to=299, path="$.state", equals_json='"busy"'),
        rule("FAILURE", path="$.fatal"),
    ]

    assert output(409, b'{"id": 1}', rules=rules) == {"id": 1}
    assert output(200, b'{"state": "done"}', rules=rules) == {"state": "done"}
    busy = failure(200, b'{"state": "busy"}', headers={"Retry-After": "3"}, rules=rules)
    assert (busy.type, busy.retryable, busy.retry_after_seconds) == ("HTTP_200", True, 3)
    assert not failure(503, b'{"fatal": true}', rules=rules).retryable


@pytest.mark.parametrize(
    "content", [b'{"you sent": "Bearer s3cret/key"}', b'{"you sent": "Bearer s3cret\\/key"}', b"Bearer s3cret/key"]
)
def test_an_endpoint_that_returns_secrets_does_not_make_them_known(content: bytes) -> None:
    assert "s3cret" not in json.dumps(output(200, content, ("s3cret/key",)))
    assert "***" in json.dumps(output(200, content, ("s3cret/key",)))
    for status in (400, 503):
        assert "s3cret" not in failure(status, content, ("s3cret/key",)).message
    assert "s3cret" not in failure(200, content, ("s3cret/key",), output_path="$.missing").message


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("120", 120), (" 7 ", 7), ("", None), ("soon", None), ("-1", None), ("1.5", None)]
)
def test_the_time_to_wait_is_read_in_seconds(text: str, seconds: float | None) -> None:
    assert retry_after(httpx.Headers({"Retry-After": text})) == seconds


def test_the_time_to_wait_may_be_a_date() -> None:
    at = datetime.now(UTC) + timedelta(seconds=100)

    seconds = retry_after(httpx.Headers({"Retry-After": format_datetime(at, usegmt=True)}))
    assert seconds is not None
    assert 90 < seconds <= 100


def test_the_time_to_wait_is_bounded() -> None:
    assert failure(503, b"", headers={"Retry-After": "9" * 400}).retry_after_seconds == 86_400
    assert failure(503, b"", headers={"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}).retry_after_seconds == 0
