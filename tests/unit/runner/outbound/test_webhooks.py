"""The message and the signature of a webhook."""

import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration

from innosystem.jobs.v1 import job_service_pb2, job_type_pb2
from innosystem.runner import JobError
from innosystem.runner.outbound.messages import OutboundResponse
from innosystem.runner.outbound.responses import check_accepted
from innosystem.runner.outbound.secrets import Secrets
from innosystem.runner.outbound.webhooks import message_of, signature_headers, signing_keys
from tests.unit.runner.outbound.test_endpoints import JOB

# The example of the specification.
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = f"whsec_{b64encode(b'k' * 64).decode()}"


def webhook(**fields: Any) -> job_service_pb2.WebhookCall:
    described = job_type_pb2.Webhook(callback_timeout=Duration(seconds=90))
    values: dict[str, Any] = {"webhook": described, "callback_token": "token", **fields}
    return job_service_pb2.WebhookCall(**values)


def keys(folder: Path, content: str) -> list[bytes]:
    (folder / "hooks").write_text(content)
    return signing_keys(Secrets(str(folder)), "hooks")


def test_a_message_has_the_job_its_input_and_what_to_report_its_result_with() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    message = message_of(webhook(callback_url="https://a.example.com/x"), {"n": 1}, JOB)
    expires_at = datetime.fromisoformat(message["callback"].pop("expires_at"))

    assert message == {
        "job_id": JOB.job_id,
        "job_type_id": JOB.job_type_id,
        "customer_id": JOB.customer_id,
        "attempt": 2,
        "input": {"n": 1},
        "callback": {"token": "token", "url": "https://a.example.com/x"},
    }
    assert before <= expires_at - timedelta(seconds=90) <= datetime.now(UTC)
    assert "url" not in message_of(webhook(), None, JOB)["callback"]


def test_a_job_without_a_callback_token_is_not_posted() -> None:
    with pytest.raises(JobError) as raised:
        message_of(webhook(callback_token=""), None, JOB)
    assert (raised.value.type, raised.value.retryable) == ("NO_CALLBACK_TOKEN", True)


def test_a_signature_is_that_of_the_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("innosystem.runner.outbound.webhooks.time.time", lambda: 1614265330.9)
    content = b'{"test": 2432232314}'
    headers = signature_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", content, keys(tmp_path, KEY))

    assert headers["webhook-id"] == headers["Idempotency-Key"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_key_makes_a_signature_while_keys_are_rotated(tmp_path: Path) -> None:
    headers = signature_headers("id", b"{}", keys(tmp_path, f"{OTHER}\n {KEY}\n"))
    first, second = headers["webhook-signature"].split(" ")

    expected = hmac.digest(b"k" * 64, f"id.{headers['webhook-timestamp']}.{{}}".encode(), "sha256")
    assert first == f"v1,{b64encode(expected).decode()}"
    assert second != first


@pytest.mark.parametrize(
    "content",
    ["no-key-of-webhooks", KEY[6:], "whsec_c2hvcnQ=", "whsec_%%%%%%%%%%%", f"{KEY} {KEY[6:]}", KEY + "A"],
    ids=["text", "no prefix", "short", "no base64", "one of two", "padding"],
)
def test_a_secret_that_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(JobError) as raised:
        keys(tmp_path, content)
    assert (raised.value.type, raised.value.retryable) == ("SECRET_UNUSABLE", True)
    assert content[:20] not in str(raised.value)
    assert raised.value.__context__ is None or raised.value.__suppress_context__


@pytest.mark.parametrize("content", [b"", b"ok", b"\xff", b"[" * 100_000], ids=["none", "text", "bytes", "nested"])
def test_any_body_of_a_2xx_accepts_the_job(content: bytes) -> None:
    check_accepted(OutboundResponse(202, httpx.Headers(), content), ())


@pytest.mark.parametrize(
    ("status", "retryable", "retry_after"), [(503, True, 7.0), (429, True, 7.0), (404, False, None), (304, False, None)]
)
def test_other_statuses_mean_what_they_mean_for_other_endpoints(
    status: int, retryable: bool, retry_after: float | None
) -> None:
    response = OutboundResponse(status, httpx.Headers({"retry-after": "7"}), b'{"you sent": "token"}')
    with pytest.raises(JobError) as raised:
        check_accepted(response, {"token"})
    error = raised.value
    assert (error.type, error.retryable, error.retry_after_seconds) == (f"HTTP_{status}", retryable, retry_after)
    assert error.message == f'The endpoint responded with status {status}: {{"you sent": "***"}}'
