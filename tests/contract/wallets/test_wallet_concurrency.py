"""Many writers at the same time on real PostgreSQL, over the pools that two processes would have."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.engine.database import Database
from services.kit.data.errors import AlreadyExists, Conflict, ConnectionFailed, ConstraintViolated
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DomainError, IdempotencyKeyReused
from services.kit.query.listing import Listing
from services.kit.query.page import PageTokens
from services.wallets.rules.books import START, Problem
from services.wallets.rules.entities import NewWallet, Owner, Transaction, Wallet
from services.wallets.rules.errors import InsufficientFunds, RefundExceedsCharge
from services.wallets.rules.ledger import Accepted
from services.wallets.rules.requests import Credit, Deduct, JobCharge, PlaceHold, Refund, ReleaseHold
from services.wallets.rules.resources import TRANSACTIONS
from services.wallets.store.ledger_sql import SqlLedger
from services.wallets.store.verify_sql import SqlBooksReader
from services.wallets.usecases.verify_ledger import LedgerVerification
from services.wallets.usecases.wallets import WalletsService
from tests.support.wallets_work import sql_work

STATEMENTS = Listing(TRANSACTIONS, PageTokens(b"0123456789abcdef"))
WRITERS = 32


@pytest.fixture
def services(databases: list[Database]) -> list[WalletsService]:
    return [sql_work(SqlTransactions(database)).service for database in databases]


async def funded(service: WalletsService, cents: int) -> Wallet:
    created = await service.create(NewWallet(id=uuid7(), customer_id=uuid7()))
    request = Credit(transaction_id=uuid7(), owner=created.wallet.owner, amount_cents=cents, idempotency_key="top-up")
    return (await service.credit(request)).wallet


def charge(owner: Owner, cents: int, job_id: UUID) -> Deduct:
    return Deduct(
        transaction_id=uuid7(), owner=owner, amount_cents=cents, idempotency_key=f"job:{job_id}", job_id=job_id
    )


async def checked_statement(service: WalletsService, wallet_id: UUID) -> list[Transaction]:
    """The statement, after a look at whether it adds up."""
    query = STATEMENTS.query(order_by="sequence", page_size=1000)
    wallet, page = await service.list_transactions(wallet_id, query, ALL_TENANTS)
    lines = list(page.items)
    assert [one.sequence for one in lines] == list(range(1, wallet.last_sequence + 1))
    assert wallet.current_balance_cents == sum(one.amount_cents for one in lines)
    balance = 0
    for one in lines:
        balance += one.amount_cents
        assert one.balance_after_cents == balance
    assert [one.created_at for one in lines] == sorted(one.created_at for one in lines)
    return lines


async def test_concurrent_charges_with_duplicates_are_each_made_once(services: list[WalletsService]) -> None:
    wallet = await funded(services[0], 10_000)
    jobs = [uuid7() for _ in range(WRITERS // 2)]
    results = await asyncio.gather(
        *(services[n % 2].deduct(charge(wallet.owner, 7, jobs[n // 2]), ALL_TENANTS) for n in range(WRITERS))
    )
    assert Counter(one.replayed for one in results) == {False: WRITERS // 2, True: WRITERS // 2}
    lines = await checked_statement(services[0], wallet.id)
    assert {one.job_id for one in lines[1:]} == set(jobs)
    assert (await services[1].get(wallet.id, ALL_TENANTS)).current_balance_cents == 10_000 - 7 * len(jobs)


async def test_concurrent_charges_never_take_more_than_there_is(services: list[WalletsService]) -> None:
    wallet = await funded(services[0], 10 * 7 + 3)
    results = await asyncio.gather(
        *(services[n % 2].deduct(charge(wallet.owner, 7, uuid7()), ALL_TENANTS) for n in range(WRITERS)),
        return_exceptions=True,
    )
    assert Counter(type(one) for one in results) == {Accepted: 10, InsufficientFunds: WRITERS - 10}
    await checked_statement(services[0], wallet.id)
    assert (await services[0].get(wallet.id, ALL_TENANTS)).current_balance_cents == 3


async def test_concurrent_batches_over_the_same_wallets_in_any_order_do_not_deadlock(
    services: list[WalletsService],
) -> None:
    wallets = [await funded(services[0], 100_000) for _ in range(10)]
    jobs = [(wallet, uuid7()) for wallet in wallets for _ in range(20)]
    shuffle = random.Random(7).sample
    batches = [shuffle(jobs, 50) for _ in range(WRITERS)]
    results = await asyncio.gather(
        *(
            services[n % 2].deduct_many([charge(wallet.owner, 3, job_id) for wallet, job_id in batch], ALL_TENANTS)
            for n, batch in enumerate(batches)
        )
    )
    decisions = [one for batch in results for one in batch]
    assert all(isinstance(one, Accepted) for one in decisions)
    charged = {job_id for batch in batches for _, job_id in batch}
    written = [one for wallet in wallets for one in await checked_statement(services[0], wallet.id) if one.job_id]
    assert Counter(one.job_id for one in written) == Counter(charged)


@pytest.mark.parametrize("wallet_count", [1, 10])
async def test_64_writers_with_duplicates_and_reused_keys_leave_exact_books(
    services: list[WalletsService], databases: list[Database], wallet_count: int
) -> None:
    wallets = [await funded(services[0], 100_000) for _ in range(wallet_count)]
    shuffled = random.Random(wallet_count)
    jobs = [(shuffled.choice(wallets), uuid7(), uuid7()) for _ in range(40)]
    failures: list[BaseException] = []

    async def write(number: int) -> None:
        service = services[number % 2]
        mine = random.Random(number)
        for _ in range(4):
            batch = mine.sample(jobs, 10)
            places = [
                PlaceHold(hold_id=hold, job_id=job, owner=wallet.owner, amount_cents=9) for wallet, job, hold in batch
            ]
            # Some reuse the key with another price, which is refused or comes first, but is never charged besides.
            charges = [
                replace(charge(wallet.owner, mine.choice([7, 7, 7, 8]), job), hold_id=hold)
                for wallet, job, hold in mine.sample(jobs, 10)
            ]
            await service.place_holds(places)
            results = await service.deduct_many(charges, ALL_TENANTS)
            failures.extend(
                one for one in results if isinstance(one, DomainError) and not isinstance(one, IdempotencyKeyReused)
            )
            await service.release_holds([ReleaseHold(hold_id=hold) for *_, hold in mine.sample(jobs, 3)])

    await asyncio.gather(*(write(number) for number in range(64)))
    assert failures == []
    lines = [line for wallet in wallets for line in await checked_statement(services[0], wallet.id)]
    charged = Counter(line.job_id for line in lines if line.job_id)
    assert charged.total() == len(charged) > 0
    transactions = SqlTransactions(databases[1])
    found = await LedgerVerification(transactions, SqlBooksReader(transactions)).page(START, 100_000)
    assert (found.wallets, found.offenders, found.position) == (wallet_count, [], None)


async def test_a_hold_placed_and_released_at_the_same_instant_reserves_nothing_for_good(
    services: list[WalletsService],
) -> None:
    wallet = await funded(services[0], 1000)
    for _ in range(20):
        request = PlaceHold(hold_id=uuid7(), job_id=uuid7(), owner=wallet.owner, amount_cents=10)
        await asyncio.gather(
            services[0].place_holds([request]), services[1].release_holds([ReleaseHold(hold_id=request.hold_id)])
        )
        await services[0].release_holds([ReleaseHold(hold_id=request.hold_id)])
    assert (await services[0].get(wallet.id, ALL_TENANTS)).available_cents == 1000


async def test_refunds_at_the_same_instant_never_give_back_more_than_was_charged(
    services: list[WalletsService],
) -> None:
    wallet = await funded(services[0], 100)
    await services[0].deduct(charge(wallet.owner, 50, job_id := uuid7()), ALL_TENANTS)
    results = await asyncio.gather(
        *(
            services[n % 2].refund(
                Refund(transaction_id=uuid7(), charge=JobCharge(job_id), amount_cents=20, idempotency_key=str(n))
            )
            for n in range(8)
        ),
        return_exceptions=True,
    )
    assert Counter(type(one) for one in results) == {Accepted: 2, RefundExceedsCharge: 6}
    assert (await services[1].get(wallet.id, ALL_TENANTS)).current_balance_cents == 90


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallet_transactions SET amount_cents = 1",
        "DELETE FROM wallet_transactions",
        "TRUNCATE wallet_transactions",
    ],
)
async def test_the_database_refuses_to_change_what_was_written(databases: list[Database], statement: str) -> None:
    with pytest.raises(ConstraintViolated) as refused:
        await execute(databases[0], statement)
    assert refused.value.constraint == "wallet_transactions_append_only"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE wallets SET current_balance_cents = current_balance_cents + 5", Problem.BALANCE),
        ("UPDATE wallets SET pending_charges_cents = 3", Problem.PENDING),
        ("UPDATE wallets SET last_sequence = 9", Problem.SEQUENCE_GAP),
        (
            "ALTER TABLE wallet_transactions DISABLE TRIGGER USER; "
            "UPDATE wallet_transactions SET balance_after_cents = 1 WHERE sequence = 2",
            Problem.BROKEN_CHAIN,
        ),
        (
            "ALTER TABLE wallet_transactions DISABLE TRIGGER USER; DELETE FROM wallet_transactions WHERE sequence = 2",
            Problem.SEQUENCE_GAP,
        ),
    ],
)
async def test_books_that_were_tampered_with_are_found(
    services: list[WalletsService], databases: list[Database], change: str, problem: Problem
) -> None:
    wallet = await funded(services[0], 100)
    await services[0].deduct_many([charge(wallet.owner, 10, uuid7()) for _ in range(3)], ALL_TENANTS)
    for statement in change.split("; "):
        await execute(databases[0], statement)
    transactions = SqlTransactions(databases[0])
    found = await LedgerVerification(transactions, SqlBooksReader(transactions)).page(START, 100_000)
    assert problem in {one.problem for one in found.offenders}
    assert {one.wallet_id for one in found.offenders} == {wallet.id}


async def test_the_same_wallet_created_at_the_same_instant_is_stored_once(services: list[WalletsService]) -> None:
    new = NewWallet(id=uuid7(), customer_id=uuid7())
    results = await asyncio.gather(*(services[n % 2].create(new) for n in range(8)))
    assert Counter(one.replayed for one in results) == {False: 1, True: 7}


class FailingLedger:
    """A ledger that fails some times before it applies."""

    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.calls = 0

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = SqlLedger.apply

        async def apply(ledger: SqlLedger, requests: list[Deduct], **how: bool) -> object:
            self.calls += 1
            decisions = await real(ledger, requests, **how)
            if self.failures:
                raise self.failures.pop()
            return decisions

        monkeypatch.setattr(SqlLedger, "apply", apply)


async def test_a_unit_that_met_a_conflict_is_repeated_whole(
    services: list[WalletsService], monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await funded(services[0], 10)
    failing = FailingLedger([Conflict(), Conflict()])
    failing.patch(monkeypatch)
    assert not (await services[0].deduct(charge(wallet.owner, 10, uuid7()), ALL_TENANTS)).replayed
    assert failing.calls == 3
    assert len(await checked_statement(services[0], wallet.id)) == 2


async def test_a_unit_with_an_unknown_outcome_is_not_repeated(
    services: list[WalletsService], monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await funded(services[0], 10)
    failing = FailingLedger([ConnectionFailed()])
    failing.patch(monkeypatch)
    with pytest.raises(ConnectionFailed):
        await services[0].deduct(charge(wallet.owner, 10, uuid7()), ALL_TENANTS)
    assert failing.calls == 1


async def execute(database: Database, statement: str) -> None:
    async with database.transaction() as transaction:
        await transaction.connection.execute(text(statement))
        await transaction.commit()


INSERT = """
    INSERT INTO wallet_transactions
        (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents, idempotency_key, job_id)
    VALUES (gen_random_uuid(), '{wallet}', {sequence}, '{kind}', '{account}', {amount}, {after}, '{key}', {job})
"""
LINE = {"sequence": 2, "kind": "CREDIT", "account": "FUNDING", "amount": 1, "after": 11, "key": "k", "job": "NULL"}


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"sequence": 0}, "ck_wallet_transactions_sequence_from_1"),
        ({"amount": -1}, "ck_wallet_transactions_sign_fits_kind"),
        ({"amount": 0}, "ck_wallet_transactions_sign_fits_kind"),
        ({"kind": "DEDUCTION", "account": "REVENUE"}, "ck_wallet_transactions_sign_fits_kind"),
        ({"kind": "GIFT", "account": "REVENUE"}, "ck_wallet_transactions_sign_fits_kind"),
        ({"account": "REVENUE"}, "ck_wallet_transactions_counter_account_fits_kind"),
        ({"after": -1}, "ck_wallet_transactions_balance_not_negative"),
        ({"kind": "REFUND", "account": "REVENUE"}, "ck_wallet_transactions_refund_names_deduction"),
        ({"key": "job:1"}, "ck_wallet_transactions_key_fits_job"),
        (
            {"kind": "DEDUCTION", "account": "REVENUE", "amount": -1, "job": "gen_random_uuid()"},
            "ck_wallet_transactions_key_fits_job",
        ),
    ],
)
async def test_the_database_refuses_lines_that_break_the_rules(
    services: list[WalletsService], databases: list[Database], fields: dict[str, object], constraint: str
) -> None:
    wallet = await funded(services[0], 10)
    with pytest.raises(ConstraintViolated) as refused:
        await execute(databases[0], INSERT.format_map(LINE | fields | {"wallet": wallet.id}))
    assert refused.value.constraint == constraint


@pytest.mark.parametrize("fields", [{"sequence": 1}, {"key": "top-up"}])
async def test_the_database_refuses_a_sequence_or_key_a_second_time(
    services: list[WalletsService], databases: list[Database], fields: dict[str, object]
) -> None:
    wallet = await funded(services[0], 10)
    with pytest.raises(AlreadyExists):
        await execute(databases[0], INSERT.format_map(LINE | fields | {"wallet": wallet.id}))


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("current_balance_cents = -1", "ck_wallets_balance_not_negative"),
        ("pending_charges_cents = -1", "ck_wallets_pending_not_negative"),
        ("pending_charges_cents = 11", "ck_wallets_pending_within_balance"),
        ("currency = 'eur'", "ck_wallets_currency_is_iso_4217"),
    ],
)
async def test_the_database_refuses_wallets_that_break_the_rules(
    services: list[WalletsService], databases: list[Database], change: str, constraint: str
) -> None:
    wallet = await funded(services[0], 10)
    with pytest.raises(ConstraintViolated) as refused:
        await execute(databases[0], f"UPDATE wallets SET {change} WHERE id = '{wallet.id}'")
    assert refused.value.constraint == constraint
