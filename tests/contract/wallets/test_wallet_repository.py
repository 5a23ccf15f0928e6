"""The wallets' use cases on both repositories: what one promises, the other keeps (D1)."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.errors import AlreadyExists
from services.kit.errors import IdempotencyKeyReused, InvalidFilter, InvalidPageToken
from services.kit.query.listing import Listing
from services.kit.query.page import PageTokens
from services.wallets.rules import constraints
from services.wallets.rules.entities import (
    BALANCE_CENTS_MAX,
    NewWallet,
    Owner,
    Transaction,
    TransactionKind,
    Wallet,
)
from services.wallets.rules.errors import (
    BalanceOverflow,
    InsufficientFunds,
    TransactionNotFound,
    WalletExists,
    WalletNotFound,
)
from services.wallets.rules.ledger import Accepted, Decision
from services.wallets.rules.requests import Credit, Deduct
from services.wallets.rules.resources import TRANSACTIONS, WALLETS
from services.wallets.usecases.wallets import WalletsService
from tests.support.wallets_work import BeginWallets

TOKENS = PageTokens(b"0123456789abcdef")
STATEMENTS = Listing(TRANSACTIONS, TOKENS)


def credit(owner: Owner, cents: int, key: str = "top-up", description: str = "") -> Credit:
    return Credit(transaction_id=uuid7(), owner=owner, amount_cents=cents, idempotency_key=key, description=description)


def deduct(owner: Owner, cents: int, key: str) -> Deduct:
    return Deduct(transaction_id=uuid7(), owner=owner, amount_cents=cents, idempotency_key=key)


def charge(owner: Owner, cents: int, job_id: UUID, hold_id: UUID | None = None) -> Deduct:
    return Deduct(
        transaction_id=uuid7(),
        owner=owner,
        amount_cents=cents,
        idempotency_key=f"job:{job_id}",
        job_id=job_id,
        hold_id=hold_id,
    )


def accepted(decision: Decision) -> Accepted:
    assert isinstance(decision, Accepted), decision
    return decision


async def funded(service: WalletsService, cents: int = 0, currency: str = "EUR") -> Wallet:
    created = await service.create(NewWallet(id=uuid7(), customer_id=uuid7(), currency=currency))
    if not cents:
        return created.wallet
    return (await service.credit(credit(created.wallet.owner, cents))).wallet


async def statement(service: WalletsService, wallet: Wallet, filter: str = "") -> list[Transaction]:
    query = STATEMENTS.query(filter=filter, order_by="sequence", page_size=1000)
    return list((await service.list_transactions(wallet.id, query, ALL_TENANTS))[1].items)


async def test_a_new_wallet_is_empty_and_found_by_its_id_and_its_owner(service: WalletsService) -> None:
    new = NewWallet(id=uuid7(), customer_id=uuid7())
    created = await service.create(new)
    assert not created.replayed
    assert (created.wallet.id, created.wallet.owner) == (new.id, Owner(new.customer_id, "EUR"))
    assert (created.wallet.current_balance_cents, created.wallet.available_cents) == (0, 0)
    assert await service.get(new.id, ALL_TENANTS) == created.wallet == await service.get(new.owner, ALL_TENANTS)


async def test_the_same_create_again_answers_the_wallet_as_it_is_now(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    again = await service.create(NewWallet(id=wallet.id, customer_id=wallet.customer_id))
    assert again.replayed
    assert again.wallet == wallet


async def test_a_wallet_id_used_for_another_owner_is_refused_naming_what_differs(service: WalletsService) -> None:
    wallet = await funded(service)
    with pytest.raises(IdempotencyKeyReused) as refused:
        await service.create(NewWallet(id=wallet.id, customer_id=uuid7(), currency="USD"))
    assert refused.value.fields == ("customer_id", "currency")


async def test_a_second_wallet_in_a_currency_is_refused_naming_the_first(service: WalletsService) -> None:
    wallet = await funded(service)
    with pytest.raises(WalletExists) as refused:
        await service.create(NewWallet(id=uuid7(), customer_id=wallet.customer_id))
    assert refused.value.wallet_id == wallet.id


async def test_a_customer_has_wallets_in_several_currencies(service: WalletsService) -> None:
    wallet = await funded(service, 5)
    other = await service.create(NewWallet(id=uuid7(), customer_id=wallet.customer_id, currency="USD"))
    assert (await service.get(other.wallet.owner, ALL_TENANTS)).current_balance_cents == 0


async def test_repositories_name_the_constraint_that_refuses_a_wallet(begin: BeginWallets) -> None:
    new = NewWallet(id=uuid7(), customer_id=uuid7())
    async with begin() as work:
        await work.wallets.create(new)
        await work.commit()
    for again, constraint in (
        (NewWallet(id=new.id, customer_id=uuid7()), constraints.WALLET_ID),
        (NewWallet(id=uuid7(), customer_id=new.customer_id), constraints.WALLET_OWNER),
    ):
        with pytest.raises(AlreadyExists) as refused:
            async with begin() as work:
                await work.wallets.create(again)
        assert refused.value.constraint == constraint


async def test_an_unknown_wallet_is_not_found_by_id_or_owner(service: WalletsService) -> None:
    unknown = uuid4()
    with pytest.raises(WalletNotFound) as by_id:
        await service.get(unknown, ALL_TENANTS)
    assert by_id.value.metadata == {"wallet_id": str(unknown)}
    with pytest.raises(WalletNotFound) as by_owner:
        await service.get(Owner(unknown, "EUR"), ALL_TENANTS)
    assert by_owner.value.metadata == {"customer_id": str(unknown), "currency": "EUR"}


async def test_a_credit_and_a_charge_are_stored_with_all_they_carry(service: WalletsService) -> None:
    wallet = await funded(service)
    job_id, hold_id = uuid7(), uuid7()
    paid = await service.credit(credit(wallet.owner, 100, description="Überweisung ✓"))
    charged = await service.deduct(charge(wallet.owner, 30, job_id, hold_id), ALL_TENANTS)
    assert charged.transaction.job_id == job_id
    assert charged.transaction.hold_id == hold_id
    assert await statement(service, wallet) == [paid.transaction, charged.transaction]
    assert await service.get(wallet.id, ALL_TENANTS) == charged.wallet
    assert charged.wallet.current_balance_cents == 70
    assert charged.wallet.updated_at == charged.transaction.created_at >= paid.transaction.created_at
    assert await service.get_transaction(charged.transaction.id, ALL_TENANTS) == (charged.wallet, charged.transaction)


async def test_the_same_charge_again_is_answered_with_the_stored_transaction(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    job_id = uuid7()
    first = await service.deduct(charge(wallet.owner, 100, job_id), ALL_TENANTS)
    again = await service.deduct(charge(wallet.owner, 100, job_id), ALL_TENANTS)
    assert again.replayed
    assert (again.transaction, again.wallet) == (first.transaction, first.wallet)
    assert len(await statement(service, wallet)) == 2


async def test_a_key_used_with_other_parameters_is_refused_and_writes_nothing(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    await service.deduct(deduct(wallet.owner, 10, "a"), ALL_TENANTS)
    with pytest.raises(IdempotencyKeyReused) as refused:
        await service.credit(credit(wallet.owner, 11, "a"))
    assert refused.value.fields == ("idempotency_key", "amount_cents")
    assert (await service.get(wallet.id, ALL_TENANTS)).current_balance_cents == 90


async def test_a_charge_beyond_the_funds_is_refused_and_writes_nothing(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    with pytest.raises(InsufficientFunds) as refused:
        await service.deduct(deduct(wallet.owner, 101, "a"), ALL_TENANTS)
    assert (refused.value.available_cents, refused.value.required_cents) == (100, 101)
    assert await service.get(wallet.id, ALL_TENANTS) == wallet
    assert len(await statement(service, wallet)) == 1


async def test_a_balance_beyond_int64_is_refused_and_writes_nothing(service: WalletsService) -> None:
    wallet = await funded(service, BALANCE_CENTS_MAX)
    with pytest.raises(BalanceOverflow):
        await service.credit(credit(wallet.owner, 1, "a"))
    assert await service.get(wallet.id, ALL_TENANTS) == wallet


async def test_money_of_an_unknown_wallet_is_not_found(service: WalletsService) -> None:
    with pytest.raises(WalletNotFound):
        await service.credit(credit(Owner(uuid4(), "EUR"), 1))


async def test_in_a_batch_each_charge_is_decided_alone_and_in_order(service: WalletsService) -> None:
    rich, poor = await funded(service, 100), await funded(service, 10)
    job_id = uuid7()
    results = await service.deduct_many(
        [
            charge(rich.owner, 60, job_id),
            deduct(poor.owner, 11, "a"),
            deduct(Owner(uuid4(), "EUR"), 1, "a"),
            charge(rich.owner, 60, job_id),
            deduct(poor.owner, 10, "a"),
            deduct(rich.owner, 41, "b"),
            deduct(rich.owner, 40, "b"),
            deduct(rich.owner, 39, "b"),
        ],
        ALL_TENANTS,
    )
    kinds = [type(one) for one in results]
    assert kinds == [
        Accepted,
        InsufficientFunds,
        WalletNotFound,
        Accepted,
        Accepted,
        InsufficientFunds,
        Accepted,
        IdempotencyKeyReused,
    ]
    assert [accepted(results[at]).replayed for at in (0, 3, 4, 6)] == [False, True, False, False]
    assert await service.get(rich.id, ALL_TENANTS) == accepted(results[6]).wallet
    assert [one.sequence for one in await statement(service, rich)] == [1, 2, 3]
    assert [one.balance_after_cents for one in await statement(service, poor)] == [10, 0]


async def test_a_batch_of_nothing_does_nothing(service: WalletsService) -> None:
    assert await service.deduct_many([], ALL_TENANTS) == []


async def test_a_batch_of_a_thousand_is_stored_whole(service: WalletsService) -> None:
    wallets = [await funded(service, 1000) for _ in range(3)]
    results = await service.deduct_many([charge(wallets[n % 3].owner, 2, uuid7()) for n in range(1000)], ALL_TENANTS)
    assert all(isinstance(one, Accepted) for one in results)
    assert sum([(await service.get(wallet.id, ALL_TENANTS)).current_balance_cents for wallet in wallets]) == 1000
    lines = await statement(service, wallets[0])
    assert [one.sequence for one in lines] == list(range(1, 336))


async def test_a_transaction_that_is_rolled_back_leaves_nothing(begin: BeginWallets, service: WalletsService) -> None:
    wallet = await funded(service, 100)
    async with begin() as work:
        [decision] = await work.ledger.apply([deduct(wallet.owner, 1, "a")])
        assert isinstance(decision, Accepted)
    assert await service.get(wallet.id, ALL_TENANTS) == wallet
    assert len(await statement(service, wallet)) == 1


async def test_a_statement_lists_the_latest_first_page_by_page(service: WalletsService) -> None:
    wallet, other = await funded(service, 100), await funded(service, 100)
    await service.deduct_many(
        [deduct(one.owner, 1, f"key {n}") for n in range(6) for one in (wallet, other)], ALL_TENANTS
    )
    seen: list[int] = []
    token = ""
    while True:
        query = STATEMENTS.query(page_size=3, page_token=token, parameters={"wallet": str(wallet.id)})
        found, page = await service.list_transactions(wallet.owner, query, ALL_TENANTS)
        assert found.id == wallet.id
        assert {one.wallet_id for one in page.items} == {wallet.id}
        seen += [one.sequence for one in page.items]
        if not (token := STATEMENTS.next_page_token(query, page)):
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_a_page_token_of_another_wallet_is_refused(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    await service.deduct(deduct(wallet.owner, 1, "a"), ALL_TENANTS)
    query = STATEMENTS.query(page_size=1, parameters={"wallet": str(wallet.id)})
    token = STATEMENTS.next_page_token(query, (await service.list_transactions(wallet.id, query, ALL_TENANTS))[1])
    assert token
    with pytest.raises(InvalidPageToken):
        STATEMENTS.query(page_size=1, page_token=token, parameters={"wallet": str(uuid4())})


async def test_a_statement_can_be_filtered(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    job_id = uuid7()
    charged = (await service.deduct(charge(wallet.owner, 30, job_id), ALL_TENANTS)).transaction
    await service.deduct(deduct(wallet.owner, 5, "a"), ALL_TENANTS)
    day = datetime.now(UTC).date().isoformat()
    for text, count in (
        ("kind = CREDIT", 1),
        ("kind = DEDUCTION", 2),
        (f'job_id = "{job_id}"', 1),
        ("amount_cents < -5", 1),
        (f'id = "{charged.id}" AND kind = DEDUCTION', 1),
        (f'created_at < "{day}T00:00:00Z"', 0),
    ):
        assert len(await statement(service, wallet, text)) == count, text
    with pytest.raises(InvalidFilter):
        STATEMENTS.query(filter='wallet_id = "x"')


async def test_a_statement_of_an_unknown_wallet_is_not_found(service: WalletsService) -> None:
    with pytest.raises(WalletNotFound):
        await service.list_transactions(uuid4(), STATEMENTS.query(), ALL_TENANTS)


async def test_an_unknown_transaction_is_not_found(service: WalletsService) -> None:
    with pytest.raises(TransactionNotFound):
        await service.get_transaction(uuid4(), ALL_TENANTS)


async def test_wallets_can_be_filtered_and_ordered(service: WalletsService) -> None:
    lists = Listing(WALLETS, TOKENS)
    created = [await funded(service, cents, "EUR") for cents in (30, 10, 20)]
    await funded(service, 40, "USD")
    query = lists.query(filter="currency = EUR AND current_balance_cents > 10", order_by="current_balance_cents desc")
    found = (await service.list_page(query)).items
    assert [one.current_balance_cents for one in found] == [30, 20]
    query = lists.query(filter=f'customer_id = "{created[1].customer_id}"')
    assert (await service.list_page(query)).items == (created[1],)
    latest_first = (await service.list_page(lists.query(page_size=1))).items
    assert [one.currency for one in latest_first] == ["USD"]


async def test_stored_kinds_are_read_back_as_kinds(service: WalletsService) -> None:
    wallet = await funded(service, 100)
    [line] = await statement(service, wallet)
    assert line.kind is TransactionKind.CREDIT
