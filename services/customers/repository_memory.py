"""Customers in memory, for tests."""

from services.customers.domain import Customer, NewCustomer
from services.customers.repository import CUSTOMERS, EMAIL_CONSTRAINT, ID_CONSTRAINT
from services.kit.data.repository_memory import MemoryRepository, Unique


class MemoryCustomerRepository(MemoryRepository[Customer, NewCustomer]):
    """The customers of a `MemoryStore`."""

    table = "customers"
    entity = Customer
    resource = CUSTOMERS
    audited = True
    unique = (
        Unique(ID_CONSTRAINT, lambda customer: customer.id),
        Unique(EMAIL_CONSTRAINT, lambda customer: customer.email.lower()),
    )

    async def get_by_api_key_hash(self, api_key_hash: bytes) -> Customer | None:
        """Looks at all of them."""
        for customer in self._rows.values():
            if api_key_hash in (customer.api_key_hash, customer.previous_api_key_hash):
                return customer
        return None
