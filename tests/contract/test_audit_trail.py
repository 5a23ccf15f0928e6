"""D11: what is administered leaves a trail, in the transaction of the change, on every implementation."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol

import pytest
from uuid_utils.compat import uuid7

from services.customers.rules.entities import Customer, NewCustomer
from services.customers.store.memory import MemoryCustomerRepository
from services.customers.store.sql import SqlCustomerRepository
from services.jobs.rules.job_types import NewJobType, ProcessorType
from services.jobs.store.job_types_memory import MemoryJobTypeRepository
from services.jobs.store.job_types_sql import SqlJobTypeRepository
from services.kit.data.audit.entries import AUDIT_LOG, Action, AuditEntry
from services.kit.data.audit.memory import MemoryAuditLog
from services.kit.data.audit.sql import SqlAuditLog
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.observability.caller import Caller, caller
from services.kit.query.page import ListQuery, Page
from services.kit.query.specification import ALWAYS, Specification
from services.wallets.rules.entities import NewWallet
from services.wallets.store.memory import MemoryWalletRepository
from services.wallets.store.sql import SqlWalletRepository
from tests.conftest import OpenDatabase

CALL = Caller("ipv4:192.0.2.7:4711", "/innosystem.customers.v1.CustomerService/UpdateCustomer", "request-1")


class AuditLog(Protocol):
    async def list_page(self, query: ListQuery) -> Page[AuditEntry]: ...
    async def count(self, specification: Specification) -> int: ...


@dataclass
class Trail:
    """The audited repositories of one service on one implementation."""

    transactions: Transactions[Any]
    repository: Any
    log: AuditLog

    async def entries(self) -> list[AuditEntry]:
        """The trail, the oldest first."""
        async with self.transactions.begin():
            found = await self.log.list_page(ListQuery(AUDIT_LOG.with_tie_breaker(())))
        return list(found.items)


MEMORY: dict[str, Any] = {
    "customers": MemoryCustomerRepository,
    "jobs": MemoryJobTypeRepository,
    "wallets": MemoryWalletRepository,
}
SQL: dict[str, Any] = {
    "customers": SqlCustomerRepository,
    "jobs": SqlJobTypeRepository,
    "wallets": SqlWalletRepository,
}


@pytest.fixture
def service() -> str:
    """Whose repository is looked at; parametrized by the tests that look at others."""
    return "customers"


@pytest.fixture(params=["memory", "postgresql"])
async def trail(request: pytest.FixtureRequest, rolled_back: OpenDatabase, service: str) -> Trail:
    if request.param == "memory":
        memory = MemoryTransactions()
        return Trail(memory, MEMORY[service](memory), MemoryAuditLog(memory))
    transactions = SqlTransactions(await rolled_back(service))
    return Trail(transactions, SQL[service](transactions), SqlAuditLog(transactions))


@pytest.fixture(autouse=True)
def served_call() -> Iterator[None]:
    token = caller.set(CALL)
    yield
    caller.reset(token)


def new_customer(**values: Any) -> NewCustomer:
    customer_id = uuid7()
    defaults = {"id": customer_id, "name": "Ada", "email": f"{customer_id}@example.com", "request_digest": b"digest"}
    return NewCustomer(**{**defaults, **values})


async def created(trail: Trail, **values: Any) -> Customer:
    async with trail.transactions.begin():
        customer: Customer = await trail.repository.create(new_customer(**values))
    return customer


async def test_an_update_says_who_changed_what_in_which_call_and_transaction(trail: Trail) -> None:
    customer = await created(trail)
    async with trail.transactions.begin() as transaction:
        await trail.repository.update(replace(customer, name="Ada Lovelace"))
    entry = (await trail.entries())[-1]
    assert (entry.actor, entry.method, entry.request_id) == (CALL.actor, CALL.method, CALL.request_id)
    assert entry.transaction_id == transaction.id
    assert (entry.entity_type, entry.entity_id, entry.action) == ("customers", customer.id, Action.UPDATE)
    assert entry.changes()["name"] == ("Ada", "Ada Lovelace")
    assert set(entry.changes()) <= {"name", "version", "updated_at"}


async def test_a_create_has_nothing_before_and_all_after(trail: Trail) -> None:
    customer = await created(trail)
    [entry] = await trail.entries()
    assert (entry.action, entry.before) == (Action.CREATE, None)
    assert entry.after is not None
    assert (entry.after["id"], entry.after["email"]) == (str(customer.id), customer.email)


async def test_a_hash_is_never_written_down_but_its_change_is(trail: Trail) -> None:
    customer = await created(trail, api_key_hash=b"the hash of a key, first")
    async with trail.transactions.begin():
        await trail.repository.update(replace(customer, api_key_hash=b"the hash of a key, later"))
    entries = await trail.entries()
    assert "the hash" not in repr(entries)
    before, after = entries[-1].changes()["api_key_hash"]
    assert before != after
    assert before.startswith("sha256:")


async def test_what_is_rolled_back_leaves_no_trail(trail: Trail) -> None:
    async with trail.transactions.begin() as transaction:
        await trail.repository.create(new_customer())
        transaction.roll_back()
    assert await trail.entries() == []


async def test_what_is_refused_leaves_no_trail(trail: Trail) -> None:
    customer = await created(trail)
    with pytest.raises(AlreadyExists):
        await created(trail, email=customer.email)
    with pytest.raises(Conflict):
        async with trail.transactions.begin():
            await trail.repository.update(replace(customer, name="late", version=7))
    assert [entry.action for entry in await trail.entries()] == [Action.CREATE]


@pytest.mark.parametrize("service", ["jobs"])
async def test_a_deleted_job_type_is_written_down_as_it_was(trail: Trail) -> None:
    new = NewJobType(
        id=uuid7(),
        name="count",
        processing_logic_id="count",
        processor_type=ProcessorType.SYNC,
        timeout=timedelta(seconds=90),
    )
    async with trail.transactions.begin():
        await trail.repository.create(new)
    async with trail.transactions.begin():
        assert await trail.repository.delete(new.id)
        assert not await trail.repository.delete(uuid7())
    create, delete = await trail.entries()
    assert (delete.action, delete.after) == (Action.DELETE, None)
    assert delete.before == create.after
    assert delete.before is not None
    assert (delete.before["processor_type"], delete.before["timeout"]) == ("SYNC", 90.0)


@pytest.mark.parametrize("service", ["wallets"])
async def test_a_new_wallet_is_written_down(trail: Trail) -> None:
    new = NewWallet(id=uuid7(), customer_id=uuid7(), currency="EUR")
    async with trail.transactions.begin():
        await trail.repository.create(new)
    [entry] = await trail.entries()
    assert (entry.entity_type, entry.entity_id, entry.action) == ("wallets", new.id, Action.CREATE)


async def test_each_of_many_created_together_is_recorded(trail: Trail) -> None:
    new = [new_customer(), new_customer()]
    async with trail.transactions.begin():
        stored = await trail.repository.create_many(new)
    assert set(stored) == {one.id for one in new}
    async with trail.transactions.begin():
        assert await trail.log.count(ALWAYS) == 2
        assert await trail.repository.create_many([]) == {}


async def test_of_many_that_collide_none_is_created(trail: Trail) -> None:
    with pytest.raises(AlreadyExists):
        async with trail.transactions.begin():
            await trail.repository.create_many(
                [new_customer(email="a@example.com"), new_customer(email="A@example.com")]
            )
    async with trail.transactions.begin():
        assert await trail.repository.count(ALWAYS) == 0
