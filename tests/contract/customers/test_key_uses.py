"""The uses of API keys are collected, and stored beside the calls (D1)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.customers.background.key_uses import KeyUses
from services.customers.rules.api_keys import NewApiKey, SecretKey
from services.customers.rules.errors import BadApiKey
from services.customers.store.memory import MemoryApiKeyRepository, MemoryCustomerRepository
from services.customers.store.sql import SqlApiKeyRepository, SqlCustomerRepository
from services.customers.usecases.api_keys import ApiKeyService
from services.customers.usecases.ports import ApiKeyRepository, CustomerRepository
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from tests.conftest import OpenDatabase
from tests.contract.customers.test_customer_repository import NOW, new_customer


class Uses:
    """The use cases of keys with what notes their uses, on one implementation."""

    def __init__(
        self, transactions: Transactions[Any], customers: CustomerRepository, api_keys: ApiKeyRepository
    ) -> None:
        self.transactions, self.customers, self.api_keys = transactions, customers, api_keys
        self.now = NOW
        self.uses = KeyUses(transactions, api_keys)
        self.service = ApiKeyService(
            transactions, customers, api_keys, lambda: self.now, changed=lambda _hashes: None, used=self.uses.note
        )

    async def new_key(self, **values: Any) -> tuple[UUID, SecretKey]:
        secret = SecretKey.generate()
        async with self.transactions.begin():
            customer = await self.customers.create(new_customer())
            key = await self.api_keys.create(NewApiKey.of(secret, id=uuid7(), customer_id=customer.id, **values))
        return key.id, secret

    async def is_noted(self, key_id: UUID) -> bool:
        async with self.transactions.begin(read_only=True):
            key = await self.api_keys.get(key_id)
        return key is not None and key.last_used_at is not None


@pytest.fixture(params=["memory", "postgresql"])
async def world(request: pytest.FixtureRequest, rolled_back: OpenDatabase) -> Uses:
    if request.param == "memory":
        memory = MemoryTransactions()
        return Uses(memory, MemoryCustomerRepository(memory), MemoryApiKeyRepository(memory))
    transactions = SqlTransactions(await rolled_back("customers"))
    return Uses(transactions, SqlCustomerRepository(transactions), SqlApiKeyRepository(transactions))


async def test_a_use_is_stored_by_the_next_round_and_not_by_the_call(world: Uses) -> None:
    key_id, secret = await world.new_key()
    idle, _ = await world.new_key()
    assert (await world.service.resolve(secret.secret)).key.id == key_id
    assert not await world.is_noted(key_id)
    assert not await world.uses.round()
    assert await world.is_noted(key_id)
    assert not await world.is_noted(idle)


async def test_a_key_that_has_ended_is_refused_and_its_use_is_not_noted(world: Uses) -> None:
    key_id, secret = await world.new_key(expires_at=NOW + timedelta(microseconds=1))
    world.now = NOW + timedelta(microseconds=1)
    with pytest.raises(BadApiKey):
        await world.service.resolve(secret.secret)
    await world.uses.round()
    assert not await world.is_noted(key_id)
