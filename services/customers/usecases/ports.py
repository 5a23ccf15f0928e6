"""The ports of the use cases. The stores in SQL and in memory implement them; one contract suite runs on both."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.kit.errors import DataCorrupt
from services.kit.query.page import ListQuery, Page

#: Announces that what other services remember of a customer is outdated. It neither waits nor fails.
Changed = Callable[[UUID], None]
#: Announces that what services remember of the API keys with these hashes is outdated. It neither waits nor fails.
KeysChanged = Callable[[Collection[bytes]], None]
#: Notes that an API key was used. It neither waits nor fails.
Used = Callable[[UUID], None]

#: How far two notes of a key's use lie apart, whatever the number of replicas.
USES_APART: Final = timedelta(seconds=45)


class CustomerRepository(Protocol):
    """Stored customers."""

    async def get(self, customer_id: UUID) -> Customer | None:
        """Return the customer, or None."""
        ...

    async def get_locked(self, customer_id: UUID) -> Customer | None:
        """Return the customer, locked until the database transaction ends; None if it does not exist."""
        ...

    async def get_many(self, ids: Iterable[UUID]) -> Mapping[UUID, Customer | DataCorrupt]:
        """Return the existing customers by ID; an unreadable row does not affect the others."""
        ...

    async def list_page(self, query: ListQuery) -> Page[Customer]:
        """Return a page of customers."""
        ...

    async def create(self, customer: NewCustomer) -> Customer:
        """Store a customer.

        Raises:
            AlreadyExists: With `constraints.CUSTOMER_ID` or `constraints.CUSTOMER_EMAIL`.
        """
        ...

    async def update(self, customer: Customer) -> Customer:
        """Store a changed customer and return it with its new version.

        Raises:
            AlreadyExists: With `constraints.CUSTOMER_EMAIL`.
            Conflict: If the stored version differs from the customer's.
        """
        ...


class ApiKeyRepository(Protocol):
    """Stored API keys."""

    async def get(self, api_key_id: UUID) -> ApiKey | None:
        """Return the key, or None."""
        ...

    async def by_hash(self, key_hash: bytes) -> ApiKey | None:
        """Return the key, ended or not, or None."""
        ...

    async def present(self, customer_id: UUID) -> Sequence[ApiKey]:
        """Return the keys of a customer that a rotation replaces: those without a name and without an expiry."""
        ...

    async def used(self, api_key_ids: Collection[UUID]) -> None:
        """Note that keys were just used, unless that was noted less than `USES_APART` ago."""
        ...

    async def list_page(self, query: ListQuery) -> Page[ApiKey]:
        """Return a page of keys."""
        ...

    async def create(self, key: NewApiKey) -> ApiKey:
        """Store a key.

        Raises:
            AlreadyExists: If the ID is taken.
        """
        ...

    async def update(self, key: ApiKey) -> ApiKey:
        """Store a changed key and return it with its new version.

        Raises:
            Conflict: If the stored version differs from the key's.
        """
        ...
