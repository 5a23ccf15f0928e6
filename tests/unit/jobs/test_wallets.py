"""What the settler makes of the answers of the wallets service."""

from uuid import UUID

import grpc
import pytest
from google.rpc.status_pb2 import Status

from innosystem.wallets.v1.wallet_pb2 import Transaction
from innosystem.wallets.v1.wallet_service_pb2 import (
    BatchDeductRequest,
    BatchDeductResponse,
    BatchDeductResult,
    DeductResponse,
)
from services.jobs.completion import Settlement
from services.jobs.domain import Charge
from services.jobs.wallets import GrpcWallets
from services.kit.data.errors import Conflict, ConnectionFailed
from services.kit.errors import DependencyUnavailable, DomainError
from services.kit.rpc.status import to_status
from services.wallets.errors import InsufficientFunds, WalletNotFound

CUSTOMER, HOLD, JOB, TRANSACTION = (UUID(int=number) for number in range(1, 5))
CHARGE = Charge(CUSTOMER, "EUR", 7, HOLD, JOB)


class Stub:
    """Answers BatchDeduct as it is told to."""

    def __init__(self, *results: BatchDeductResult) -> None:
        self.results = results
        self.asked: list[BatchDeductRequest] = []

    async def BatchDeduct(self, request: BatchDeductRequest) -> BatchDeductResponse:  # noqa: N802 - as the contract has it
        self.asked.append(request)
        if not self.results:
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata())
        return BatchDeductResponse(results=self.results)


def paid() -> BatchDeductResult:
    return BatchDeductResult(response=DeductResponse(transaction=Transaction(id=str(TRANSACTION))))


def refused(error: DomainError) -> BatchDeductResult:
    return BatchDeductResult(error=to_status(error))


async def test_a_charge_is_asked_for_as_a_runner_would() -> None:
    stub = Stub(paid())
    assert await GrpcWallets(stub).deduct([CHARGE]) == [Settlement(job_id=JOB, transaction_id=TRANSACTION)]
    [asked] = stub.asked[0].requests
    assert (asked.customer_id, asked.currency, asked.amount_cents) == (str(CUSTOMER), "EUR", 7)
    assert (asked.idempotency_key, asked.hold_id, asked.job_id) == (f"job:{JOB}", str(HOLD), str(JOB))


async def test_a_refusal_of_the_ledger_is_known_with_its_reason() -> None:
    stub = Stub(refused(InsufficientFunds(3, 7, "EUR")), refused(WalletNotFound(customer_id=CUSTOMER)))
    outcomes = await GrpcWallets(stub).deduct([CHARGE, CHARGE])
    assert outcomes == [
        Settlement(job_id=JOB, declined_reason="INSUFFICIENT_FUNDS"),
        Settlement(job_id=JOB, declined_reason="WALLET_NOT_FOUND"),
    ]


@pytest.mark.parametrize(
    "result",
    [
        refused(ConnectionFailed()),
        refused(Conflict()),
        BatchDeductResult(error=Status(code=13, message="internal")),
        BatchDeductResult(error=Status(code=5, message="no such method, says a proxy")),
    ],
)
async def test_whatever_is_no_refusal_of_the_ledger_is_not_known(result: BatchDeductResult) -> None:
    outcomes = await GrpcWallets(Stub(paid(), result)).deduct([CHARGE, CHARGE])
    assert isinstance(outcomes[0], Settlement)
    assert isinstance(outcomes[1], DependencyUnavailable)


async def test_nothing_is_known_of_charges_when_the_call_fails() -> None:
    outcomes = await GrpcWallets(Stub()).deduct([CHARGE, CHARGE])
    assert [type(one) for one in outcomes] == [DependencyUnavailable] * 2


async def test_a_charge_that_has_a_whole_batch_refused_is_found_and_the_others_are_made() -> None:
    culprit = Charge(CUSTOMER, "EUR", 0, None, UUID(int=99))

    class Picky(Stub):
        async def BatchDeduct(self, request: BatchDeductRequest) -> BatchDeductResponse:  # noqa: N802
            self.asked.append(request)
            if any(one.job_id == str(culprit.job_id) for one in request.requests):
                nothing = grpc.aio.Metadata()
                raise grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, nothing, nothing, "not understood")
            return BatchDeductResponse(results=[paid() for _ in request.requests])

    outcomes = await GrpcWallets(Picky()).deduct([CHARGE, CHARGE, culprit, CHARGE])
    made = Settlement(job_id=JOB, transaction_id=TRANSACTION)
    assert outcomes == [
        made,
        made,
        Settlement(job_id=culprit.job_id, declined_reason="INVALID_ARGUMENT"),
        made,
    ]
