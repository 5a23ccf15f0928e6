"""What can be done with customers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.customers.domain import ApiKey, Customer, NewCustomer
from services.customers.errors import BadApiKey, CustomerNotFound, EmailTaken
from services.customers.repository import EMAIL_CONSTRAINT, CustomerRepository
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactional import transactional
from services.kit.data.transactions import Transactions
from services.kit.errors import DomainError, EtagMismatch
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page


@dataclass(frozen=True)
class CreatedCustomer:
    """The answer to a create: the key is None if the call was a repeated one."""

    customer: Customer
    api_key: ApiKey | None


class CustomersService:
    """The use cases of customers. Each is one transaction.

    Args:
        transactions: Where they begin.
        customers: The stored customers.
        now: The time, for the overlap of API keys.
    """

    def __init__(
        self, transactions: Transactions[Any], customers: CustomerRepository, now: Callable[[], datetime]
    ) -> None:
        self.transactions = transactions
        self._customers = customers
        self._now = now

    async def create(self, customer_id: UUID, name: str, email: str) -> CreatedCustomer:
        """Stores a customer with a new API key; the same call again answers the customer without key.

        Raises:
            EmailTaken: If another customer has the address.
            IdempotencyKeyReused: If the ID was used with another name or address.
        """
        parameters = {"name": name, "email": email}
        key = ApiKey.generate()
        new = NewCustomer(
            id=customer_id,
            name=name,
            email=email,
            api_key_prefix=key.prefix,
            api_key_hash=key.hash,
            request_digest=digest(parameters),
        )
        try:
            async with self.transactions.begin():
                if (known := await self._customers.get(customer_id)) is None:
                    return CreatedCustomer(await self._customers.create(new), key)
        except AlreadyExists as error:
            # The same call may have been faster in another process: then both constraints may be the one named.
            async with self.transactions.begin(read_only=True):
                known = await self._customers.get(customer_id)
            if known is None:
                raise _email_taken(error, email) from error
        check_same(parameters, known.request_digest)
        return CreatedCustomer(known, None)

    @transactional(read_only=True)
    async def get(self, customer_id: UUID) -> Customer:
        """Answers a customer.

        Raises:
            CustomerNotFound: If there is none.
        """
        return await self._existing(customer_id)

    @transactional(read_only=True)
    async def get_many(self, customer_ids: Sequence[UUID]) -> list[Customer | DomainError]:
        """Answers customers, or that there is none, aligned with the IDs."""
        found = await self._customers.get_many(set(customer_ids))
        return [found.get(one) or CustomerNotFound(one) for one in customer_ids]

    @transactional(read_only=True)
    async def list_page(self, query: ListQuery) -> Page[Customer]:
        """Answers a page of customers."""
        return await self._customers.list_page(query)

    async def update(self, customer_id: UUID, *, name: str | None, email: str | None, etag: str) -> Customer:
        """Changes what is not None.

        Raises:
            CustomerNotFound: If there is none.
            EmailTaken: If another customer has the address.
            EtagMismatch: If the etag is not empty and not the present one.
        """
        try:
            async with self.transactions.begin():
                customer = await self._existing(customer_id, etag)
                changed = replace(
                    customer,
                    name=customer.name if name is None else name,
                    email=customer.email if email is None else email,
                )
                return await self._store(customer, changed)
        except AlreadyExists as error:
            raise _email_taken(error, email or "") from error

    @transactional()
    async def set_active(self, customer_id: UUID, *, active: bool, etag: str = "") -> Customer:
        """Makes a customer active or inactive; one that is so already stays as it is.

        Raises:
            CustomerNotFound: If there is none.
            EtagMismatch: If the etag is not empty and not the present one.
        """
        customer = await self._existing(customer_id, etag)
        return await self._store(customer, replace(customer, active=active))

    @transactional()
    async def rotate_api_key(self, customer_id: UUID, overlap: timedelta) -> tuple[ApiKey, Customer]:
        """Replaces the API key; the old one works until the overlap has passed.

        Raises:
            CustomerNotFound: If there is none.
        """
        key = ApiKey.generate()
        customer = await self._existing(customer_id)
        return key, await self._store(customer, customer.with_new_key(key, self._now(), overlap))

    @transactional(read_only=True)
    async def resolve_api_key(self, secret: str) -> Customer:
        """Answers the customer a key belongs to, active or not.

        Raises:
            BadApiKey: If the key is unknown or its overlap has ended.
        """
        key = ApiKey(secret)
        customer = await self._customers.get_by_api_key_hash(key.hash)
        if customer is None or not customer.accepts_key(key, self._now()):
            raise BadApiKey
        return customer

    async def _existing(self, customer_id: UUID, etag: str = "") -> Customer:
        customer = await self._customers.get(customer_id)
        if customer is None:
            raise CustomerNotFound(customer_id)
        if etag and etag != customer.etag:
            raise EtagMismatch
        return customer

    async def _store(self, customer: Customer, changed: Customer) -> Customer:
        return customer if changed == customer else await self._customers.update(changed)


def _email_taken(error: AlreadyExists, email: str) -> Exception:
    return EmailTaken(email) if error.constraint == EMAIL_CONSTRAINT else error
