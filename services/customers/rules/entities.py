"""Customers, without database and gRPC."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from uuid import UUID

from services.customers.rules.api_keys import NewApiKey


@dataclass(frozen=True, kw_only=True)
class NewCustomer:
    """A customer about to be stored.

    Attributes:
        api_key_prefix: Of the present key, the one that a rotation replaces; empty if there is none.
        api_key_hash: Of the same key, for the release before this one.
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

    The hashes of keys are here for the release before this one, which looks for keys nowhere else. They are to go with
    the release after this one; the keys are in a table of their own (`services.customers.rules.api_keys`).

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

    def with_key(self, key: NewApiKey, until: datetime | None) -> Self:
        """Gives the customer its next present key.

        Args:
            key: The new key.
            until: When the one before it ends; None if that is now.
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
        """Takes a key away, if it is the present or the previous one."""
        if key.hash == self.api_key_hash:
            return replace(self, api_key_prefix="", api_key_hash=None)
        if key.hash == self.previous_api_key_hash:
            return replace(self, previous_api_key_hash=None, previous_api_key_expires_at=None)
        return self
