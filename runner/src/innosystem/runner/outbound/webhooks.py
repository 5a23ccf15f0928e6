"""The message that a webhook is posted with, and its signature as Standard Webhooks says."""

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.context import JobContext
from innosystem.runner.errors import JobError
from innosystem.runner.outbound.secrets import Secrets

_KEY_PREFIX: Final = "whsec_"
# The bounds of Standard Webhooks.
_KEY_BYTES_MIN: Final = 24
_KEY_BYTES_MAX: Final = 64


def message_of(webhook: job_service_pb2.WebhookCall, input: Any, job: JobContext) -> dict[str, Any]:
    """Return what is posted for a job, as a JSON value.

    Raises:
        JobError: The job has no callback token, so that the endpoint could not report its result.
    """
    if not webhook.callback_token:
        raise JobError("The jobs service has no keys for callback tokens", type="NO_CALLBACK_TOKEN")
    # The wait begins once the response is reported: the result is accepted until then at least.
    expires_at = datetime.now(UTC) + webhook.webhook.callback_timeout.ToTimedelta()
    callback = {"token": webhook.callback_token, "expires_at": expires_at.isoformat(timespec="seconds")}
    if webhook.callback_url:
        callback["url"] = webhook.callback_url
    return {
        "job_id": job.job_id,
        "job_type_id": job.job_type_id,
        "customer_id": job.customer_id,
        "attempt": job.attempt,
        "input": input,
        "callback": callback,
    }


def signing_keys(secrets: Secrets, name: str) -> list[bytes]:
    """Return the keys of a secret, which holds one or several `whsec_...` with white space between them.

    Raises:
        JobError: There is no such secret, or it holds something else. It does not tell the content.
    """
    try:
        return [_key(text) for text in secrets.get(name).split()]
    except ValueError:
        raise JobError(
            f"The secret {name!r} must be {_KEY_PREFIX} and {_KEY_BYTES_MIN} to {_KEY_BYTES_MAX} bytes in base64,"
            " or several of these with spaces between them",
            type="SECRET_UNUSABLE",
        ) from None


def signature_headers(message_id: str, content: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers that sign a message now.

    Args:
        message_id: The same for all POSTs of an attempt, by which the endpoint tells a repetition.
        content: The body, byte by byte as it is sent.
        keys: Each makes a signature: an endpoint that has one of them accepts the message.
    """
    timestamp = str(int(time.time()))
    signed = f"{message_id}.{timestamp}.".encode() + content
    signatures = [b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys]
    return {
        "Idempotency-Key": message_id,
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }


def _key(text: str) -> bytes:
    if not text.startswith(_KEY_PREFIX):
        raise ValueError(text)
    key = b64decode(text.removeprefix(_KEY_PREFIX), validate=True)
    if not _KEY_BYTES_MIN <= len(key) <= _KEY_BYTES_MAX:
        raise ValueError(text)
    return key
