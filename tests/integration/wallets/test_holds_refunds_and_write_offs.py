"""Holds, refunds and write-offs over gRPC on PostgreSQL."""

from typing import Any
from uuid import uuid4

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.support.rpc.refusals import Refused, details
from tests.support.rpc.wallet_calls import charge, credit, hold, job_charge, statement, wallet

SERVICE = "wallets"
LARGEST = 2**63 - 1


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
