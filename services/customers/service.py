"""What can be done with customers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.customers.domain import ApiKey, Customer, NewCustomer
from services.customers.errors import BadApiKey, CustomerNotFound, EmailTaken
from services.customers.repository import EMAIL_CONSTRAINT, CustomersUnitOfWork
from services.kit.data.errors import AlreadyExists
from services.kit.errors import EtagMismatch
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
        unit_of_work: Begins a transaction.
        now: The time, for the overlap of API keys.
    """

    def __init__(self, unit_of_work: Callable[[], CustomersUnitOfWork], now: Callable[[], datetime]) -> None:
        self._unit_of_work = unit_of_work
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
            async with self._unit_of_work() as work:
                if (known := await work.customers.get(customer_id)) is None:
                    customer = await work.customers.create(new)
                    await work.commit()
                    return CreatedCustomer(customer, key)
        except AlreadyExists as error:
            # The same call may have been faster in another process: then both constraints may be the one named.
            async with self._unit_of_work() as work:
                known = await work.customers.get(customer_id)
            if known is None:
                raise _email_taken(error, email) from error
        check_same(parameters, known.request_digest)
        return CreatedCustomer(known, None)

    async def get(self, customer_id: UUID) -> Customer:
        """Answers a customer.

        Raises:
            CustomerNotFound: If there is none.
        """
        async with self._unit_of_work() as work:
            return await _existing(work, customer_id)

    async def list_page(self, query: ListQuery) -> Page[Customer]:
        """Answers a page of customers."""
        async with self._unit_of_work() as work:
            return await work.customers.list_page(query)

    async def update(self, customer_id: UUID, *, name: str | None, email: str | None, etag: str) -> Customer:
        """Changes what is not None.

        Raises:
            CustomerNotFound: If there is none.
            EmailTaken: If another customer has the address.
            EtagMismatch: If the etag is not empty and not the present one.
        """
        try:
            async with self._unit_of_work() as work:
                customer = await _existing(work, customer_id, etag)
                changed = replace(
                    customer,
                    name=customer.name if name is None else name,
                    email=customer.email if email is None else email,
                )
                return await _store(work, customer, changed)
        except AlreadyExists as error:
            raise _email_taken(error, email or "") from error

    async def set_active(self, customer_id: UUID, *, active: bool, etag: str = "") -> Customer:
        """Makes a customer active or inactive; one that is so already stays as it is.

        Raises:
            CustomerNotFound: If there is none.
            EtagMismatch: If the etag is not empty and not the present one.
        """
        async with self._unit_of_work() as work:
            customer = await _existing(work, customer_id, etag)
            return await _store(work, customer, replace(customer, active=active))

    async def rotate_api_key(self, customer_id: UUID, overlap: timedelta) -> tuple[ApiKey, Customer]:
        """Replaces the API key; the old one works until the overlap has passed.

        Raises:
            CustomerNotFound: If there is none.
        """
        key = ApiKey.generate()
        async with self._unit_of_work() as work:
            customer = await _existing(work, customer_id)
            changed = customer.with_new_key(key, self._now(), overlap)
            return key, await _store(work, customer, changed)

    async def resolve_api_key(self, secret: str) -> Customer:
        """Answers the customer a key belongs to, active or not.

        Raises:
            BadApiKey: If the key is unknown or its overlap has ended.
        """
        key = ApiKey(secret)
        async with self._unit_of_work() as work:
            customer = await work.customers.get_by_api_key_hash(key.hash)
        if customer is None or not customer.accepts_key(key, self._now()):
            raise BadApiKey
        return customer


async def _existing(work: CustomersUnitOfWork, customer_id: UUID, etag: str = "") -> Customer:
    customer = await work.customers.get(customer_id)
    if customer is None:
        raise CustomerNotFound(customer_id)
    if etag and etag != customer.etag:
        raise EtagMismatch
    return customer


async def _store(work: CustomersUnitOfWork, customer: Customer, changed: Customer) -> Customer:
    if changed == customer:
        return customer
    stored = await work.customers.update(changed)
    await work.commit()
    return stored


def _email_taken(error: AlreadyExists, email: str) -> Exception:
    return EmailTaken(email) if error.constraint == EMAIL_CONSTRAINT else error
