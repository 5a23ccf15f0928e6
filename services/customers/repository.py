"""What the use cases ask of stored customers: on SQLAlchemy and in memory, with one contract suite for both."""

from collections.abc import Iterable, Mapping
from typing import Protocol
from uuid import UUID

from services.customers.domain import Customer, NewCustomer
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

EMAIL_CONSTRAINT = "uq_customers_email"
ID_CONSTRAINT = "pk_customers"


class CustomerRepository(Protocol):
    """Stored customers."""

    async def get(self, customer_id: UUID) -> Customer | None:
        """Answers the customer, or None."""
        ...

    async def get_by_api_key_hash(self, api_key_hash: bytes) -> Customer | None:
        """Answers the customer whose present or previous key has this hash, or None."""
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
