"""The use cases of API keys."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.customers.rules.api_keys import ApiKey, NewApiKey, SecretKey
from services.customers.rules.entities import Customer
from services.customers.rules.errors import ApiKeyNotFound, BadApiKey
from services.customers.rules.resources import CUSTOMER_ID
from services.customers.usecases.customers import RETRIES, existing
from services.customers.usecases.ports import ApiKeyRepository, CustomerRepository, KeysChanged, Used
from services.kit.auth.principal import Scope
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import IdempotencyKeyReused
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page


@dataclass(frozen=True)
class CreatedKey:
    """A key of a customer: the secret is None if the call was repeated."""

    customer: Customer
    key: ApiKey
    secret: SecretKey | None


@dataclass(frozen=True)
class OwnedKey:
    """A key that works, and the customer that it belongs to."""

    customer: Customer
    key: ApiKey


class ApiKeyService:
    """The use cases of API keys. Each is one database transaction.

    Args:
        transactions: The database transactions.
        customers: The stored customers.
        api_keys: The stored API keys.
        now: Returns the time, by which keys expire.
        changed: Announces keys that end to the services that remember them.
        used: Notes the uses of keys.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        customers: CustomerRepository,
        api_keys: ApiKeyRepository,
        now: Callable[[], datetime],
        *,
        changed: KeysChanged,
        used: Used,
    ) -> None:
        self.transactions = transactions
        self._customers = customers
        self._api_keys = api_keys
        self._now = now
        self._changed = changed
        self._used = used

    @transactional(retries=RETRIES, patient=True)
    async def create(
        self, customer_id: UUID, api_key_id: UUID, *, name: str, scopes: Collection[Scope], ttl: timedelta | None
    ) -> CreatedKey:
        """Create a further key with a name, which no rotation replaces.

        Args:
            customer_id: The customer.
            api_key_id: The ID of the new key.
            name: What the key is for; not empty.
            scopes: What it may be used for.
            ttl: How long it works; None for a key without an end.

        Raises:
            CustomerNotFound: If the customer does not exist.
            IdempotencyKeyReused: If the ID was used with other parameters, or by a rotation.
        """
        parameters = {"customer_id": str(customer_id), "name": name, "scopes": sorted(map(str, scopes)), "ttl": ttl}
        customer = await self._customers.get(customer_id)
        if (known := await self._known(api_key_id, parameters, is_named=True)) is not None:
            return CreatedKey(existing(customer, customer_id), known, None)
        customer = existing(customer, customer_id)
        secret = SecretKey.generate()
        new = NewApiKey.of(
            secret,
            id=api_key_id,
            customer_id=customer_id,
            name=name,
            may_read=Scope.READ in scopes,
            may_submit=Scope.SUBMIT in scopes,
            expires_at=self._now() + ttl if ttl else None,
            request_digest=digest(parameters),
        )
        return CreatedKey(customer, await self._stored(new), secret)

    @transactional(retries=RETRIES, patient=True)
    async def rotate(self, customer_id: UUID, api_key_id: UUID, overlap: timedelta) -> CreatedKey:
        """Create a new present key; the previous one works until the overlap has passed.

        Raises:
            CustomerNotFound: If the customer does not exist.
            IdempotencyKeyReused: If the ID was used for another customer or overlap, or not by a rotation.
        """
        parameters = {"customer_id": str(customer_id), "overlap": overlap}
        customer = await self._customers.get_locked(customer_id)
        if (known := await self._known(api_key_id, parameters, is_named=False)) is not None:
            return CreatedKey(existing(customer, customer_id), known, None)
        customer = existing(customer, customer_id)
        secret = SecretKey.generate()
        new = NewApiKey.of(secret, id=api_key_id, customer_id=customer_id, request_digest=digest(parameters))
        until = self._now() + overlap
        replaced = await self._api_keys.present(customer_id)
        for one in replaced:
            await self._api_keys.update(one.expiring(until))
        key = await self._stored(new)
        self._announce(*replaced)
        changed = customer.with_key(new, until if overlap else None)
        return CreatedKey(await self._customers.update(changed), key, secret)

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
        self._announce(key)
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
    async def resolve(self, secret: str) -> OwnedKey:
        """Return a key and the customer that it belongs to, active or not.

        Raises:
            BadApiKey: If the key is unknown or has expired.
        """
        key = await self._api_keys.by_hash(SecretKey(secret).hash)
        if key is None or not key.works(self._now()):
            raise BadApiKey
        self._used(key.id)
        return OwnedKey(existing(await self._customers.get(key.customer_id), key.customer_id), key)

    async def _known(self, api_key_id: UUID, parameters: Mapping[str, object], *, is_named: bool) -> ApiKey | None:
        """Return the key that an identical call created; None if the ID is new."""
        known = await self._api_keys.get(api_key_id)
        if known is not None:
            if bool(known.name) is not is_named:
                raise IdempotencyKeyReused(("api_key_id",))
            check_same(parameters, known.request_digest)
        return known

    async def _stored(self, new: NewApiKey) -> ApiKey:
        try:
            return await self._api_keys.create(new)
        except AlreadyExists as error:
            # Another customer received a key with this ID at the same time, as the next attempt sees.
            raise Conflict from error

    def _announce(self, *keys: ApiKey) -> None:
        if hashes := [key.hash for key in keys]:
            self.transactions.after_end(lambda: self._changed(hashes))
