"""Credits and charges over gRPC on PostgreSQL: money moves once per key, and a refusal writes nothing."""

from typing import Any
from uuid import uuid4

import pytest

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.support.rpc.refusals import Refused, Stored, details, fields
from tests.support.rpc.wallet_calls import charge, credit, get, hold, job_charge, statement, wallet

SERVICE = "wallets"
LARGEST = 2**63 - 1


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
