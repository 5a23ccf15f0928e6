"""API keys, without database and gRPC."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Self
from uuid import UUID

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
        request_digest: The parameters of the rotation that created the key, to compare with a repeated one; empty if
            no rotation created it.
    """

    id: UUID
    customer_id: UUID
    prefix: str
    hash: bytes
    request_digest: bytes = b""

    @classmethod
    def of(cls, secret: SecretKey, *, id: UUID, customer_id: UUID, request_digest: bytes = b"") -> Self:
        """Return the stored form of a key."""
        return cls(
            id=id, customer_id=customer_id, prefix=secret.prefix, hash=secret.hash, request_digest=request_digest
        )


@dataclass(frozen=True, kw_only=True)
class ApiKey(NewApiKey):
    """A stored API key.

    Attributes:
        expires_at: The expiry, past or future; None for the present key of a customer.
    """

    expires_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: int = 1

    def works(self, now: datetime) -> bool:
        """Return whether the key has not expired."""
        return self.expires_at is None or now < self.expires_at

    def expiring(self, at: datetime) -> Self:
        """Return the key with its expiry; an earlier expiry is kept."""
        return replace(self, expires_at=at if self.expires_at is None else min(at, self.expires_at))
