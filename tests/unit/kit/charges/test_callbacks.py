"""Callback tokens are valid for one attempt of one job, for a time, by keys that may be rotated."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.kit.charges.callbacks import Callback, CallbackTokens
from services.kit.charges.keys import CHARGE, Key, KeyRing

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
OLD, NEW = Key("old", bytes(32)), Key("new", bytes(range(32)))
JOB_ID = UUID("01977420-df09-78b2-8852-6c8c5f2ab859")
CALLBACK = Callback(JOB_ID, retry_count=2, attempt=3, wait=timedelta(seconds=1.5))


def tokens(*keys: str, now: datetime = NOW) -> CallbackTokens:
    return CallbackTokens(lambda: KeyRing([{"old": OLD, "new": NEW}[key] for key in keys]), lambda: now)


TOKEN = tokens("old").token(CALLBACK, HOUR)


def test_a_token_says_what_it_is_for() -> None:
    assert tokens("old").read(CALLBACK.job_id, TOKEN) == CALLBACK


def test_a_token_of_another_job_is_none() -> None:
    assert tokens("old").read(uuid7(), TOKEN) is None


def test_a_token_ends() -> None:
    assert tokens("old", now=NOW + HOUR).read(CALLBACK.job_id, TOKEN) == CALLBACK
    assert tokens("old", now=NOW + HOUR + timedelta(seconds=2)).read(CALLBACK.job_id, TOKEN) is None


def test_a_token_outlives_the_rotation_of_its_key_until_the_key_is_removed() -> None:
    assert tokens("new", "old").read(CALLBACK.job_id, TOKEN) == CALLBACK
    assert tokens("new").read(CALLBACK.job_id, TOKEN) is None


def test_a_token_with_any_other_byte_is_none() -> None:
    raw = urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    for at in range(len(raw)):
        forged = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert tokens("old").read(CALLBACK.job_id, urlsafe_b64encode(forged).decode().rstrip("=")) is None, at


@pytest.mark.parametrize(
    "text",
    ["", "x", "ä", "====", TOKEN[:-4], TOKEN + "AAAA"],
    ids=["empty", "short", "no ASCII", "no base64", "cut", "longer"],
)
def test_a_text_that_is_no_token_is_none(text: str) -> None:
    assert tokens("old").read(CALLBACK.job_id, text) is None


def test_a_code_for_another_purpose_is_none() -> None:
    raw = urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    message = raw[:-16]
    forged = urlsafe_b64encode(message + OLD.mac(CHARGE, message)).decode().rstrip("=")
    assert tokens("old").read(CALLBACK.job_id, forged) is None


def test_without_keys_there_are_no_tokens() -> None:
    assert not tokens().are_possible
    assert tokens().token(CALLBACK, HOUR) == ""
    assert tokens().read(CALLBACK.job_id, TOKEN) is None


def test_each_attempt_waits_under_a_lease_of_its_own() -> None:
    leases = {CALLBACK.lease_id, CALLBACK._replace(attempt=4).lease_id, CALLBACK._replace(retry_count=3).lease_id}
    assert len(leases) == 3
    assert CALLBACK._replace(wait=HOUR).lease_id == CALLBACK.lease_id
