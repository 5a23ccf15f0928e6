"""Customers, without database and gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from services.customers.rules.api_keys import NewApiKey


@dataclass(frozen=True, kw_only=True)
class NewCustomer:
    """A customer about to be stored.

    Attributes:
        api_key_prefix: The prefix of the present key, which a rotation replaces; empty without a present key.
        api_key_hash: The hash of the present key, for the previous release.
        request_digest: The parameters of the create, to compare with a repeated one (`services.kit.idempotency`).
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

    The hashes of keys are for the previous release, which looks up keys only here. The next release removes them: keys
    have a table of their own (`services.customers.rules.api_keys`).

    Attributes:
        previous_api_key_hash: The hash of the previous key, which works until `previous_api_key_expires_at`.
        limits: The limits that differ from the settings, as JSON of the contract's message; None if none does.
        version: Counts the changes; the etag.
    """

    previous_api_key_hash: bytes | None = None
    previous_api_key_expires_at: datetime | None = None
    active: bool = True
    limits: Mapping[str, Any] | None = None
    created_at: datetime
    updated_at: datetime
    version: int = 1

    @property
    def etag(self) -> str:
        """The version, which changes with every change of the customer."""
        return str(self.version)

    def with_key(self, key: NewApiKey, until: datetime | None) -> Self:
        """Return the customer with its next present key.

        Args:
            key: The new key.
            until: The expiry of the replaced key; None to end it now.
        """
        kept = self.api_key_hash is not None and until is not None
        return replace(
            self,
            api_key_prefix=key.prefix,
            api_key_hash=key.hash,
            previous_api_key_hash=self.api_key_hash if kept else None,
            previous_api_key_expires_at=until if kept else None,
        )

    def without_key(self, key: NewApiKey) -> Self:
        """Return the customer without a key, if it is the present or the previous one."""
        if key.hash == self.api_key_hash:
            return replace(self, api_key_prefix="", api_key_hash=None)
        if key.hash == self.previous_api_key_hash:
            return replace(self, previous_api_key_hash=None, previous_api_key_expires_at=None)
        return self
