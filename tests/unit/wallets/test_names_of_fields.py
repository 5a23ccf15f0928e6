"""What a refusal says to be wrong with a request is called as the request calls it."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from innosystem.wallets.v1 import wallet_service_pb2 as pb
from services.kit.errors import IdempotencyKeyReused
from services.wallets.rules.entities import Owner
from services.wallets.rules.errors import HoldMismatch
from services.wallets.rules.requests import Credit, Deduct, PlaceHold, Refund, Request, WriteOff
from tests.unit.wallets.test_holds_and_refunds import HOLD, JOB, OWNER, charge, decided, place, refund, wallet

OTHER, DOLLARS = Owner(uuid4(), "EUR"), Owner(OWNER.customer_id, "USD")
MESSAGES: dict[type[Request], Any] = {
    Credit: pb.CreditRequest,
    Deduct: pb.DeductRequest,
    PlaceHold: pb.PlaceHoldRequest,
    Refund: pb.RefundRequest,
    WriteOff: pb.WriteOffRequest,
}


def credit(cents: int) -> Credit:
    return Credit(transaction_id=uuid4(), owner=OWNER, amount_cents=cents, idempotency_key="back")


def deduct(cents: int, hold_id: UUID | None = None) -> Deduct:
    return Deduct(
        transaction_id=uuid4(), owner=OWNER, amount_cents=cents, idempotency_key="back", hold_id=hold_id, job_id=None
    )


def write_off(cents: int, hold_id: UUID | None = None) -> WriteOff:
    return WriteOff(
        adjustment_id=uuid4(), deduction_id=uuid4(), owner=OWNER, amount_cents=cents, job_id=JOB, hold_id=hold_id
    )


@pytest.mark.parametrize(
    "requests",
    [
        # The key of a refund for a job, or of a charge with a hold: a credit has neither.
        [charge(9, None), refund(5), credit(7)],
        [deduct(5, uuid4()), credit(7)],
        [charge(9, None), credit(5), refund(7)],
        [charge(9, None), refund(5), refund(6)],
        [charge(9, None), charge(8, uuid4())],
        [write_off(9), write_off(8, uuid4())],
        [place(5), place(6, owner=OTHER, job_id=uuid4())],
        [place(5, owner=OTHER), charge(5)],
        [place(5, owner=DOLLARS), charge(5)],
        [place(5, job_id=uuid4()), charge(5)],
        [place(5, owner=DOLLARS), write_off(5, HOLD)],
    ],
)
def test_each_field_that_a_refusal_names_is_one_of_its_request(requests: list[Request]) -> None:
    *_, refused = decided([wallet(100), wallet(100, OTHER), wallet(100, DOLLARS)], *requests)
    assert isinstance(refused, IdempotencyKeyReused | HoldMismatch), refused
    assert refused.fields
    assert set(refused.fields) <= set(MESSAGES[type(requests[-1])].DESCRIPTOR.fields_by_name)
