"""What every customer repository promises (D1)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from services.customers.rules import constraints
from services.customers.rules.api_keys import NewApiKey, SecretKey
from services.customers.rules.entities import Customer, NewCustomer
from services.customers.rules.resources import CUSTOMERS, EMAIL
from services.customers.store.memory import MemoryApiKeyRepository, MemoryCustomerRepository
from services.customers.store.sql import SqlApiKeyRepository, SqlCustomerRepository
from services.customers.usecases.ports import USES_APART, ApiKeyRepository, CustomerRepository
from services.kit.auth.principal import Scope
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.query.filter import parse_filter
from services.kit.query.page import ListQuery
from tests.conftest import OpenDatabase
from tests.support.work import Begin, Work


class CustomersWork(Work):
    """A transaction on the customers."""

    def __init__(
        self, transactions: Transactions[Any], customers: CustomerRepository, api_keys: ApiKeyRepository
    ) -> None:
        super().__init__(transactions)
        self.customers = customers
        self.api_keys = api_keys


BeginCustomers = Begin[CustomersWork]


@pytest.fixture(params=["memory", "postgresql"])
async def begin(request: pytest.FixtureRequest, rolled_back: OpenDatabase) -> BeginCustomers:
    """Begins a transaction on one implementation, which is empty when the test starts."""
    if request.param == "memory":
        memory = MemoryTransactions()
        return Begin(lambda: CustomersWork(memory, MemoryCustomerRepository(memory), MemoryApiKeyRepository(memory)))
    transactions = SqlTransactions(await rolled_back("customers"))
    customers, api_keys = SqlCustomerRepository(transactions), SqlApiKeyRepository(transactions)
    return Begin(lambda: CustomersWork(transactions, customers, api_keys))


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
    assert caught.value.constraint == constraints.CUSTOMER_ID


async def test_an_email_is_used_once_whatever_its_case_and_even_by_the_inactive(begin: BeginCustomers) -> None:
    async with begin() as work:
        first = await work.customers.create(new_customer(email="Ada@Example.com"))
        await work.customers.update(replace(first, active=False))
        with pytest.raises(AlreadyExists) as caught:
            await work.customers.create(new_customer(email="ada@example.COM"))
    assert caught.value.constraint == constraints.CUSTOMER_EMAIL


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


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def new_key(customer: Customer, **values: Any) -> NewApiKey:
    secret = SecretKey.generate()
    return NewApiKey(
        **{"id": uuid7(), "customer_id": customer.id, "prefix": secret.prefix, "hash": secret.hash, **values}
    )


async def test_a_key_is_found_by_its_hash_ended_or_not(begin: BeginCustomers) -> None:
    async with begin() as work:
        first = await work.customers.create(new_customer())
        ended, present = [await work.api_keys.create(new_key(first)) for _ in range(2)]
        ended = await work.api_keys.update(ended.expiring(NOW))
        assert not ended.works(NOW)
        for key in (ended, present):
            assert await work.api_keys.by_hash(key.hash) == key
        assert await work.api_keys.by_hash(b"none") is None


async def test_a_rotation_replaces_the_keys_of_the_customer_that_have_neither_a_name_nor_an_end(
    begin: BeginCustomers,
) -> None:
    async with begin() as work:
        ada, grace = [await work.customers.create(new_customer()) for _ in range(2)]
        ended, present, other = [await work.api_keys.create(new_key(one)) for one in (ada, ada, grace)]
        await work.api_keys.update(ended.expiring(NOW))
        await work.api_keys.create(new_key(ada, name="backend"))
        assert await work.api_keys.present(ada.id) == [present]
        assert await work.api_keys.present(grace.id) == [other]


async def test_a_stored_key_is_read_back_as_it_was(begin: BeginCustomers) -> None:
    async with begin() as work:
        customer = await work.customers.create(new_customer())
        new = new_key(customer, name="reports", may_submit=False, expires_at=NOW)
        stored = await work.api_keys.create(new)
        assert (stored.name, stored.scopes, stored.expires_at) == ("reports", frozenset([Scope.READ]), NOW)
        assert stored.last_used_at is None
        assert await work.api_keys.get(new.id) == stored


async def test_a_use_is_noted_beside_the_versions_and_the_trail(begin: BeginCustomers) -> None:
    async with begin() as work:
        customer = await work.customers.create(new_customer())
        used, idle = [await work.api_keys.create(new_key(customer)) for _ in range(2)]
        await work.api_keys.used([used.id, uuid7()])
        after = await work.api_keys.get(used.id)
        assert after is not None
        assert after.last_used_at is not None
        assert replace(after, last_used_at=None) == used
        assert await work.api_keys.get(idle.id) == idle


async def test_a_use_that_was_noted_just_before_is_not_written_again(begin: BeginCustomers) -> None:
    async with begin() as work:
        key = await work.api_keys.create(new_key(await work.customers.create(new_customer())))
        long_ago = await work.api_keys.update(replace(key, last_used_at=NOW))
        await work.api_keys.used([key.id])
        noted = await work.api_keys.get(key.id)
        assert noted is not None
        assert noted.last_used_at is not None
        assert noted.last_used_at > NOW
        just_before = await work.api_keys.update(replace(long_ago, last_used_at=noted.last_used_at - USES_APART / 2))
        await work.api_keys.used([key.id])
        assert await work.api_keys.get(key.id) == just_before


async def test_an_end_is_never_moved_to_a_later_time(begin: BeginCustomers) -> None:
    async with begin() as work:
        key = await work.api_keys.create(new_key(await work.customers.create(new_customer())))
        assert key.expires_at is None
        ending = await work.api_keys.update(key.expiring(NOW))
        assert ending.expiring(NOW + timedelta(days=1)).expires_at == NOW
        assert ending.expiring(NOW - timedelta(days=1)).expires_at == NOW - timedelta(days=1)


async def test_the_id_of_a_key_is_used_once(begin: BeginCustomers) -> None:
    async with begin() as work:
        customer = await work.customers.create(new_customer())
        key = await work.api_keys.create(new_key(customer))
        with pytest.raises(AlreadyExists):
            await work.api_keys.create(new_key(customer, id=key.id))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('email = "ADA@example.com"', 1),
        ('email = "ada@*"', 1),
        ('email = "*@EXAMPLE.COM"', 2),
        ('email != "ada@EXAMPLE.com"', 1),
        ('email > "adb"', 1),
        ('email = "ada"', 0),
    ],
)
async def test_a_filter_on_emails_ignores_case(begin: BeginCustomers, text: str, found: int) -> None:
    async with begin() as work:
        for email in ("Ada@Example.com", "Grace@example.com"):
            await work.customers.create(new_customer(email=email))
        page = await work.customers.list_page(ListQuery(CUSTOMERS.default_ordering, parse_filter(text, CUSTOMERS)))
    assert len(page.items) == found


async def test_lists_are_filtered_and_ordered(begin: BeginCustomers) -> None:
    async with begin() as work:
        for email in ("b@example.com", "a@example.com", "c@example.org"):
            await work.customers.create(new_customer(email=email))
        ordering = CUSTOMERS.with_tie_breaker((EMAIL.ascending(),))
        page = await work.customers.list_page(ListQuery(ordering, EMAIL.ends_with(".com")))
    assert [customer.email for customer in page.items] == ["a@example.com", "b@example.com"]
