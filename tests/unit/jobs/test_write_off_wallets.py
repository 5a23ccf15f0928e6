"""The client of the wallets service: outcomes of a write-off."""

from datetime import UTC, datetime
from uuid import UUID

import grpc
import pytest
from google.rpc.status_pb2 import Status

from innosystem.wallets.v1.wallet_pb2 import Transaction
from innosystem.wallets.v1.wallet_service_pb2 import WriteOffRequest, WriteOffResponse
from services.jobs.clients.wallets import GrpcWallets
from services.jobs.rules.entities import Charge
from services.jobs.rules.transitions.completion import Charged, Declined
from services.kit.data.errors import ConnectionFailed
from services.kit.errors import DependencyUnavailable, RowLocked
from services.kit.rpc.status import to_status
from services.wallets.rules.errors import HoldActive

CUSTOMER, HOLD, JOB, TRANSACTION = (UUID(int=number) for number in range(1, 5))
CHARGE = Charge(CUSTOMER, "EUR", 7, HOLD, JOB)


class Ledger:
    """A wallets service whose WriteOff returns a transaction, or fails as prepared."""

    def __init__(self, error: grpc.aio.AioRpcError | None = None) -> None:
        self.error = error
        self.asked: list[WriteOffRequest] = []

    async def WriteOff(self, request: WriteOffRequest) -> WriteOffResponse:  # noqa: N802 - as the contract has it
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return WriteOffResponse(transaction=Transaction(id=str(TRANSACTION)))


def failed(code: grpc.StatusCode, status: Status | None = None) -> grpc.aio.AioRpcError:
    details = [] if status is None else [("grpc-status-details-bin", status.SerializeToString())]
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*details), "refused")


async def test_a_write_off_names_the_charge_that_could_not_be_made() -> None:
    ledger = Ledger()
    outcome = await GrpcWallets(ledger, lambda: datetime.now(UTC)).write_off(CHARGE, "never paid")
    assert outcome == Charged(JOB, TRANSACTION)
    [asked] = ledger.asked
    assert (asked.customer_id, asked.currency, asked.amount_cents) == (str(CUSTOMER), "EUR", 7)
    assert (asked.job_id, asked.hold_id, asked.description) == (str(JOB), str(HOLD), "never paid")


async def test_a_refused_write_off_is_known_with_its_reason() -> None:
    error = failed(grpc.StatusCode.FAILED_PRECONDITION, to_status(HoldActive(HOLD, 7)))
    outcome = await GrpcWallets(Ledger(error), lambda: datetime.now(UTC)).write_off(CHARGE, "never paid")
    assert outcome == Declined(JOB, "HOLD_ACTIVE")


@pytest.mark.parametrize(
    "error",
    [
        failed(grpc.StatusCode.DEADLINE_EXCEEDED),
        failed(grpc.StatusCode.UNAVAILABLE, to_status(ConnectionFailed())),
        failed(grpc.StatusCode.NOT_FOUND),
    ],
    ids=["late", "away", "a proxy"],
)
async def test_of_a_write_off_that_the_ledger_did_not_refuse_nothing_is_known(error: grpc.aio.AioRpcError) -> None:
    with pytest.raises(DependencyUnavailable):
        await GrpcWallets(Ledger(error), lambda: datetime.now(UTC)).write_off(CHARGE, "never paid")


async def test_a_wallet_that_is_locked_is_no_service_that_is_away() -> None:
    error = failed(grpc.StatusCode.ABORTED, to_status(RowLocked()))
    with pytest.raises(RowLocked):
        await GrpcWallets(Ledger(error), lambda: datetime.now(UTC)).write_off(CHARGE, "never paid")
