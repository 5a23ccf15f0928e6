"""API keys, without database and gRPC."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Self
from uuid import UUID

from services.kit.auth.principal import Scope

PREFIX_LENGTH = 12


@dataclass(frozen=True)
class SecretKey:
    """An API key as its customer receives it, once. Only its hash and its prefix are stored.

    It contains 32 random bytes, so a plain hash is enough: unlike a password, it cannot be guessed.
    """

    secret: str

    @classmethod
    def generate(cls) -> Self:
        """Create a new random key."""
        return cls("inno_" + secrets.token_urlsafe(32))

    @property
    def prefix(self) -> str:
        """The first characters, by which people tell keys apart."""
        return self.secret[:PREFIX_LENGTH]

    @property
    def hash(self) -> bytes:
        """The stored hash: SHA-256, 32 bytes."""
        return sha256(self.secret.encode()).digest()


@dataclass(frozen=True, kw_only=True)
class NewApiKey:
    """An API key about to be stored.

    Attributes:
        name: What the key is for; empty for a key that rotations replace.
        may_read: Whether it may be used to read and watch.
        may_submit: Whether it may be used to submit, cancel and retry.
        expires_at: The expiry, past or future; None for a key without an end.
        request_digest: The parameters of the call that created the key, to compare with a repeated one; empty for the
            first key of a customer.
    """

    id: UUID
    customer_id: UUID
    name: str = ""
    prefix: str
    hash: bytes
    may_read: bool = True
    may_submit: bool = True
    expires_at: datetime | None = None
    request_digest: bytes = b""

    @classmethod
    def of(cls, secret: SecretKey, *, id: UUID, customer_id: UUID, **values: Any) -> Self:
        """Return the stored form of a key.

        Args:
            secret: The key.
            id: Its ID.
            customer_id: Its customer.
            values: Other attributes.
        """
        return cls(id=id, customer_id=customer_id, prefix=secret.prefix, hash=secret.hash, **values)

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the key may be used for."""
        allowed = ((Scope.READ, self.may_read), (Scope.SUBMIT, self.may_submit))
        return frozenset(scope for scope, is_allowed in allowed if is_allowed)


@dataclass(frozen=True, kw_only=True)
class ApiKey(NewApiKey):
    """A stored API key.

    Attributes:
        last_used_at: When it was last used, roughly; None if it never was, as far as that was noted.
    """

    last_used_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: int = 1

    def works(self, now: datetime) -> bool:
        """Return whether the key has not expired."""
        return self.expires_at is None or now < self.expires_at

    def expiring(self, at: datetime) -> Self:
        """Return the key with its expiry; an earlier expiry is kept."""
        return replace(self, expires_at=at if self.expires_at is None else min(at, self.expires_at))
