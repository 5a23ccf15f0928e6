"""What the use cases ask of stored customers: on SQLAlchemy and in memory, with one contract suite for both."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.customers.rules.api_keys import ApiKey, NewApiKey
from services.customers.rules.entities import Customer, NewCustomer
from services.kit.errors import DataCorrupt
from services.kit.query.fields import BooleanField, StringField, TimestampField, UuidField
from services.kit.query.page import ListQuery, Page
from services.kit.query.resource import Resource

ID = UuidField("id", sortable=True)
NAME = StringField("name", sortable=True)
EMAIL = StringField("email", sortable=True)
ACTIVE = BooleanField("active")
CREATED_AT = TimestampField("created_at", sortable=True)
UPDATED_AT = TimestampField("updated_at", sortable=True)

CUSTOMERS = Resource(
    "customers",
    (ID, NAME, EMAIL, ACTIVE, CREATED_AT, UPDATED_AT),
    default_order=(CREATED_AT.descending(),),
)

CUSTOMER_ID = UuidField("customer_id")

API_KEYS = Resource(
    "api_keys",
    (ID, StringField("prefix"), CREATED_AT, TimestampField("expires_at")),
    default_order=(CREATED_AT.descending(),),
)

EMAIL_CONSTRAINT = "uq_customers_email"
ID_CONSTRAINT = "pk_customers"


class CustomerRepository(Protocol):
    """Stored customers."""

    async def get(self, customer_id: UUID) -> Customer | None:
        """Answers the customer, or None."""
        ...

    async def get_locked(self, customer_id: UUID) -> Customer | None:
        """Return the customer, which nobody else changes until the transaction ends; None if there is none."""
        ...

    async def get_by_api_key_hash(self, api_key_hash: bytes, now: datetime) -> Customer | None:
        """Return the customer that has a key with this hash which has not ended, or None."""
        ...

    async def get_many(self, ids: Iterable[UUID]) -> Mapping[UUID, Customer | DataCorrupt]:
        """Answers those that exist, by ID; a row that is not understood does not spoil the others."""
        ...

    async def list_page(self, query: ListQuery) -> Page[Customer]:
        """Answers a page of customers."""
        ...

    async def create(self, customer: NewCustomer) -> Customer:
        """Stores a customer.

        Raises:
            AlreadyExists: With `ID_CONSTRAINT` or `EMAIL_CONSTRAINT`.
        """
        ...

    async def update(self, customer: Customer) -> Customer:
        """Stores a changed customer and answers it with its new version.

        Raises:
            AlreadyExists: With `EMAIL_CONSTRAINT`.
            Conflict: If the stored version is not the customer's.
        """
        ...


class ApiKeyRepository(Protocol):
    """Stored API keys."""

    async def get(self, api_key_id: UUID) -> ApiKey | None:
        """Return the key, or None."""
        ...

    async def without_end(self, customer_id: UUID) -> Sequence[ApiKey]:
        """Return the keys of a customer that were given no end."""
        ...

    async def list_page(self, query: ListQuery) -> Page[ApiKey]:
        """Return a page of keys."""
        ...

    async def create(self, key: NewApiKey) -> ApiKey:
        """Store a key.

        Raises:
            AlreadyExists: If the ID is used.
        """
        ...

    async def update(self, key: ApiKey) -> ApiKey:
        """Store a changed key and return it with its new version.

        Raises:
            Conflict: If the stored version is not the key's.
        """
        ...
