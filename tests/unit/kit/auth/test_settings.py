"""Authentication is put together from settings, and what is missing or wrong in them is said at the start."""

import json
import re
from pathlib import Path

import pytest

from services.kit.auth.authentication import OFF
from services.kit.auth.settings import authentication
from services.kit.auth.tokens import SignedTokens
from services.kit.settings import StartupError
from tests.support.tokens import claims, key_set, new_key, signed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with keys and a mapping, without an `.env`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INNOSYSTEM_AUTH", "on")
    (tmp_path / "keys.json").write_text(key_set(new_key()))
    (tmp_path / "mapping.yaml").write_text("certificates: {'spiffe://a/b/c': {kind: operator}}")
    return tmp_path


def test_off_reads_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNOSYSTEM_AUTH", "off")
    monkeypatch.setenv("INNOSYSTEM_AUTH_KEYS", "missing.json")
    assert authentication() is OFF


def test_on_without_a_way_to_authenticate_says_what_to_set(folder: Path) -> None:
    with pytest.raises(StartupError, match=r"set INNOSYSTEM_AUTH_KEYS .*tokens keys create.* INNOSYSTEM_AUTH_MAPPING"):
        authentication()


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("KEYS", "missing.json", "missing.json: No such file or directory"),
        ("KEYS", "mapping.yaml", "mapping.yaml: it is not JSON"),
        ("KEYS", ".", "Is a directory"),
        ("KEYS", "http://issuer.example/keys", "INNOSYSTEM_AUTH_KEYS: must begin with https://"),
        ("MAPPING", "missing.yaml", "missing.yaml: No such file or directory"),
        ("MAPPING", "keys.json", "keys: Extra inputs"),
        ("MAPPING", "https://issuer.example/mapping", "INNOSYSTEM_AUTH_MAPPING: must be the name of a file"),
        ("CLOCK_SKEW_SECONDS", "-1", "INNOSYSTEM_AUTH_CLOCK_SKEW_SECONDS"),
        ("TOKEN_SECONDS_MAX", "0", "INNOSYSTEM_AUTH_TOKEN_SECONDS_MAX"),
    ],
)
def test_what_can_not_be_read_at_the_start_is_named(
    folder: Path, setting: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"INNOSYSTEM_AUTH_{setting}", value)
    with pytest.raises(StartupError, match=re.escape(problem)):
        authentication()


def test_a_key_set_with_a_private_key_is_refused_without_showing_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = new_key().as_dict(private=True)
    (folder / "keys.json").write_text(json.dumps({"keys": [private]}))
    monkeypatch.setenv("INNOSYSTEM_AUTH_KEYS", "keys.json")
    with pytest.raises(StartupError, match="'k1' is secret: give services only the public keys") as wrong:
        authentication()
    assert str(private["d"]) not in str(wrong.value)


async def test_tokens_come_first_then_what_else_is_given_then_certificates(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    (folder / "keys.json").write_text(key_set(key))
    monkeypatch.setenv("INNOSYSTEM_AUTH_KEYS", "keys.json")
    monkeypatch.setenv("INNOSYSTEM_AUTH_ISSUER", "here")
    monkeypatch.setenv("INNOSYSTEM_AUTH_AUDIENCE", "jobs")
    found = authentication(other := authentication().bearers[0])
    assert found.required
    assert found.bearers[1:] == (other,)
    assert isinstance(found.bearers[0], SignedTokens)
    who = await found.bearers[0].principal(signed(key, claims(iss="here", aud="jobs")))
    assert who.actor == "operator/ada"
    assert found.certificate is not None
    assert found.refresh is not None
    await found.refresh()


def test_certificates_alone_are_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNOSYSTEM_AUTH_TRUST_DOMAIN", "prod.example")
    certificate = authentication().certificate
    assert certificate is not None
    found = certificate({"peer_spiffe_id": [b"spiffe://prod.example/operator/ada"]})
    assert found is not None
    assert found.actor == "operator/ada"
