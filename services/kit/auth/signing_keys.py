"""The keys of signed tokens, as JSON Web Keys, and the algorithms that they are for."""

import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

_RSA_BITS_MIN: Final = 2048
_KEYS_MAX: Final = 100
_TYPES: Final = ("OKP", "EC", "RSA")


def _eddsa() -> Any:
    """Return EdDSA without the warning that RFC 9864 names each curve: keys are of Ed25519 only, see `algorithm_of`."""
    algorithm = copy(JWSRegistry.algorithms["EdDSA"])
    algorithm.security_warning = None
    return algorithm


class Algorithms(JWSRegistry):
    """The algorithms of tokens: each is for one type of public key, so no key can be taken for a shared secret."""

    algorithms = {  # noqa: RUF012 - as in the base class
        "EdDSA": _eddsa(),
        "ES256": JWSRegistry.algorithms["ES256"],
        "RS256": JWSRegistry.algorithms["RS256"],
    }


#: For signing and verifying.
ALGORITHMS: Final = Algorithms(algorithms=[*Algorithms.algorithms], strict_check_header=False)


@dataclass(frozen=True)
class SigningKey:
    """A public key.

    Attributes:
        kid: Its ID.
        algorithm: The algorithm that it is for.
        key: The key.
    """

    kid: str
    algorithm: str
    key: Key


def public_keys(data: bytes) -> Mapping[str, SigningKey]:
    """Read a JSON Web Key Set.

    Keys of other types and for other purposes are left out, as RFC 7517 asks for.

    Returns:
        The public keys by ID. A set without keys is valid: then no token is accepted.

    Raises:
        ValueError: The text is no key set, has two keys with one ID, or a private one; it says which.
    """
    found: dict[str, SigningKey] = {}
    for one in _entries(data):
        if "d" in one or one.get("kty") == "oct":
            raise ValueError(f"the key {_shown(one)} is secret: give services only the public keys")
        if (key := _public_key(one)) is None:
            continue
        if key.kid in found:
            raise ValueError(f"two keys have the ID {_shown(one)}")
        found[key.kid] = key
    return found


def imported(entry: dict[str, Any]) -> Key | None:
    """Return the key of an entry of a key set; None if it is broken, or of no type that signs our tokens."""
    if entry.get("kty") not in _TYPES:
        return None
    try:
        return JWKRegistry.import_key(entry)
    # What is broken or weak must not void the other keys of its set.
    except (JoseError, SecurityWarning, ValueError, TypeError):
        return None


def algorithm_of(key: Key) -> str | None:
    """Return the algorithm that a key is for; None if it is for none of ours."""
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        fits = "EdDSA"
    elif isinstance(key, ECKey) and key.curve_name == "P-256":
        fits = "ES256"
    elif isinstance(key, RSAKey) and key.public_key.key_size >= _RSA_BITS_MIN:
        fits = "RS256"
    else:
        return None
    return fits if key.alg in (None, fits) else None


def _entries(data: bytes) -> list[dict[str, Any]]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise ValueError('it is no key set: {"keys": [...]}')
    if len(entries) > _KEYS_MAX:
        raise ValueError(f"there are more than {_KEYS_MAX} keys")
    return entries


def _public_key(entry: dict[str, Any]) -> SigningKey | None:
    kid = entry.get("kid")
    if not isinstance(kid, str) or not kid or entry.get("use", "sig") != "sig":
        return None
    key = imported(entry)
    algorithm = algorithm_of(key) if key else None
    return SigningKey(kid, algorithm, key) if key and algorithm else None


def _shown(entry: dict[str, Any]) -> str:
    return repr(entry.get("kid"))[:100]
