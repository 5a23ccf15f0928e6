"""Callback tokens: what the endpoint of a webhook proves itself by when it reports the result of a job.

    version, key ID, not after, job, retry, attempt, wait in microseconds, code      77 bytes, in base64 for URLs

A token is that of one attempt of a job, and not of one run: when a runner is lost after it has posted the job, the job
is posted once more under the same attempt, and an endpoint that takes the second POST for a repetition reports the
result with the token of the first.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from hmac import compare_digest
from struct import Struct
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from services.kit.charges.keys import CALLBACK, MAC_LENGTH, KeyRing

_VERSION: Final = 1
_TOKEN: Final = Struct(">B16sq16siiq")
_LENGTH: Final = _TOKEN.size + MAC_LENGTH


class Callback(NamedTuple):
    """The attempt whose result a token lets its bearer report.

    Attributes:
        retry_count: How often the job had been retried.
        wait: How long the job waits for the result after the POST.
    """

    job_id: UUID
    retry_count: int
    attempt: int
    wait: timedelta

    @property
    def lease_id(self) -> UUID:
        """The lease under which the job waits: no runner knows it, so that none renews it."""
        return uuid5(self.job_id, f"callback:{self.retry_count}:{self.attempt}")


class CallbackTokens:
    """Makes and reads callback tokens.

    Args:
        keys: Returns the keys that are in force.
        now: Returns the time.
    """

    def __init__(self, keys: Callable[[], KeyRing], now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._now = now

    @property
    def are_possible(self) -> bool:
        """Whether there are keys."""
        return bool(self._keys())

    def token(self, callback: Callback, life: timedelta) -> str:
        """Return a token that is valid from now on for a time; empty without keys."""
        key = self._keys().signing
        if key is None:
            return ""
        job_id, retry_count, attempt, wait = callback
        not_after = int((self._now() + life).timestamp()) + 1
        microseconds = wait // timedelta(microseconds=1)
        message = _TOKEN.pack(_VERSION, key.name, not_after, job_id.bytes, retry_count, attempt, microseconds)
        return urlsafe_b64encode(message + key.mac(CALLBACK, message)).decode().rstrip("=")

    def read(self, job_id: UUID, token: str) -> Callback | None:
        """Return what a token is for; None if it is not a valid one of this job."""
        raw = _decoded(token)
        if len(raw) != _LENGTH:
            return None
        message, code = raw[:-MAC_LENGTH], raw[-MAC_LENGTH:]
        version, name, not_after, job, retry_count, attempt, microseconds = _TOKEN.unpack(message)
        key = self._keys().named(name)
        if version != _VERSION or key is None or not compare_digest(code, key.mac(CALLBACK, message)):
            return None
        if job != job_id.bytes or self._now().timestamp() > not_after:
            return None
        return Callback(job_id, retry_count, attempt, timedelta(microseconds=microseconds))


def _decoded(token: str) -> bytes:
    try:
        return urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except ValueError:
        return b""
