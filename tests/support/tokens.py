"""An issuer of tokens of any kind, right and wrong ones, and how a service checks them."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import serialize_compact

from services.kit.auth.grants import Callers, read_callers
from services.kit.auth.settings import AuthSettings, signed_tokens
from services.kit.auth.signing_keys import ALGORITHMS
from services.kit.auth.sources import Source, Sources, source_of
from services.kit.auth.tokens import SignedTokens


def new_key(algorithm: str = "EdDSA", kid: str = "k1") -> Key:
    """A private key."""
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", {"kid": kid})
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", {"kid": kid})
    return RSAKey.generate_key(2048, {"kid": kid})


def key_set(*keys: Key) -> str:
    """What services know of private keys."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token of the operator Ada, with others; one that is None is left out."""
    now = int(time.time())
    good = {
        "iss": "innosystem",
        "aud": "innosystem",
        "sub": "ada",
        "iat": now,
        "exp": now + 600,
        "innosystem": {"kind": "operator"},
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def signed(key: Key, payload: Mapping[str, Any] | str, algorithm: str = "EdDSA", **header: Any) -> str:
    """A token with a signature that is right, whatever it says."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return serialize_compact({"alg": algorithm, "kid": key.kid, **header}, text, key, registry=ALGORITHMS)


def verifier(folder: Path, mapping: str | None = None, **changed: Any) -> tuple[SignedTokens, Sources]:
    """How a service checks tokens with the keys in `keys.json` of a folder, and with a mapping."""
    settings = AuthSettings(**{"auth": "on", "auth_keys": str(folder / "keys.json"), **changed})
    sources = Sources()
    tokens = signed_tokens(settings, callers_of(folder, sources, mapping, settings), sources)
    tokens.load()
    return tokens, sources


def callers_of(folder: Path, sources: Sources, mapping: str | None, settings: AuthSettings) -> Source[Callers] | None:
    """The mapping, as a file that a service reads again."""
    if mapping is None:
        return None
    file = folder / "mapping.yaml"
    file.write_text(mapping)
    source = source_of(str(file), read_callers, kept_seconds=settings.auth_keys_kept_seconds)
    source.load()
    sources.add(source)
    return source
