"""WalletService as its callers see it, on the in-memory repositories."""

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from google.rpc.code_pb2 import ALREADY_EXISTS, FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from services.kit.charges.keys import KeyRing
from services.kit.charges.vouchers import Vouchers
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import InvalidField, InvalidPageToken
from services.kit.query.page import PageTokens
from services.kit.rpc.validation import ContractValidator
from services.wallets.rpc.servicer import Context, WalletServicer
from tests.support.wallets_work import memory_work

CONTEXT = cast("Context", None)
VALIDATOR = ContractValidator()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def servicer() -> WalletServicer:
    work = memory_work(MemoryTransactions())
    return WalletServicer(
        work.service,
        work.verification,
        PageTokens(b"0123456789abcdef"),
        VALIDATOR,
        lambda: NOW,
        vouchers=Vouchers(lambda: KeyRing(()), lambda: NOW),
    )


async def funded(servicer: WalletServicer, cents: int) -> wallet_pb2.Wallet:
    created = await servicer.CreateWallet(
        pb.CreateWalletRequest(wallet_id=str(uuid4()), customer_id=str(uuid4())), CONTEXT
    )
    paid = await servicer.Credit(
        pb.CreditRequest(
            customer_id=created.wallet.customer_id, currency="EUR", amount_cents=cents, idempotency_key="top-up"
        ),
        CONTEXT,
    )
    return paid.wallet


def deduction(wallet: wallet_pb2.Wallet, cents: int, key: str, **fields: Any) -> pb.DeductRequest:
    return pb.DeductRequest(
        customer_id=wallet.customer_id, currency="EUR", amount_cents=cents, idempotency_key=key, **fields
    )


def reason(status: Status) -> str:
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


def invalid_fields(status: Status) -> list[str]:
    details = BadRequest()
    assert status.details[1].Unpack(details)
    return [one.field for one in details.field_violations]


async def test_a_wallet_is_in_euros_unless_told_otherwise(servicer: WalletServicer) -> None:
    request = pb.CreateWalletRequest(customer_id=str(uuid4()))
    created = await servicer.CreateWallet(request, CONTEXT)
    assert created.wallet.currency == "EUR"
    assert UUID(created.wallet.id).version == 7
    assert not created.replayed
    same = pb.CreateWalletRequest(wallet_id=created.wallet.id, customer_id=created.wallet.customer_id, currency="EUR")
    again = await servicer.CreateWallet(same, CONTEXT)
    assert again == pb.CreateWalletResponse(wallet=created.wallet, replayed=True)


async def test_a_charge_answers_the_transaction_and_the_wallet(servicer: WalletServicer) -> None:
    wallet = await funded(servicer, 100)
    job_id = str(uuid4())
    request = deduction(wallet, 30, f"job:{job_id}", job_id=job_id, description="a note")
    charged = await servicer.Deduct(request, CONTEXT)
    assert charged.transaction.kind == wallet_pb2.TRANSACTION_KIND_DEDUCTION
    assert charged.transaction.counter_account == wallet_pb2.COUNTER_ACCOUNT_REVENUE
    assert (charged.transaction.amount_cents, charged.transaction.balance_after_cents) == (-30, 70)
    assert (charged.transaction.currency, charged.transaction.sequence) == ("EUR", 2)
    assert (charged.transaction.job_id, charged.transaction.hold_id) == (job_id, "")
    assert (charged.wallet.available_cents, charged.wallet.etag) == (70, "3")
    again = await servicer.Deduct(request, CONTEXT)
    assert again == pb.DeductResponse(transaction=charged.transaction, wallet=charged.wallet, replayed=True)
    read = await servicer.GetTransaction(pb.GetTransactionRequest(transaction_id=charged.transaction.id), CONTEXT)
    assert read.transaction == charged.transaction


async def test_a_wallet_is_found_by_id_and_by_owner(servicer: WalletServicer) -> None:
    wallet = await funded(servicer, 100)
    owner = pb.WalletOwner(customer_id=wallet.customer_id, currency="EUR")
    for request in (pb.GetWalletRequest(wallet_id=wallet.id), pb.GetWalletRequest(owner=owner)):
        assert (await servicer.GetWallet(request, CONTEXT)).wallet == wallet


async def test_each_item_of_a_batch_gets_its_own_answer(servicer: WalletServicer) -> None:
    wallet = await funded(servicer, 100)
    job_id = str(uuid4())
    stranger = wallet_pb2.Wallet(customer_id=str(uuid4()))
    response = await servicer.BatchDeduct(
        pb.BatchDeductRequest(
            requests=[
                deduction(wallet, 10, "a"),
                deduction(wallet, -1, "b"),
                deduction(wallet, 10, "c", job_id=job_id),
                deduction(stranger, 1, "a"),
                deduction(wallet, 91, "d"),
                deduction(wallet, 11, "a"),
                deduction(wallet, 10, "a"),
                deduction(wallet, 90, f"job:{job_id}", job_id=job_id),
            ]
        ),
        CONTEXT,
    )
    results = response.results
    assert [one.WhichOneof("result") for one in results] == ["response", *["error"] * 5, *["response"] * 2]
    errors = [one.error for one in results[1:6]]
    assert [(one.code, reason(one)) for one in errors] == [
        (INVALID_ARGUMENT, "INVALID_FIELD"),
        (INVALID_ARGUMENT, "INVALID_FIELD"),
        (NOT_FOUND, "WALLET_NOT_FOUND"),
        (FAILED_PRECONDITION, "INSUFFICIENT_FUNDS"),
        (ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED"),
    ]
    assert invalid_fields(errors[0]) == ["requests[1].amount_cents"]
    assert results[6].response.replayed
    assert results[7].response.wallet.current_balance_cents == 0


async def test_only_a_charge_for_the_job_has_the_key_of_a_job(servicer: WalletServicer) -> None:
    wallet = await funded(servicer, 100)
    key = f"job:{uuid4()}"
    credit = pb.CreditRequest(customer_id=wallet.customer_id, currency="EUR", amount_cents=1, idempotency_key=key)
    for refused in (
        servicer.Credit(credit, CONTEXT),
        servicer.Deduct(deduction(wallet, 1, key), CONTEXT),
        servicer.Deduct(deduction(wallet, 1, key, job_id=str(uuid4())), CONTEXT),
        servicer.Deduct(deduction(wallet, 1, "other", job_id=str(uuid4())), CONTEXT),
    ):
        with pytest.raises(InvalidField) as error:
            await refused
        assert [one.field for one in error.value.violations] == ["idempotency_key"]


async def test_a_statement_is_listed_page_by_page_and_its_tokens_are_the_wallets(servicer: WalletServicer) -> None:
    wallet, other = await funded(servicer, 100), await funded(servicer, 100)
    for n in range(4):
        await servicer.Deduct(deduction(wallet, 1, str(n)), CONTEXT)
    first = await servicer.ListTransactions(
        pb.ListTransactionsRequest(wallet_id=wallet.id, page_size=3, filter="kind = DEDUCTION"), CONTEXT
    )
    assert [one.sequence for one in first.transactions] == [5, 4, 3]
    following = pb.ListTransactionsRequest(
        wallet_id=wallet.id, filter="kind = DEDUCTION", page_token=first.next_page_token
    )
    last = await servicer.ListTransactions(following, CONTEXT)
    assert [one.sequence for one in last.transactions] == [2]
    assert last.next_page_token == ""
    following.wallet_id = other.id
    with pytest.raises(InvalidPageToken):
        await servicer.ListTransactions(following, CONTEXT)


async def test_wallets_are_listed_the_latest_first(servicer: WalletServicer) -> None:
    wallets = [await funded(servicer, cents) for cents in (1, 2, 3)]
    first = await servicer.ListWallets(pb.ListWalletsRequest(page_size=2), CONTEXT)
    last = await servicer.ListWallets(pb.ListWalletsRequest(page_token=first.next_page_token), CONTEXT)
    assert [*first.wallets, *last.wallets] == wallets[::-1]
