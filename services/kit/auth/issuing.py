"""The platform's own tokens: making the keys that sign them, and signing them. No service does either."""

import json
import os
import secrets
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import Key, OKPKey

from services.kit.auth.grants import AUDIENCE, CLAIM, ISSUER, Grant, check_name
from services.kit.auth.principal import Kind
from services.kit.auth.signing_keys import ALGORITHMS, algorithm_of, imported

_PRIVATE: Final = 0o600
_PUBLIC: Final = 0o644


def create_key(key_file: Path, public_file: Path) -> str:
    """Create a key for tokens: Ed25519, as a JSON Web Key.

    Services take every key of the public file, so a new key replaces an old one without a pause: create it, let
    services read the public file, sign with it, and remove the old key when the last of its tokens has expired.

    Args:
        key_file: Where the private key is written, for its owner only. It must not exist.
        public_file: The key set for INNOSYSTEM_AUTH_KEYS, to which the public key is added; created if it is missing.

    Returns:
        The key's ID.

    Raises:
        FileExistsError: There is a private key already.
        ValueError: The public file exists and is no key set.
        OSError: A file can't be read or written.
    """
    if key_file.exists():
        raise FileExistsError(f"{key_file} exists: a key is never overwritten")
    generated = OKPKey.generate_key("Ed25519")
    kid = generated.thumbprint()
    marked = {"kid": kid, "use": "sig", "alg": "EdDSA"}
    entries = _key_set(public_file) if public_file.exists() else []
    # The public key first: a private key that no service knows would make tokens that all of them refuse.
    _replace(public_file, {"keys": [*entries, {**generated.as_dict(private=False), **marked}]})
    _write_new(key_file, {**generated.as_dict(private=True), **marked})
    return kid


def delete_key(kid: str, public_file: Path) -> None:
    """Remove a public key, so that services refuse the tokens that it has signed.

    Args:
        kid: The key's ID.
        public_file: The key set.

    Raises:
        KeyError: No key has the ID.
        ValueError: The public file is no key set.
        OSError: It can't be read or written.
    """
    entries = _key_set(public_file)
    left = [one for one in entries if one.get("kid") != kid]
    if len(left) == len(entries):
        raise KeyError(kid)
    _replace(public_file, {"keys": left})


def create_token(
    key_file: Path,
    *,
    kind: Kind,
    name: str,
    ttl: timedelta,
    customers: Iterable[UUID] | None = None,
    queues: Iterable[str] | None = None,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
) -> str:
    """Sign a token.

    Args:
        key_file: The private key: a JSON Web Key for EdDSA, ES256 or RS256, with an ID.
        kind: The kind of caller.
        name: Its name, the second part of the actor `operator/ada`.
        ttl: How long it is valid from now on, in whole seconds.
        customers: The customers that a client is bound to; None for all.
        queues: The queues that a runner is bound to; None for all.
        issuer: INNOSYSTEM_AUTH_ISSUER of the services.
        audience: INNOSYSTEM_AUTH_AUDIENCE of the services.

    Returns:
        The token.

    Raises:
        ValueError: The key file holds no such key, or the token would be refused; the message says why.
        OSError: The key file can't be read.
    """
    key = _private_key(key_file)
    bound = {
        "customers": _bound(customers, is_bindable=kind is Kind.CLIENT),
        "queues": _bound(queues, is_bindable=kind is Kind.RUNNER),
    }
    grant = Grant.model_validate({"kind": kind.lower(), **bound})
    if ttl < timedelta(seconds=1):
        raise ValueError("a token must be valid for at least a second")
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": check_name(name),
        "iat": now,
        "exp": now + int(ttl.total_seconds()),
        "jti": secrets.token_hex(8),
        CLAIM: grant.model_dump(mode="json", exclude_none=True),
    }
    return jwt.encode({"alg": algorithm_of(key), "kid": key.kid}, claims, key, registry=ALGORITHMS)


def _bound(given: Iterable[Any] | None, *, is_bindable: bool) -> Any:
    if given is not None:
        return sorted({str(one) for one in given})
    return "all" if is_bindable else None


def _private_key(key_file: Path) -> Key:
    try:
        entry = json.loads(key_file.read_bytes())
    except (ValueError, RecursionError):
        entry = None
    key = imported(entry) if isinstance(entry, dict) else None
    if key is None or not key.is_private or not key.kid or not algorithm_of(key):
        raise ValueError(f"{key_file} holds no private key for EdDSA, ES256 or RS256 with an ID")
    return key


def _key_set(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_bytes())["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        entries = None
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise ValueError(f'{path} is no key set: {{"keys": [...]}}')
    return entries


def _write_new(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w", encoding="ascii") as file:
        file.write(json.dumps(document) + "\n")


def _replace(path: Path, document: dict[str, Any]) -> None:
    """Write a file in one step, so that a service that reads it meanwhile sees the old or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PUBLIC), "w", encoding="ascii") as file:
        file.write(json.dumps(document, indent=2) + "\n")
    temporary.replace(path)
