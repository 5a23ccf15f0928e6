"""Customers and API keys, without database and gRPC."""

import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Self
from uuid import UUID

API_KEY_PREFIX_LENGTH = 12


@dataclass(frozen=True)
class ApiKey:
    """An API key as it is handed out, once. Only what is derived from it is stored.

    It is 32 random bytes, so a plain hash is enough: there is nothing to guess, other than with a password.
    """

    secret: str

    @classmethod
    def generate(cls) -> Self:
        """Makes a new random key."""
        return cls("inno_" + secrets.token_urlsafe(32))

    @property
    def prefix(self) -> str:
        """The first characters, enough for a person to tell keys apart."""
        return self.secret[:API_KEY_PREFIX_LENGTH]

    @property
    def hash(self) -> bytes:
        """What is stored: SHA-256, 32 bytes."""
        return sha256(self.secret.encode()).digest()


@dataclass(frozen=True, kw_only=True)
class NewCustomer:
    """A customer about to be stored.

    Attributes:
        request_digest: Tells whether a repeated create has the same parameters (`services.kit.idempotency`).
    """

    id: UUID
    name: str
    email: str
    api_key_prefix: str = ""
    api_key_hash: bytes | None = None
    request_digest: bytes


@dataclass(frozen=True, kw_only=True)
class Customer(NewCustomer):
    """A stored customer.

    Attributes:
        previous_api_key_hash: The key before the present one, which works until `previous_api_key_expires_at`.
        version: Counts the changes; the etag.
    """

    previous_api_key_hash: bytes | None = None
    previous_api_key_expires_at: datetime | None = None
    active: bool = True
    created_at: datetime
    updated_at: datetime
    version: int = 1

    @property
    def etag(self) -> str:
        """Changes with every change of the customer."""
        return str(self.version)

    def with_new_key(self, key: ApiKey, now: datetime, overlap: timedelta) -> Self:
        """Replaces the API key; the present one works until the overlap has passed."""
        keep = self.api_key_hash is not None and overlap > timedelta(0)
        return replace(
            self,
            api_key_prefix=key.prefix,
            api_key_hash=key.hash,
            previous_api_key_hash=self.api_key_hash if keep else None,
            previous_api_key_expires_at=now + overlap if keep else None,
        )

    def accepts_key(self, key: ApiKey, now: datetime) -> bool:
        """Whether the key is the present one, or the previous one within its overlap."""
        if self.api_key_hash is not None and hmac.compare_digest(self.api_key_hash, key.hash):
            return True
        return (
            self.previous_api_key_hash is not None
            and self.previous_api_key_expires_at is not None
            and now < self.previous_api_key_expires_at
            and hmac.compare_digest(self.previous_api_key_hash, key.hash)
        )
