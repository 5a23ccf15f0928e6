"""WalletService over gRPC on PostgreSQL: money moves once a key, and a refusal writes nothing."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub, add_WalletServiceServicer_to_server
from services.wallets.rpc.servicer import WalletServicer
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.refusals import Refused, Stored, details, fields
from tests.support.rpc.servers import wallets_servicer

SERVICE = "wallets"
LARGEST = 2**63 - 1


@pytest.fixture(scope="module")
def grpc_add_to_server() -> Callable[..., None]:
    return add_WalletServiceServicer_to_server


@pytest.fixture(scope="module")
def grpc_servicer(loop_thread: LoopThread, database_url: str) -> Iterator[WalletServicer]:
    with wallets_servicer(loop_thread, database_url) as servicer:
        yield servicer


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[WalletServiceStub]:
    return WalletServiceStub


@pytest.fixture
def stub(grpc_stub: WalletServiceStub) -> WalletServiceStub:
    return grpc_stub


def wallet(stub: WalletServiceStub, cents: int = 0, **values: Any) -> wallet_pb2.Wallet:
    """A wallet of a customer of its own, with money in it."""
    asked = {"wallet_id": str(uuid4()), "customer_id": str(uuid4()), **values}
    made = stub.CreateWallet(pb.CreateWalletRequest(**asked)).wallet
    return stub.Credit(credit(made, cents)).wallet if cents else made


def credit(owner: wallet_pb2.Wallet, cents: int, key: str = "top-up", **values: Any) -> pb.CreditRequest:
    of = {"customer_id": owner.customer_id, "currency": owner.currency, **values}
    return pb.CreditRequest(amount_cents=cents, idempotency_key=key, **of)


def charge(owner: wallet_pb2.Wallet, cents: int, key: str = "charge", **values: Any) -> pb.DeductRequest:
    of = {"customer_id": owner.customer_id, "currency": owner.currency, **values}
    return pb.DeductRequest(amount_cents=cents, idempotency_key=key, **of)


def job_charge(owner: wallet_pb2.Wallet, cents: int, job_id: str) -> pb.DeductRequest:
    return charge(owner, cents, f"job:{job_id}", job_id=job_id)


def get(stub: WalletServiceStub, wallet_id: str) -> wallet_pb2.Wallet:
    return stub.GetWallet(pb.GetWalletRequest(wallet_id=wallet_id)).wallet


def statement(stub: WalletServiceStub, wallet_id: str, **values: Any) -> list[wallet_pb2.Transaction]:
    return list(stub.ListTransactions(pb.ListTransactionsRequest(wallet_id=wallet_id, **values)).transactions)


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


def test_credits_and_charges_make_a_statement_without_gaps(stub: WalletServiceStub) -> None:
    owner = wallet(stub, 1000)
    job_id = str(uuid4())

    charged = stub.Deduct(job_charge(owner, 300, job_id))
    stub.Credit(credit(owner, 50, "second", description="bonus"))

    assert not charged.replayed
    assert charged.wallet.available_cents == 700
    lines = statement(stub, owner.id, order_by="sequence")
    assert [(one.sequence, one.amount_cents, one.balance_after_cents) for one in lines] == [
        (1, 1000, 1000),
        (2, -300, 700),
        (3, 50, 750),
    ]
    assert lines[1] == charged.transaction
    assert (lines[1].kind, lines[1].counter_account) == (
        wallet_pb2.TRANSACTION_KIND_DEDUCTION,
        wallet_pb2.COUNTER_ACCOUNT_REVENUE,
    )
    assert (lines[1].job_id, lines[1].currency, lines[2].description) == (job_id, "EUR", "bonus")
    read = stub.GetTransaction(pb.GetTransactionRequest(transaction_id=lines[1].id)).transaction
    assert read == charged.transaction
    assert get(stub, owner.id).current_balance_cents == 750


def test_the_same_key_again_moves_no_money_and_gets_the_first_answer(stub: WalletServiceStub, stored: Stored) -> None:
    owner = wallet(stub, 1000)
    asked = job_charge(owner, 400, str(uuid4()))
    first = stub.Deduct(asked)
    asked.description = "sent again"

    with stored.unchanged():
        again = stub.Deduct(asked)
        credited = stub.Credit(credit(owner, 1000))

    assert again.replayed
    assert again.transaction == first.transaction
    assert credited.replayed
    assert get(stub, owner.id).available_cents == 600


def test_a_key_that_was_charged_is_answered_even_when_nothing_is_left(stub: WalletServiceStub) -> None:
    owner = wallet(stub, 100)
    asked = charge(owner, 100)
    first = stub.Deduct(asked)

    assert stub.Deduct(asked).transaction == first.transaction


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"amount_cents": 11}, "amount_cents"), ({"hold_id": str(uuid4())}, "hold_id")],
)
def test_a_key_with_other_parameters_is_refused_and_they_are_named(
    stub: WalletServiceStub, refused: Refused, values: dict[str, Any], expected: str
) -> None:
    owner = wallet(stub, 100)
    job_id = str(uuid4())
    asked = job_charge(owner, 10, job_id)
    stub.Deduct(asked)
    asked.MergeFrom(pb.DeductRequest(**values))

    assert refused(stub.Deduct, asked, "IDEMPOTENCY_KEY_REUSED").metadata == {"fields": expected}


def test_the_key_of_a_credit_can_not_charge(stub: WalletServiceStub, refused: Refused) -> None:
    owner = wallet(stub, 100)

    error = refused(stub.Deduct, charge(owner, 50, "top-up"), "IDEMPOTENCY_KEY_REUSED")

    assert error.metadata == {"fields": "idempotency_key,amount_cents"}


def test_a_charge_beyond_the_balance_is_refused_with_what_is_there(stub: WalletServiceStub, refused: Refused) -> None:
    owner = wallet(stub, 100)

    error = refused(stub.Deduct, charge(owner, 101), "INSUFFICIENT_FUNDS")

    assert error.metadata == {"available_cents": "100", "required_cents": "101", "currency": "EUR"}
    assert [violation.type for violation in error.violations] == ["INSUFFICIENT_FUNDS"]
    assert stub.Deduct(charge(owner, 100)).wallet.available_cents == 0


def test_a_refused_key_may_be_used_when_there_is_money(stub: WalletServiceStub, refused: Refused) -> None:
    owner = wallet(stub, 10)
    asked = job_charge(owner, 20, str(uuid4()))
    refused(stub.Deduct, asked, "INSUFFICIENT_FUNDS")
    stub.Credit(credit(owner, 10, "more"))

    assert not stub.Deduct(asked).replayed


def test_a_balance_may_be_as_large_as_an_int64_and_no_larger(stub: WalletServiceStub, refused: Refused) -> None:
    owner = wallet(stub, LARGEST)
    assert owner.current_balance_cents == LARGEST

    error = refused(stub.Credit, credit(owner, 1, "one more"), "BALANCE_OVERFLOW")

    assert error.metadata == {
        "current_balance_cents": str(LARGEST),
        "amount_cents": "1",
        "balance_cents_max": str(LARGEST),
    }
    refused(stub.Credit, credit(owner, LARGEST, "as much again"), "BALANCE_OVERFLOW")
    assert stub.Deduct(charge(owner, LARGEST)).wallet.current_balance_cents == 0


@pytest.mark.parametrize("cents", [0, -1, -(2**53), -(2**63)])
def test_amounts_that_are_not_positive_are_refused(stub: WalletServiceStub, refused: Refused, cents: int) -> None:
    owner = wallet(stub, 100)
    job_id = str(uuid4())
    stub.Deduct(job_charge(owner, 50, job_id))

    refused.field(stub.Credit, credit(owner, cents, "other"), "amount_cents")
    refused.field(stub.Deduct, charge(owner, cents), "amount_cents")
    refused.field(stub.PlaceHold, hold(owner, cents), "amount_cents")
    if cents:
        refused.field(
            stub.Refund, pb.RefundRequest(job_id=job_id, amount_cents=cents, idempotency_key="r"), "amount_cents"
        )


# A double counts by ones up to 2^53; the last is the largest amount that there is.
@pytest.mark.parametrize("cents", [2**53, 2**53 + 1, LARGEST - 1, LARGEST])
def test_large_amounts_are_exact_to_the_cent(stub: WalletServiceStub, refused: Refused, cents: int) -> None:
    owner = wallet(stub, cents)
    assert owner.current_balance_cents == cents

    placed = stub.PlaceHold(asked := hold(owner, cents))
    assert (placed.wallet.pending_charges_cents, placed.wallet.available_cents) == (cents, 0)
    assert refused(stub.Deduct, charge(owner, 1), "INSUFFICIENT_FUNDS").metadata["available_cents"] == "0"
    request = job_charge(owner, cents, asked.job_id)
    request.hold_id = asked.hold_id
    charged = stub.Deduct(request)
    assert (charged.transaction.amount_cents, charged.wallet.current_balance_cents) == (-cents, 0)
    back = stub.Refund(pb.RefundRequest(job_id=asked.job_id, amount_cents=cents - 1, idempotency_key="back"))
    assert back.wallet.current_balance_cents == cents - 1
    stub.Refund(pb.RefundRequest(job_id=asked.job_id, idempotency_key="rest"))
    assert [line.amount_cents for line in statement(stub, owner.id, order_by="sequence")] == [
        cents,
        -cents,
        cents - 1,
        1,
    ]


@pytest.mark.parametrize("cents", [2**53, LARGEST])
def test_more_than_there_is_is_refused_with_exact_amounts(
    stub: WalletServiceStub, refused: Refused, cents: int
) -> None:
    owner = wallet(stub, cents - 1)
    missing = {"available_cents": str(cents - 1), "required_cents": str(cents), "currency": "EUR"}

    assert refused(stub.Deduct, charge(owner, cents), "INSUFFICIENT_FUNDS").metadata == missing
    assert refused(stub.PlaceHold, hold(owner, cents), "INSUFFICIENT_FUNDS").metadata == missing
    charged = stub.Deduct(charge(owner, cents - 1)).transaction
    too_much = pb.RefundRequest(transaction_id=charged.id, amount_cents=cents, idempotency_key="back")
    assert refused(stub.Refund, too_much, "REFUND_EXCEEDS_CHARGE").metadata == {
        "transaction_id": charged.id,
        "refundable_cents": str(cents - 1),
        "requested_cents": str(cents),
    }


def test_holds_whose_sum_overflows_are_refused_one_by_one(stub: WalletServiceStub) -> None:
    owner = wallet(stub, LARGEST)
    asked = [hold(owner, LARGEST), hold(owner, LARGEST), hold(owner, 1)]

    first, *others = stub.BatchPlaceHolds(pb.BatchPlaceHoldsRequest(requests=asked)).results

    assert first.response.wallet.pending_charges_cents == LARGEST
    for one in others:
        assert details(one.error, "INSUFFICIENT_FUNDS").metadata["available_cents"] == "0"


def test_a_refund_that_would_overflow_the_balance_is_refused(stub: WalletServiceStub, refused: Refused) -> None:
    owner = wallet(stub, LARGEST)
    job_id = str(uuid4())
    stub.Deduct(job_charge(owner, 10, job_id))
    stub.Credit(credit(owner, 5, "in between"))

    overflowing = pb.RefundRequest(job_id=job_id, idempotency_key="all")
    assert refused(stub.Refund, overflowing, "BALANCE_OVERFLOW").metadata == {
        "current_balance_cents": str(LARGEST - 5),
        "amount_cents": "10",
        "balance_cents_max": str(LARGEST),
    }
    part = pb.RefundRequest(job_id=job_id, amount_cents=5, idempotency_key="part")
    assert stub.Refund(part).wallet.current_balance_cents == LARGEST


def test_bad_fields_of_credits_and_charges_are_named(stub: WalletServiceStub, refused: Refused) -> None:
    owner = wallet(stub, 100)
    job_id = str(uuid4())

    for make, method in ((credit, stub.Credit), (charge, stub.Deduct)):
        refused.field(method, make(owner, 1, customer_id="nonsense"), "customer_id")
        refused.field(method, make(owner, 1, currency="euro"), "currency")
        refused.field(method, make(owner, 1, ""), "idempotency_key")
        refused.field(method, make(owner, 1, "x" * 201), "idempotency_key")
        refused.field(method, make(owner, 1, "a\0b"), "idempotency_key")
        refused.field(method, make(owner, 1, description="a\0b"), "description")
        refused.field(method, make(owner, 1, f"job:{job_id}"), "idempotency_key")
    refused.field(stub.Deduct, charge(owner, 1, "mine", job_id=job_id), "idempotency_key")
    refused.field(stub.Deduct, charge(owner, 1, job_id="nonsense", hold_id="nonsense"), "hold_id", "job_id")


def test_a_batch_charges_what_it_can_and_refuses_the_rest_item_by_item(stub: WalletServiceStub) -> None:
    owner, poor = wallet(stub, 1000), wallet(stub, 5)
    known = job_charge(owner, 10, str(uuid4()))
    stub.Deduct(known)
    requests = [
        job_charge(owner, 100, str(uuid4())),
        charge(poor, 6),
        charge(owner, -1, "negative"),
        known,
        charge(owner, 10, "", job_id="nonsense"),
        charge(wallet_pb2.Wallet(customer_id=str(uuid4()), currency="EUR"), 1),
        charge(owner, 5, "last"),
    ]

    results = stub.BatchDeduct(pb.BatchDeductRequest(requests=requests)).results

    assert [one.WhichOneof("result") for one in results] == [
        "response", "error", "error", "response", "error", "error", "response",
    ]  # fmt: skip
    assert details(results[1].error, "INSUFFICIENT_FUNDS").metadata["available_cents"] == "5"
    assert fields(details(results[2].error, "INVALID_FIELD")) == ["requests[2].amount_cents"]
    assert [one.response.replayed for one in (results[0], results[3], results[6])] == [False, True, False]
    bad = fields(details(results[4].error, "INVALID_FIELD"))
    assert bad == ["requests[4].idempotency_key", "requests[4].job_id"]
    details(results[5].error, "WALLET_NOT_FOUND")
    assert [one.amount_cents for one in statement(stub, owner.id, order_by="sequence")] == [1000, -10, -100, -5]
    assert get(stub, poor.id).available_cents == 5
    assert get(stub, owner.id).available_cents == 885


def test_one_key_twice_in_a_batch_is_charged_once(stub: WalletServiceStub) -> None:
    owner = wallet(stub, 100)
    asked = job_charge(owner, 60, str(uuid4()))

    first, second = stub.BatchDeduct(pb.BatchDeductRequest(requests=[asked, asked])).results

    assert first.response.transaction == second.response.transaction
    assert (first.response.replayed, second.response.replayed) == (False, True)
    assert get(stub, owner.id).available_cents == 40


def test_a_batch_may_have_a_thousand_items_and_no_more(stub: WalletServiceStub, refused: Refused) -> None:
    owner = wallet(stub, 1000)
    items = [charge(owner, 1, f"key-{number}") for number in range(1001)]

    error = refused(stub.BatchDeduct, pb.BatchDeductRequest(requests=items), "BATCH_TOO_LARGE")
    assert error.metadata == {"items": "1001", "items_max": "1000"}
    refused.field(stub.BatchDeduct, pb.BatchDeductRequest(), "requests")

    stub.BatchDeduct(pb.BatchDeductRequest(requests=items[:1000]))
    assert get(stub, owner.id).available_cents == 0


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


def hold(owner: wallet_pb2.Wallet, cents: int, **values: Any) -> pb.PlaceHoldRequest:
    of = {"customer_id": owner.customer_id, "currency": owner.currency, "job_id": str(uuid4()), "hold_id": str(uuid4())}
    return pb.PlaceHoldRequest(amount_cents=cents, **(of | values))


def test_a_hold_is_placed_read_listed_and_captured_by_its_charge(stub: WalletServiceStub) -> None:
    owner = wallet(stub, 100)
    placed = stub.PlaceHold(asked := hold(owner, 60))

    assert placed.wallet.available_cents == 40
    assert stub.GetHold(pb.GetHoldRequest(hold_id=asked.hold_id)).hold == placed.hold
    listed = pb.ListHoldsRequest(filter=f'wallet_id = "{owner.id}" AND state = ACTIVE')
    assert list(stub.ListHolds(listed).holds) == [placed.hold]
    request = job_charge(owner, 45, asked.job_id)
    request.hold_id = asked.hold_id
    charged = stub.Deduct(request)
    assert (charged.wallet.current_balance_cents, charged.wallet.pending_charges_cents) == (55, 0)
    assert not stub.ListHolds(listed).holds


def test_holds_are_refused_for_the_reasons_of_the_contract(stub: WalletServiceStub, refused: Refused) -> None:
    owner, other = wallet(stub, 100), wallet(stub, 100)
    stub.PlaceHold(asked := hold(owner, 60))

    assert refused(stub.PlaceHold, hold(owner, 41), "INSUFFICIENT_FUNDS").metadata["available_cents"] == "40"
    changed = pb.PlaceHoldRequest()
    changed.CopyFrom(asked)
    changed.amount_cents = 61
    assert refused(stub.PlaceHold, changed, "IDEMPOTENCY_KEY_REUSED").metadata == {"fields": "amount_cents"}
    wrong = job_charge(other, 1, asked.job_id)
    wrong.hold_id = asked.hold_id
    refused(stub.Deduct, wrong, "HOLD_MISMATCH")
    refused(stub.GetHold, pb.GetHoldRequest(hold_id=str(uuid4())), "HOLD_NOT_FOUND")
    released = stub.ReleaseHold(pb.ReleaseHoldRequest(hold_id=asked.hold_id))
    assert (released.wallet.available_cents, released.replayed) == (100, False)
    assert stub.ReleaseHold(pb.ReleaseHoldRequest(hold_id=asked.hold_id)).replayed
    assert refused(stub.PlaceHold, asked, "HOLD_NOT_ACTIVE").metadata["state"] == "RELEASED"
    for cents in (0, -1):
        refused.field(stub.PlaceHold, hold(owner, cents), "amount_cents")


def test_batches_of_holds_answer_item_by_item(stub: WalletServiceStub) -> None:
    owner = wallet(stub, 100)
    asked = [hold(owner, 60), hold(owner, 41), hold(owner, 0), hold(owner, 40)]

    results = stub.BatchPlaceHolds(pb.BatchPlaceHoldsRequest(requests=asked)).results

    assert [one.WhichOneof("result") for one in results] == ["response", "error", "error", "response"]
    late = hold(owner, 1)
    ends = [pb.ReleaseHoldRequest(hold_id=one.hold_id) for one in (asked[0], late)]
    released = stub.BatchReleaseHolds(pb.BatchReleaseHoldsRequest(requests=ends)).results
    assert [one.response.HasField("wallet") for one in released] == [True, False]
    [refused_late] = stub.BatchPlaceHolds(pb.BatchPlaceHoldsRequest(requests=[late])).results
    details(refused_late.error, "HOLD_NOT_ACTIVE")


def test_a_charge_is_refunded_by_job_or_transaction_and_never_more_than_it(
    stub: WalletServiceStub, refused: Refused
) -> None:
    owner = wallet(stub, 100)
    job_id = str(uuid4())
    charged = stub.Deduct(job_charge(owner, 50, job_id)).transaction

    part = stub.Refund(pb.RefundRequest(job_id=job_id, amount_cents=20, idempotency_key="part"))

    assert (part.transaction.kind, part.transaction.job_id) == (wallet_pb2.TRANSACTION_KIND_REFUND, job_id)
    assert part.transaction.refunds_transaction_id == charged.id
    more = pb.RefundRequest(transaction_id=charged.id, amount_cents=31, idempotency_key="more")
    assert refused(stub.Refund, more, "REFUND_EXCEEDS_CHARGE").metadata["refundable_cents"] == "30"
    rest = pb.RefundRequest(transaction_id=charged.id, idempotency_key="rest")
    assert stub.Refund(rest).wallet.current_balance_cents == 100
    assert stub.Refund(rest).replayed
    refused(stub.Refund, pb.RefundRequest(job_id=str(uuid4()), idempotency_key="x"), "TRANSACTION_NOT_FOUND")
    refused.field(stub.Refund, pb.RefundRequest(idempotency_key="x"), "charge")
    top_up = statement(stub, owner.id, order_by="sequence")[0]
    refused.field(stub.Refund, pb.RefundRequest(transaction_id=top_up.id, idempotency_key="x"), "transaction_id")


def test_a_job_is_written_off_once_and_a_charge_for_it_is_answered_with_that(
    stub: WalletServiceStub, refused: Refused
) -> None:
    owner, job_id = wallet(stub, 10), str(uuid4())
    refused(stub.Deduct, job_charge(owner, 30, job_id), "INSUFFICIENT_FUNDS")
    request = pb.WriteOffRequest(
        customer_id=owner.customer_id, currency="EUR", amount_cents=30, job_id=job_id, description="never paid"
    )
    done = stub.WriteOff(request)
    assert [one.kind for one in (done.adjustment, done.transaction)] == [
        wallet_pb2.TRANSACTION_KIND_ADJUSTMENT,
        wallet_pb2.TRANSACTION_KIND_DEDUCTION,
    ]
    assert done.adjustment.counter_account == wallet_pb2.COUNTER_ACCOUNT_ADJUSTMENT
    assert (done.adjustment.amount_cents, done.transaction.amount_cents) == (30, -30)
    assert (done.adjustment.idempotency_key, done.adjustment.job_id) == (f"write-off:{job_id}", job_id)
    assert (done.wallet.current_balance_cents, done.replayed) == (10, False)
    assert statement(stub, owner.id)[:2] == [done.transaction, done.adjustment]
    again = stub.WriteOff(request)
    assert again == pb.WriteOffResponse(
        adjustment=done.adjustment, transaction=done.transaction, wallet=done.wallet, replayed=True
    )
    charged = stub.Deduct(job_charge(owner, 30, job_id))
    assert (charged.transaction, charged.replayed) == (done.transaction, True)


def test_write_offs_are_refused_for_the_reasons_of_the_contract(stub: WalletServiceStub, refused: Refused) -> None:
    owner, job_id = wallet(stub, 100), str(uuid4())

    def asked(**values: Any) -> pb.WriteOffRequest:
        request = {"customer_id": owner.customer_id, "currency": "EUR", "amount_cents": 30, "job_id": job_id}
        return pb.WriteOffRequest(**{**request, **values})

    placed = stub.PlaceHold(hold(owner, 30, job_id=job_id)).hold
    held = refused(stub.WriteOff, asked(hold_id=placed.id), "HOLD_ACTIVE")
    assert held.metadata == {"hold_id": placed.id, "amount_cents": "30"}
    refused(stub.WriteOff, asked(hold_id=placed.id, job_id=str(uuid4())), "HOLD_MISMATCH")
    charged = stub.Deduct(charge(owner, 30, f"job:{job_id}", job_id=job_id, hold_id=placed.id)).transaction
    error = refused(stub.WriteOff, asked(hold_id=placed.id), "ALREADY_CHARGED")
    assert error.metadata == {"job_id": job_id, "transaction_id": charged.id}
    refused(stub.WriteOff, asked(customer_id=str(uuid4())), "WALLET_NOT_FOUND")
    for name, value in {"amount_cents": 0, "job_id": "", "currency": "eur", "description": "x" * 501}.items():
        refused.field(stub.WriteOff, asked(**{name: value}), name)
    refused.field(stub.Credit, credit(owner, 1, f"write-off:{job_id}"), "idempotency_key")


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
