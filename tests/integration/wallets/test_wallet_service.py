"""WalletService over gRPC on PostgreSQL: wallets, lists and the check of the books."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.support.rpc.refusals import Refused, Stored
from tests.support.rpc.wallet_calls import charge, credit, get, hold, job_charge, statement, wallet

SERVICE = "wallets"


def test_a_new_wallet_is_empty_and_in_euros_unless_told_otherwise(stub: WalletServiceStub) -> None:
    euros = wallet(stub)
    dollars = wallet(stub, customer_id=euros.customer_id, currency="USD")

    assert (euros.currency, euros.current_balance_cents, euros.available_cents) == ("EUR", 0, 0)
    assert dollars.currency == "USD"
    assert get(stub, euros.id) == euros
    by_owner = pb.WalletOwner(customer_id=euros.customer_id, currency="USD")
    assert stub.GetWallet(pb.GetWalletRequest(owner=by_owner)).wallet == dollars


@pytest.mark.parametrize("currency", ["XQZ", "XAU", "HRK"])
def test_a_new_wallet_is_in_a_currency_of_iso_4217_that_has_a_minor_unit(
    stub: WalletServiceStub, refused: Refused, currency: str
) -> None:
    request = pb.CreateWalletRequest(wallet_id=str(uuid4()), customer_id=str(uuid4()), currency=currency)
    refused.field(stub.CreateWallet, request, "currency")


def test_a_wallet_of_an_earlier_release_in_another_code_is_kept_and_works(
    stub: WalletServiceStub, database_url: str
) -> None:
    made = wallet(stub)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE wallets SET currency = 'XQZ' WHERE id = %s", (made.id,))
    again = pb.CreateWalletRequest(wallet_id=made.id, customer_id=made.customer_id, currency="XQZ")
    assert stub.CreateWallet(again).replayed
    kept = get(stub, made.id)
    assert stub.Credit(credit(kept, 5)).wallet.current_balance_cents == 5
    assert stub.Deduct(charge(kept, 2)).wallet.current_balance_cents == 3


def test_without_an_id_the_server_makes_one(stub: WalletServiceStub) -> None:
    assert UUID(wallet(stub, wallet_id="").id).version == 7


def test_a_repeated_create_is_answered_with_the_wallet_as_it_is_now(stub: WalletServiceStub, stored: Stored) -> None:
    first = wallet(stub, 500)
    with stored.unchanged():
        again = stub.CreateWallet(pb.CreateWalletRequest(wallet_id=first.id, customer_id=first.customer_id))

    assert again == pb.CreateWalletResponse(wallet=first, replayed=True)


def test_an_id_used_with_other_parameters_is_refused_and_they_are_named(
    stub: WalletServiceStub, refused: Refused
) -> None:
    first = wallet(stub)

    def reused(**values: str) -> dict[str, str]:
        request = pb.CreateWalletRequest(wallet_id=first.id, **values)
        return refused(stub.CreateWallet, request, "IDEMPOTENCY_KEY_REUSED").metadata

    assert reused(customer_id=first.customer_id, currency="USD") == {"fields": "currency"}
    assert reused(customer_id=str(uuid4()), currency="USD") == {"fields": "customer_id,currency"}


def test_a_customer_has_one_wallet_in_a_currency(stub: WalletServiceStub, refused: Refused) -> None:
    first = wallet(stub)
    second = pb.CreateWalletRequest(wallet_id=str(uuid4()), customer_id=first.customer_id)

    error = refused(stub.CreateWallet, second, "WALLET_EXISTS")

    assert error.metadata == {"wallet_id": first.id, "customer_id": first.customer_id, "currency": "EUR"}


def test_a_wallet_that_is_not_there_is_not_found(stub: WalletServiceStub, refused: Refused) -> None:
    nobody = wallet_pb2.Wallet(id=str(uuid4()), customer_id=str(uuid4()), currency="EUR")
    owner = pb.WalletOwner(customer_id=nobody.customer_id, currency="EUR")
    by_owner = {"customer_id": nobody.customer_id, "currency": "EUR"}

    def missing(method: Callable[[Any], Any], request: Any) -> dict[str, str]:
        return refused(method, request, "WALLET_NOT_FOUND").metadata

    assert missing(stub.GetWallet, pb.GetWalletRequest(wallet_id=nobody.id)) == {"wallet_id": nobody.id}
    assert missing(stub.GetWallet, pb.GetWalletRequest(owner=owner)) == by_owner
    assert missing(stub.Credit, credit(nobody, 1)) == by_owner
    assert missing(stub.Deduct, charge(nobody, 1)) == by_owner
    assert missing(stub.ListTransactions, pb.ListTransactionsRequest(owner=owner)) == by_owner
    assert missing(stub.ListTransactions, pb.ListTransactionsRequest(wallet_id=nobody.id)) == {"wallet_id": nobody.id}
    unknown = str(uuid4())
    error = refused(stub.GetTransaction, pb.GetTransactionRequest(transaction_id=unknown), "TRANSACTION_NOT_FOUND")
    assert error.metadata == {"transaction_id": unknown}


def test_a_wallet_has_to_be_named_by_a_valid_id(stub: WalletServiceStub, refused: Refused) -> None:
    refused.field(stub.GetWallet, pb.GetWalletRequest(), "wallet")
    refused.field(stub.GetWallet, pb.GetWalletRequest(wallet_id="nonsense"), "wallet_id")
    bad = pb.WalletOwner(customer_id="nonsense", currency="euro")
    refused.field(stub.GetWallet, pb.GetWalletRequest(owner=bad), "owner.customer_id", "owner.currency")
    refused.field(stub.ListTransactions, pb.ListTransactionsRequest(), "wallet")
    refused.field(stub.GetTransaction, pb.GetTransactionRequest(transaction_id="nonsense"), "transaction_id")
    bad_create = pb.CreateWalletRequest(wallet_id="nonsense", customer_id="", currency="eur")
    refused.field(stub.CreateWallet, bad_create, "wallet_id", "customer_id", "currency")


def test_wallets_are_listed_page_by_page(stub: WalletServiceStub) -> None:
    currency = "NOK"
    made = [wallet(stub, cents, currency=currency).id for cents in (30, 10, 50, 20, 40)]
    asked = pb.ListWalletsRequest(page_size=2, filter=f"currency = {currency}", order_by="current_balance_cents desc")
    found = []
    for _ in range(3):
        page = stub.ListWallets(asked)
        found += [one.id for one in page.wallets]
        asked.page_token = page.next_page_token

    assert found == [made[2], made[4], made[0], made[3], made[1]]
    assert not asked.page_token


def test_a_statement_is_read_newest_first_filtered_and_page_by_page(stub: WalletServiceStub) -> None:
    owner = wallet(stub, 1000)
    job_id = str(uuid4())
    stub.Deduct(job_charge(owner, 5, job_id))
    for number in range(4):
        stub.Deduct(charge(owner, 10, f"key-{number}"))

    assert [one.sequence for one in statement(stub, owner.id)] == [6, 5, 4, 3, 2, 1]
    assert [one.sequence for one in statement(stub, owner.id, filter=f'job_id = "{job_id}"')] == [2]
    assert [one.sequence for one in statement(stub, owner.id, filter="kind = CREDIT")] == [1]
    of_owner = pb.WalletOwner(customer_id=owner.customer_id, currency="EUR")
    asked = pb.ListTransactionsRequest(owner=of_owner, page_size=4, filter="amount_cents < 0")
    first = stub.ListTransactions(asked)
    asked.page_token = first.next_page_token
    second = stub.ListTransactions(asked)
    assert [[one.sequence for one in page.transactions] for page in (first, second)] == [[6, 5, 4, 3], [2]]
    assert not second.next_page_token


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"filter": "kind = GIFT"}, "INVALID_FILTER"),
        ({"filter": "amount_cents > 9223372036854775808"}, "INVALID_FILTER"),
        ({"filter": "wallet_id = 1"}, "INVALID_FILTER"),
        ({"order_by": "amount_cents"}, "INVALID_ORDER_BY"),
        ({"page_token": "AAAA"}, "INVALID_PAGE_TOKEN"),
    ],
)
def test_statements_with_bad_parameters_are_refused(
    stub: WalletServiceStub, refused: Refused, values: dict[str, Any], reason: str
) -> None:
    asked = pb.ListTransactionsRequest(wallet_id=wallet(stub).id, **values)
    refused(stub.ListTransactions, asked, reason)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"filter": "customer_id = nobody"}, "INVALID_FILTER"),
        ({"order_by": "currency"}, "INVALID_ORDER_BY"),
        ({"page_token": "AAAA"}, "INVALID_PAGE_TOKEN"),
    ],
)
def test_lists_with_bad_parameters_are_refused(
    stub: WalletServiceStub, refused: Refused, values: dict[str, Any], reason: str
) -> None:
    refused(stub.ListWallets, pb.ListWalletsRequest(**values), reason)
    refused.field(stub.ListWallets, pb.ListWalletsRequest(page_size=-1), "page_size")


def test_the_page_token_of_one_statement_does_not_open_another(stub: WalletServiceStub, refused: Refused) -> None:
    mine, other = wallet(stub, 1), wallet(stub, 1)
    stub.Credit(credit(mine, 1, "second"))
    token = stub.ListTransactions(pb.ListTransactionsRequest(wallet_id=mine.id, page_size=1)).next_page_token
    assert token

    asked = pb.ListTransactionsRequest(wallet_id=other.id, page_token=token)
    refused(stub.ListTransactions, asked, "INVALID_PAGE_TOKEN")


def test_a_wallet_is_answered_with_the_balance_of_a_past_time(stub: WalletServiceStub) -> None:
    owner = wallet(stub, 100)
    stub.PlaceHold(hold(owner, 30))
    stub.Deduct(charge(owner, 70))
    first = statement(stub, owner.id, order_by="sequence")[0]

    past = stub.GetWallet(pb.GetWalletRequest(wallet_id=owner.id, at=first.created_at)).wallet

    assert (past.current_balance_cents, past.updated_at) == (100, first.created_at)
    assert (past.pending_charges_cents, past.available_cents, past.etag) == (0, 0, "")


def test_the_books_of_all_wallets_add_up(stub: WalletServiceStub, refused: Refused) -> None:
    request = pb.VerifyLedgerRequest(page_size=7)
    wallets = 0
    while True:
        page = stub.VerifyLedger(request)
        assert (page.offender_count, page.sequence_gaps, page.ledger_imbalance_cents) == (0, 0, 0)
        wallets += page.wallets
        if not (token := page.next_page_token):
            break
        request.page_token = token
    assert wallets == stub.VerifyLedger(pb.VerifyLedgerRequest(page_size=200_000)).wallets > 0
    refused(stub.VerifyLedger, pb.VerifyLedgerRequest(page_token="AAAA"), "INVALID_PAGE_TOKEN")
