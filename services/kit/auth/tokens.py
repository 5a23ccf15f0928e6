"""Signed tokens (JWT): checked with the public keys of their issuers."""

import asyncio
import json
import time
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NoReturn

import structlog
from cachetools import TLRUCache, TTLCache
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jws import deserialize_compact
from joserfc.jwt import JWTClaimsRegistry
from pydantic import ValidationError

from services.kit.auth.grants import CLAIM, Caller, Callers, Grant, check_name
from services.kit.auth.peers import Room, address_of
from services.kit.auth.principal import Principal
from services.kit.auth.signing_keys import ALGORITHMS, SigningKey, public_keys
from services.kit.auth.sources import Source, SourceError, Sources, is_address, source_of
from services.kit.errors import BadCredentials, DependencyUnavailable

log = structlog.get_logger(__name__)

CREDENTIAL: Final = "token"

# More than the largest tokens of Kubernetes, and as much as gRPC takes as metadata by default.
_CHARS_MAX: Final = 8192
_PARTS: Final = 3
# How long a verified token is known. When a key is removed, all tokens are forgotten: this is for any other reason.
_KNOWN_SECONDS_MAX: Final = 60.0
_KNOWN_MAX: Final = 10_000
# How long it is remembered that a token was valid once: it is verified without a look at what its address sends.
_PROVEN_SECONDS: Final = 3600.0
# Tokens whose verification has not ended: a verification takes less than a millisecond, and the issuer a few seconds.
# An address alone gets half.
_PENDING_MAX: Final = 512
# Of these, the ones that wait for an issuer: an unavailable one leaves room for the tokens of others.
_WAITING_MAX: Final = 128


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a token may be.

    Attributes:
        life_seconds_max: The longest time from its issue to its end.
        clock_skew_seconds: How far the issuer's clock may differ from ours.
        keys_seconds: How often keys are read again from an address.
        keys_kept_seconds: How long keys remain in use that can't be read again.
    """

    life_seconds_max: float
    clock_skew_seconds: int
    keys_seconds: float
    keys_kept_seconds: float


@dataclass(frozen=True, kw_only=True)
class Trusted:
    """The platform's own issuer.

    Attributes:
        name: The claim `iss`.
        audience: The claim `aud`, also of other issuers that name none.
        keys: A file or an address with the public keys; empty if the platform issues no tokens.
    """

    name: str
    audience: str
    keys: str


class TokenRefused(Exception):
    """A token is not valid; the message says why, for logs and `innosystem tokens show`, and never for its sender."""


@dataclass(frozen=True)
class Verified:
    """A token that is valid now.

    Attributes:
        principal: Its caller.
        expires: When it ends, in seconds since 1970.
        issuer: Who has issued it.
        kid: The ID of the key that has signed it.
    """

    principal: Principal
    expires: float
    issuer: str
    kid: str


@dataclass(frozen=True)
class _Known:
    principal: Principal
    until: float


@dataclass(frozen=True)
class _Issuer:
    """One issuer: its keys, what it must claim, and who its subjects are; None if it is ours, and its claims say so."""

    keys: Source[Mapping[str, SigningKey]]
    claims: JWTClaimsRegistry
    subjects: Mapping[str, Caller] | None


class SignedTokens:
    """The callers of signed tokens.

    Args:
        own: The platform's own issuer.
        callers: The mapping, with other issuers, if there is one.
        sources: Where keys are read again.
        limits: What a token may be.
    """

    def __init__(self, own: Trusted, callers: Source[Callers] | None, sources: Sources, limits: Limits) -> None:
        self._own = own
        self._callers = callers
        self._sources = sources
        self._limits = limits
        self._issuers: dict[str, _Issuer] = {}
        self._keys: dict[tuple[str, ...], Source[Mapping[str, SigningKey]]] = {}
        self._known: TLRUCache[bytes, _Known] = TLRUCache(_KNOWN_MAX, ttu=_until, timer=time.monotonic)
        self._proven: TTLCache[bytes, None] = TTLCache(_KNOWN_MAX, _PROVEN_SECONDS)
        self._generation = 0
        self._pending, self._waiting = Room(_PENDING_MAX), Room(_WAITING_MAX)
        self._turn = asyncio.Lock()
        if callers is not None:
            callers.on_change = self._read_issuers
        self._read_issuers()

    def load(self) -> None:
        """Read the keys now: for the start of a process.

        Raises:
            SourceError: If a file can't be read, or has no key. An address may respond later.
        """
        for source in self._keys.values():
            try:
                source.load()
            except SourceError:
                if not is_address(source.name):
                    raise
            if not (source.value or is_address(source.name)):
                raise SourceError(f"{source.name}: there is no key for EdDSA, ES256 or RS256 with an ID")

    def knows(self, token: str) -> bool:
        """Whether it has the form of a signed token."""
        return token.count(".") == _PARTS - 1

    async def principal(self, token: str, peer: str = "") -> Principal:
        """Return the principal of a token.

        Args:
            token: The token.
            peer: Who has sent it, as gRPC names it.

        Raises:
            BadCredentials: If it is not valid; the log has the reason.
            DependencyUnavailable: If its issuer's keys can't be read now.
            Overloaded: If too many tokens of its address wait for their verification.
        """
        digest = blake2b(token[: _CHARS_MAX + 1].encode("utf-8", "replace"), digest_size=32).digest()
        if (known := self._known.get(digest)) is not None:
            return known.principal
        generation = self._generation
        try:
            if digest in self._proven:
                verified = await self.verify(token)
            else:
                with self._pending.place(address_of(peer)):
                    verified = await self.verify(token, address_of(peer))
        except TokenRefused as refused:
            log.info("token_refused", why=str(refused))
            raise BadCredentials from None
        self._proven[digest] = None
        if generation == self._generation:
            left = verified.expires + self._limits.clock_skew_seconds - time.time()
            self._known[digest] = _Known(verified.principal, time.monotonic() + min(left, _KNOWN_SECONDS_MAX))
        return verified.principal

    async def verify(self, token: str, address: str = "") -> Verified:
        """Check a token, whether or not it is known already.

        Args:
            token: The token.
            address: Where it comes from.

        Raises:
            TokenRefused: If it is not valid.
            DependencyUnavailable: If its issuer's keys can't be read now.
        """
        header, claims = read_token(token)
        issuer = self._issuer(claims)
        key = await self._key(issuer, header, address)
        # One at a time, with the loop's other work in between: a flood of forged tokens does not stop the rest.
        async with self._turn:
            await asyncio.sleep(0)
            try:
                deserialize_compact(token, key.key, registry=ALGORITHMS)
            except (JoseError, ValueError):
                raise TokenRefused(f"its signature is not that of the key {key.kid}") from None
        expires = self._check(issuer.claims, claims)
        return Verified(_principal(issuer.subjects, claims), expires, claims["iss"], key.kid)

    def _issuer(self, claims: dict[str, Any]) -> _Issuer:
        name = claims.get("iss")
        if self._callers is not None and self._callers.value is None and name != self._own.name:
            raise DependencyUnavailable("callers mapping", 1)
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise TokenRefused(f"its issuer is unknown: {_shown(name)}")
        return issuer

    async def _key(self, issuer: _Issuer, header: dict[str, Any], address: str) -> SigningKey:
        if "crit" in header or "b64" in header:
            raise TokenRefused("its header asks for what this release can't do")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise TokenRefused("its header has no key ID (kid)")
        keys = issuer.keys.value
        if keys is None or kid not in keys:
            keys = await self._newer(issuer.keys, kid, address)
        if keys is None or (kid not in keys and issuer.keys.failing):
            raise DependencyUnavailable("token issuer", 1)
        if kid not in keys:
            raise TokenRefused(f"its issuer has no key with the ID {_shown(kid)}")
        if header.get("alg") != keys[kid].algorithm:
            raise TokenRefused(f"its algorithm is {_shown(header.get('alg'))}, the key's is {keys[kid].algorithm}")
        return keys[kid]

    async def _newer(
        self, keys: Source[Mapping[str, SigningKey]], kid: str, address: str
    ) -> Mapping[str, SigningKey] | None:
        if not self._waiting.has_place(address):
            raise DependencyUnavailable("token issuer", 1)
        with self._waiting.place(address):
            return await keys.newer(lambda found: kid in found)

    def _check(self, registry: JWTClaimsRegistry, claims: dict[str, Any]) -> float:
        try:
            registry.validate(claims)
        except ExpiredTokenError:
            raise TokenRefused("it has expired") from None
        except (JoseError, TypeError) as error:
            raise TokenRefused(str(error)) from None
        issued, expires = claims["iat"], claims["exp"]
        if expires - issued > self._limits.life_seconds_max:
            raise TokenRefused(f"it is valid for more than {self._limits.life_seconds_max:.0f} s")
        return float(expires)

    def _read_issuers(self) -> None:
        """Take the issuers of the mapping; known keys remain known."""
        others = (self._callers.value if self._callers is not None else None) or Callers()
        before, self._keys = self._keys, {}
        self._issuers = {
            name: self._issuer_of(name, one.audience, (one.keys, one.ca_file, one.token_file), before, one.subjects)
            for name, one in others.issuers.items()
        }
        if self._own.keys:
            self._issuers[self._own.name] = self._issuer_of(self._own.name, "", (self._own.keys, "", ""), before, None)
        for place, source in before.items():
            if place not in self._keys:
                self._sources.remove(source)
        self._forget()

    def _issuer_of(
        self,
        name: str,
        audience: str,
        place: tuple[str, str, str],
        before: Mapping[tuple[str, ...], Source[Mapping[str, SigningKey]]],
        subjects: Mapping[str, Caller] | None,
    ) -> _Issuer:
        if place not in self._keys:
            self._keys[place] = before.get(place) or self._source(*place)
        registry = JWTClaimsRegistry(
            leeway=self._limits.clock_skew_seconds,
            iss={"essential": True, "value": name},
            aud={"essential": True, "value": audience or self._own.audience},
            sub={"essential": True},
            iat={"essential": True},
            exp={"essential": True},
        )
        return _Issuer(self._keys[place], registry, subjects)

    def _source(self, where: str, ca_file: str, token_file: str) -> Source[Mapping[str, SigningKey]]:
        source = source_of(
            where,
            public_keys,
            address_seconds=self._limits.keys_seconds,
            kept_seconds=self._limits.keys_kept_seconds,
            ca_file=ca_file,
            token_file=token_file,
        )
        source.on_change = self._forget
        self._sources.add(source)
        return source

    def _forget(self) -> None:
        self._known.clear()
        self._generation += 1


def _until(_digest: bytes, known: _Known, _now: float) -> float:
    return known.until


def read_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token, whose signature may be anything.

    Raises:
        TokenRefused: If it has none.
    """
    if len(token) > _CHARS_MAX:
        raise TokenRefused(f"it has more than {_CHARS_MAX} characters")
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise TokenRefused("it is no signed token: header.claims.signature")
    return _object("header", parts[0]), _object("claims", parts[1])


def _object(what: str, part: str) -> dict[str, Any]:
    try:
        text = b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True).decode()
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TokenRefused(f"its {what} can't be read")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, unless a name is there twice, of which others may read the other one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_number(_constant: str) -> NoReturn:
    raise ValueError


def _principal(subjects: Mapping[str, Caller] | None, claims: dict[str, Any]) -> Principal:
    subject = claims["sub"]
    if subjects is not None:
        if (caller := subjects.get(subject)) is None:
            raise TokenRefused(f"the mapping has no entry for its subject {_shown(subject)}")
        return caller.caller(subject, CREDENTIAL)
    try:
        return Grant.model_validate(claims.get(CLAIM)).principal(check_name(subject), CREDENTIAL)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise TokenRefused(f"its claim {CLAIM} grants nothing: {problem}") from None
    except ValueError as error:
        raise TokenRefused(f"its subject is no name of a caller: {error}") from None


def _shown(value: object) -> str:
    """Return what the sender of a token has written, for a log line."""
    return repr(value)[:100]
