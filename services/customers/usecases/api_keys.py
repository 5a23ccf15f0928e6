"""The use cases of API keys."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.customers.rules.api_keys import ApiKey, NewApiKey, SecretKey
from services.customers.rules.entities import Customer
from services.customers.rules.errors import ApiKeyNotFound, BadApiKey
from services.customers.rules.resources import CUSTOMER_ID
from services.customers.usecases.customers import RETRIES, existing
from services.customers.usecases.ports import ApiKeyRepository, Changed, CustomerRepository
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page


@dataclass(frozen=True)
class RotatedKey:
    """The result of a rotation: the secret is None if the call was repeated."""

    customer: Customer
    key: ApiKey
    secret: SecretKey | None


class ApiKeyService:
    """The use cases of API keys. Each is one database transaction.

    Args:
        transactions: The database transactions.
        customers: The stored customers.
        api_keys: The stored API keys.
        now: Returns the time, by which keys expire.
        changed: Announces changes to other services.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        customers: CustomerRepository,
        api_keys: ApiKeyRepository,
        now: Callable[[], datetime],
        changed: Changed,
    ) -> None:
        self.transactions = transactions
        self._customers = customers
        self._api_keys = api_keys
        self._now = now
        self._changed = changed

    @transactional(retries=RETRIES, patient=True)
    async def rotate(self, customer_id: UUID, api_key_id: UUID, overlap: timedelta) -> RotatedKey:
        """Create a new present key; the previous one works until the overlap has passed.

        Raises:
            CustomerNotFound: If the customer does not exist.
            IdempotencyKeyReused: If the ID was used for another customer or overlap, or not by a rotation.
        """
        parameters = {"customer_id": str(customer_id), "overlap": overlap}
        customer = await self._customers.get_locked(customer_id)
        known = await self._api_keys.get(api_key_id)
        if known is not None:
            check_same(parameters, known.request_digest)
            return RotatedKey(existing(customer, customer_id), known, None)
        customer = existing(customer, customer_id)
        secret = SecretKey.generate()
        new = NewApiKey.of(secret, id=api_key_id, customer_id=customer_id, request_digest=digest(parameters))
        until = self._now() + overlap
        for replaced in await self._api_keys.without_expiry(customer_id):
            await self._api_keys.update(replaced.expiring(until))
        try:
            key = await self._api_keys.create(new)
        except AlreadyExists as error:
            # Another customer received a key with this ID at the same time, as the next attempt sees.
            raise Conflict from error
        self._announce(customer_id)
        changed = customer.with_key(new, until if overlap else None)
        return RotatedKey(await self._customers.update(changed), key, secret)

    @transactional(retries=RETRIES, patient=True)
    async def revoke(self, customer_id: UUID, api_key_id: UUID) -> ApiKey:
        """End a key now; an expired key stays unchanged.

        Raises:
            CustomerNotFound: If the customer does not exist.
            ApiKeyNotFound: If the customer does not have the key.
        """
        customer = existing(await self._customers.get_locked(customer_id), customer_id)
        key = await self._api_keys.get(api_key_id)
        if key is None or key.customer_id != customer_id:
            raise ApiKeyNotFound(customer_id, api_key_id)
        now = self._now()
        if not key.works(now):
            return key
        self._announce(customer_id)
        ended = await self._api_keys.update(key.expiring(now))
        if (changed := customer.without_key(key)) != customer:
            await self._customers.update(changed)
        return ended

    @transactional(read_only=True)
    async def list_page(self, customer_id: UUID, query: ListQuery) -> Page[ApiKey]:
        """Return a page of a customer's keys.

        Raises:
            CustomerNotFound: If the customer does not exist.
        """
        existing(await self._customers.get(customer_id), customer_id)
        own = CUSTOMER_ID.is_(customer_id) & query.specification
        return await self._api_keys.list_page(replace(query, specification=own))

    @transactional(read_only=True)
    async def resolve(self, secret: str) -> Customer:
        """Return the customer that a key belongs to, active or not.

        Raises:
            BadApiKey: If the key is unknown or has expired.
        """
        customer = await self._customers.get_by_api_key_hash(SecretKey(secret).hash, self._now())
        if customer is None:
            raise BadApiKey
        return customer

    def _announce(self, customer_id: UUID) -> None:
        self.transactions.after_end(lambda: self._changed(customer_id))
