"""What every customer repository promises (D1)."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from services.customers.domain import NewCustomer
from services.customers.repository import CUSTOMERS, EMAIL, EMAIL_CONSTRAINT, ID_CONSTRAINT, CustomerRepository
from services.customers.repository_memory import MemoryCustomerRepository
from services.customers.repository_sql import SqlCustomerRepository
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions import Transactions
from services.kit.data.transactions_memory import MemoryTransactions
from services.kit.data.transactions_sql import SqlTransactions
from services.kit.query.page import ListQuery
from tests.conftest import OpenDatabase
from tests.work import Begin, Work


class CustomersWork(Work):
    """A transaction on the customers."""

    def __init__(self, transactions: Transactions[Any], customers: CustomerRepository) -> None:
        super().__init__(transactions)
        self.customers = customers


BeginCustomers = Begin[CustomersWork]


@pytest.fixture(params=["memory", "postgresql"])
async def begin(request: pytest.FixtureRequest, rolled_back: OpenDatabase) -> BeginCustomers:
    """Begins a transaction on one implementation, which is empty when the test starts."""
    if request.param == "memory":
        memory = MemoryTransactions()
        return Begin(lambda: CustomersWork(memory, MemoryCustomerRepository(memory)))
    transactions = SqlTransactions(await rolled_back("customers"))
    return Begin(lambda: CustomersWork(transactions, SqlCustomerRepository(transactions)))


def new_customer(**values: Any) -> NewCustomer:
    customer_id = uuid7()
    defaults: dict[str, Any] = {
        "id": customer_id,
        "name": "Ada",
        "email": f"{customer_id}@example.com",
        "request_digest": b"digest",
    }
    return NewCustomer(**{**defaults, **values})


async def test_a_stored_customer_is_read_back_as_it_was(begin: BeginCustomers) -> None:
    new = new_customer(api_key_hash=b"hash", api_key_prefix="inno_1")
    async with begin() as work:
        stored = await work.customers.create(new)
        await work.commit()
    async with begin() as work:
        assert await work.customers.get(new.id) == stored
    assert (stored.name, stored.email, stored.api_key_hash, stored.active) == (new.name, new.email, b"hash", True)
    assert stored.created_at == stored.updated_at


async def test_what_is_not_committed_is_gone(begin: BeginCustomers) -> None:
    new = new_customer()
    async with begin() as work:
        await work.customers.create(new)
    async with begin() as work:
        assert await work.customers.get(new.id) is None


async def test_an_id_is_used_once(begin: BeginCustomers) -> None:
    new = new_customer()
    async with begin() as work:
        await work.customers.create(new)
        with pytest.raises(AlreadyExists) as caught:
            await work.customers.create(replace(new, email="other@example.com"))
    assert caught.value.constraint == ID_CONSTRAINT


async def test_an_email_is_used_once_whatever_its_case_and_even_by_the_inactive(begin: BeginCustomers) -> None:
    async with begin() as work:
        first = await work.customers.create(new_customer(email="Ada@Example.com"))
        await work.customers.update(replace(first, active=False))
        with pytest.raises(AlreadyExists) as caught:
            await work.customers.create(new_customer(email="ada@example.COM"))
    assert caught.value.constraint == EMAIL_CONSTRAINT


async def test_a_customer_may_keep_its_email_when_it_changes(begin: BeginCustomers) -> None:
    async with begin() as work:
        first = await work.customers.create(new_customer())
        changed = await work.customers.update(replace(first, name="Grace"))
    assert (changed.name, changed.email) == ("Grace", first.email)
    assert changed.etag != first.etag


async def test_an_update_of_what_changed_meanwhile_is_refused(begin: BeginCustomers) -> None:
    async with begin() as work:
        first = await work.customers.create(new_customer())
        await work.customers.update(replace(first, name="Grace"))
        with pytest.raises(Conflict):
            await work.customers.update(replace(first, name="Joan"))


async def test_a_customer_is_found_by_its_present_and_its_previous_key(begin: BeginCustomers) -> None:
    async with begin() as work:
        first = await work.customers.create(new_customer(api_key_hash=b"old"))
        later = datetime(2100, 1, 1, tzinfo=UTC)
        keys: dict[str, Any] = {
            "api_key_hash": b"new",
            "previous_api_key_hash": b"old",
            "previous_api_key_expires_at": later,
        }
        await work.customers.update(replace(first, **keys))
        for key in (b"old", b"new"):
            found = await work.customers.get_by_api_key_hash(key)
            assert found is not None
            assert found.id == first.id
        assert await work.customers.get_by_api_key_hash(b"none") is None


async def test_lists_are_filtered_and_ordered(begin: BeginCustomers) -> None:
    async with begin() as work:
        for email in ("b@example.com", "a@example.com", "c@example.org"):
            await work.customers.create(new_customer(email=email))
        ordering = CUSTOMERS.made_unique((EMAIL.ascending(),))
        page = await work.customers.list_page(ListQuery(ordering, EMAIL.ends_with(".com")))
    assert [customer.email for customer in page.items] == ["a@example.com", "b@example.com"]
