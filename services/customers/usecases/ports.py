"""The ports of the use cases. The stores in SQL and in memory implement them; one contract suite runs on both."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.kit.errors import DataCorrupt
from services.kit.query.page import ListQuery, Page

#: Announces that what other services remember of a customer is outdated. It neither waits nor fails.
Changed = Callable[[UUID], None]


class CustomerRepository(Protocol):
    """Stored customers."""

    async def get(self, customer_id: UUID) -> Customer | None:
        """Return the customer, or None."""
        ...

    async def get_locked(self, customer_id: UUID) -> Customer | None:
        """Return the customer, locked until the database transaction ends; None if it does not exist."""
        ...

    async def get_by_api_key_hash(self, api_key_hash: bytes, now: datetime) -> Customer | None:
        """Return the customer with a key of this hash that has not expired, or None."""
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

    async def without_expiry(self, customer_id: UUID) -> Sequence[ApiKey]:
        """Return the keys of a customer that have no expiry."""
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
