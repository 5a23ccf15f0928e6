"""The use cases of customers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from uuid_utils.compat import uuid7

from services.customers.rules import constraints
from services.customers.rules.api_keys import NewApiKey, SecretKey
from services.customers.rules.entities import Customer, NewCustomer
from services.customers.rules.errors import CustomerNotFound, EmailTaken
from services.customers.usecases.ports import ApiKeyRepository, Changed, CustomerRepository
from services.kit.auth.tenants import Tenants
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import DomainError, EtagMismatch
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page

#: How often a change is repeated after a concurrent change.
RETRIES: Final = 4
#: Stands for limits that an update keeps.
UNCHANGED: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class CreatedCustomer:
    """The result of a create: the key is None if the call was repeated."""

    customer: Customer
    api_key: SecretKey | None


class CustomersService:
    """The use cases of customers. Each is one database transaction.

    Args:
        transactions: The database transactions.
        customers: The stored customers.
        api_keys: The stored API keys.
        changed: Announces changes to other services.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        customers: CustomerRepository,
        api_keys: ApiKeyRepository,
        changed: Changed,
    ) -> None:
        self.transactions = transactions
        self._customers = customers
        self._api_keys = api_keys
        self._changed = changed

    async def create(self, customer_id: UUID, name: str, email: str) -> CreatedCustomer:
        """Store a customer with a new API key; a repeated call returns the customer without the key.

        Raises:
            EmailTaken: If another customer has the address.
            IdempotencyKeyReused: If the ID was used with another name or address.
        """
        parameters = {"name": name, "email": email}
        secret = SecretKey.generate()
        new = NewCustomer(
            id=customer_id,
            name=name,
            email=email,
            api_key_prefix=secret.prefix,
            api_key_hash=secret.hash,
            request_digest=digest(parameters),
        )
        try:
            async with self.transactions.begin():
                if (known := await self._customers.get(customer_id)) is None:
                    await self._api_keys.create(NewApiKey.of(secret, id=uuid7(), customer_id=customer_id))
                    return CreatedCustomer(await self._customers.create(new), secret)
        except AlreadyExists as error:
            # The same call may have won in another process: the database names either of the two constraints then.
            async with self.transactions.begin(read_only=True):
                known = await self._customers.get(customer_id)
            if known is None:
                raise _email_taken(error, email) from error
        check_same(parameters, known.request_digest)
        return CreatedCustomer(known, None)

    @transactional(read_only=True)
    async def get(self, customer_id: UUID, tenants: Tenants) -> Customer:
        """Return a customer.

        Raises:
            CustomerNotFound: If the customer does not exist.
        """
        if not tenants.own(customer_id):
            raise CustomerNotFound(customer_id)
        return existing(await self._customers.get(customer_id), customer_id)

    @transactional(read_only=True)
    async def get_many(self, customer_ids: Sequence[UUID], tenants: Tenants) -> list[Customer | DomainError]:
        """Return customers, or the error of a missing one, aligned with the IDs."""
        found = await self._customers.get_many({one for one in customer_ids if tenants.own(one)})
        return [found.get(one) or CustomerNotFound(one) for one in customer_ids]

    @transactional(read_only=True)
    async def list_page(self, query: ListQuery) -> Page[Customer]:
        """Return a page of customers."""
        return await self._customers.list_page(query)

    async def update(
        self,
        customer_id: UUID,
        *,
        name: str | None = None,
        email: str | None = None,
        limits: Mapping[str, Any] | None = UNCHANGED,
        etag: str = "",
    ) -> Customer:
        """Change what is given.

        Args:
            customer_id: The customer.
            name: The new name; None to keep it.
            email: The new address; None to keep it.
            limits: The new limits, None for those of the settings; `UNCHANGED` to keep them.
            etag: The present etag; empty for any.

        Raises:
            CustomerNotFound: If the customer does not exist.
            EmailTaken: If another customer has the address.
            EtagMismatch: If the etag is neither empty nor the present one.
        """
        changes: dict[str, Any] = {"name": name, "email": email}
        changes = {name: value for name, value in changes.items() if value is not None}
        if limits is not UNCHANGED:
            changes["limits"] = limits
        try:
            return await self._change(customer_id, changes, etag)
        except AlreadyExists as error:
            raise _email_taken(error, email or "", within="customer") from error

    async def set_active(self, customer_id: UUID, *, active: bool, etag: str = "") -> Customer:
        """Activate or deactivate a customer; a customer in that state stays unchanged.

        Raises:
            CustomerNotFound: If the customer does not exist.
            EtagMismatch: If the etag is neither empty nor the present one.
        """
        return await self._change(customer_id, {"active": active}, etag)

    @transactional(retries=RETRIES, patient=True)
    async def _change(self, customer_id: UUID, changes: dict[str, Any], etag: str) -> Customer:
        # Lock before reading, so that concurrent changes wait for each other.
        customer = existing(await self._customers.get_locked(customer_id), customer_id)
        if etag and etag != customer.etag:
            raise EtagMismatch
        changed = replace(customer, **changes)
        if changed == customer:
            return customer
        if (changed.active, changed.limits) != (customer.active, customer.limits):
            self.transactions.after_end(lambda: self._changed(customer_id))
        return await self._customers.update(changed)


def existing(customer: Customer | None, customer_id: UUID) -> Customer:
    """Return the customer.

    Raises:
        CustomerNotFound: If the customer does not exist.
    """
    if customer is None:
        raise CustomerNotFound(customer_id)
    return customer


def _email_taken(error: AlreadyExists, email: str, within: str = "") -> Exception:
    return EmailTaken(email).within(within) if error.constraint == constraints.CUSTOMER_EMAIL else error
