"""Keys and tokens are made by one library, for the command and the local stack."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt

from services.kit.auth.issuing import create_key, create_token, delete_key
from services.kit.auth.principal import Kind
from services.kit.auth.signing_keys import ALGORITHMS, public_keys

HOUR = timedelta(hours=1)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key, and the key set for services."""
    private, public = tmp_path / "auth" / "signing-key.json", tmp_path / "auth" / "keys.json"
    create_key(private, public)
    return private, public


def test_the_private_key_is_for_its_owner_only_and_the_public_file_has_nothing_secret(keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert (private.stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)
    assert private.parent.stat().st_mode & 0o777 == 0o700
    assert json.loads(private.read_bytes())["d"] not in public.read_text()


def test_a_token_says_who_calls_and_for_how_long(keys: tuple[Path, Path]) -> None:
    private, public = keys
    text = create_token(private, kind=Kind.RUNNER, name="images", ttl=HOUR, queues=["thumbs", "images", "images"])
    [key] = public_keys(public.read_bytes()).values()
    token = jwt.decode(text, key.key, registry=ALGORITHMS)
    assert token.header == {"typ": "JWT", "alg": "EdDSA", "kid": key.kid}
    assert token.claims["exp"] - token.claims["iat"] == 3600
    assert {name: token.claims[name] for name in ("iss", "aud", "sub", "innosystem")} == {
        "iss": "innosystem",
        "aud": "innosystem",
        "sub": "images",
        "innosystem": {"kind": "runner", "queues": ["images", "thumbs"]},
    }


def test_what_a_client_or_a_runner_is_bound_to_is_never_left_out_of_a_token(keys: tuple[Path, Path]) -> None:
    private, public = keys
    [key] = public_keys(public.read_bytes()).values()
    granted = {
        kind: jwt.decode(create_token(private, kind=kind, name="x", ttl=HOUR), key.key, registry=ALGORITHMS).claims
        for kind in Kind
    }
    assert {kind: claims["innosystem"] for kind, claims in granted.items()} == {
        "CLIENT": {"kind": "client", "customers": "all"},
        "RUNNER": {"kind": "runner", "queues": "all"},
        "OPERATOR": {"kind": "operator"},
        "SERVICE": {"kind": "service"},
    }


def test_a_second_key_joins_the_first_until_that_is_deleted(keys: tuple[Path, Path]) -> None:
    private, public = keys
    [first] = public_keys(public.read_bytes())
    second = create_key(private.with_name("second.json"), public)
    assert [*public_keys(public.read_bytes())] == [first, second]
    delete_key(first, public)
    assert [*public_keys(public.read_bytes())] == [second]
    with pytest.raises(KeyError):
        delete_key(first, public)


def test_a_key_is_never_overwritten(keys: tuple[Path, Path]) -> None:
    private, public = keys
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(FileExistsError):
        create_key(private, public)
    assert (private.read_bytes(), public.read_bytes()) == before


def test_a_file_that_is_no_key_set_is_not_replaced(tmp_path: Path) -> None:
    public = tmp_path / "keys.json"
    public.write_text("{}")
    with pytest.raises(ValueError, match="no key set"):
        create_key(tmp_path / "key.json", public)
    assert not (tmp_path / "key.json").exists()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"kind": Kind.OPERATOR, "name": "", "ttl": HOUR}, "a name has"),
        ({"kind": Kind.OPERATOR, "name": "ada\n", "ttl": HOUR}, "a name has"),
        ({"kind": Kind.OPERATOR, "name": "a/b", "ttl": HOUR}, "a name has"),
        ({"kind": Kind.OPERATOR, "name": "ada", "ttl": timedelta(0)}, "at least a second"),
        ({"kind": Kind.OPERATOR, "name": "ada", "ttl": HOUR, "queues": ["a"]}, "queues are for a runner"),
        ({"kind": Kind.RUNNER, "name": "ada", "ttl": HOUR, "customers": [uuid4()]}, "customers are for a client"),
        ({"kind": Kind.RUNNER, "name": "ada", "ttl": HOUR, "queues": []}, "at least 1"),
        ({"kind": Kind.RUNNER, "name": "ada", "ttl": HOUR, "queues": ["A!"]}, "pattern"),
    ],
)
def test_a_token_that_services_would_refuse_is_not_made(
    keys: tuple[Path, Path], wrong: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        create_token(keys[0], **wrong)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kty": "oct", "k": "AAAA", "kid": "x"}', "PUBLIC"])
def test_a_file_without_a_private_key_signs_nothing(keys: tuple[Path, Path], text: str) -> None:
    private, public = keys
    entry = json.dumps(json.loads(public.read_bytes())["keys"][0])
    private.write_text(entry if text == "PUBLIC" else text)
    with pytest.raises(ValueError, match="holds no"):
        create_token(private, kind=Kind.OPERATOR, name="ada", ttl=HOUR)
