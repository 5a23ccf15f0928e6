"""The client of the wallets service: outcomes and errors of its responses."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_pb2 import Transaction
from innosystem.wallets.v1.wallet_service_pb2 import (
    BatchDeductRequest,
    BatchDeductResponse,
    BatchDeductResult,
    DeductResponse,
)
from services.jobs.clients.wallets import GrpcWallets
from services.jobs.rules.entities import Charge, Release
from services.jobs.rules.errors import HoldNotActive as Captured
from services.jobs.rules.errors import InsufficientFunds as NoFunds
from services.jobs.rules.errors import NoWalletInCurrency
from services.jobs.rules.holds import Hold, HoldState, Reservation
from services.jobs.rules.transitions.completion import Charged, Declined, Released, Settlement
from services.kit.clocks import Skew
from services.kit.data.errors import Conflict, ConnectionFailed
from services.kit.errors import DependencyUnavailable, DomainError, IdempotencyKeyReused
from services.kit.rpc.convert import timestamp
from services.kit.rpc.status import to_status
from services.wallets.rules.errors import HoldNotActive, InsufficientFunds, WalletNotFound

CUSTOMER, HOLD, JOB, TRANSACTION = (UUID(int=number) for number in range(1, 5))
CHARGE = Charge(CUSTOMER, "EUR", 7, HOLD, JOB)


def asking(stub: Any, *, ours: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> GrpcWallets:
    """Return the client of a stub, with the time of the jobs' database."""
    return GrpcWallets(stub, lambda: ours, Skew("test ledger", 1))


class Stub:
    """A wallets service with prepared responses to BatchDeduct."""

    def __init__(self, *results: BatchDeductResult) -> None:
        self.results = results
        self.asked: list[BatchDeductRequest] = []

    async def BatchDeduct(  # noqa: N802 - as the contract has it
        self, request: BatchDeductRequest, timeout: float | None = None
    ) -> BatchDeductResponse:
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
    assert await asking(stub).deduct([CHARGE]) == [Charged(JOB, TRANSACTION)]
    [asked] = stub.asked[0].requests
    assert (asked.customer_id, asked.currency, asked.amount_cents) == (str(CUSTOMER), "EUR", 7)
    assert (asked.idempotency_key, asked.hold_id, asked.job_id) == (f"job:{JOB}", str(HOLD), str(JOB))


async def test_a_refusal_of_the_ledger_is_known_with_its_reason() -> None:
    stub = Stub(refused(InsufficientFunds(3, 7, "EUR", HOLD)), refused(WalletNotFound(customer_id=CUSTOMER)))
    outcomes = await asking(stub).deduct([CHARGE, CHARGE])
    assert outcomes == [
        Declined(JOB, "INSUFFICIENT_FUNDS"),
        Declined(JOB, "WALLET_NOT_FOUND"),
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
    outcomes = await asking(Stub(paid(), result)).deduct([CHARGE, CHARGE])
    assert isinstance(outcomes[0], Settlement)
    assert isinstance(outcomes[1], DependencyUnavailable)


async def test_nothing_is_known_of_charges_when_the_call_fails() -> None:
    outcomes = await asking(Stub()).deduct([CHARGE, CHARGE])
    assert [type(one) for one in outcomes] == [DependencyUnavailable] * 2


async def test_a_charge_that_has_a_whole_batch_refused_is_found_and_the_others_are_made() -> None:
    culprit = Charge(CUSTOMER, "EUR", 0, None, UUID(int=99))

    class Picky(Stub):
        async def BatchDeduct(self, request: BatchDeductRequest, timeout: float | None = None) -> BatchDeductResponse:  # noqa: N802
            self.asked.append(request)
            if any(one.job_id == str(culprit.job_id) for one in request.requests):
                nothing = grpc.aio.Metadata()
                raise grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, nothing, nothing, "not understood")
            return BatchDeductResponse(results=[paid() for _ in request.requests])

    outcomes = await asking(Picky()).deduct([CHARGE, CHARGE, culprit, CHARGE])
    made = Charged(JOB, TRANSACTION)
    assert outcomes == [
        made,
        made,
        Declined(culprit.job_id, "INVALID_ARGUMENT"),
        made,
    ]


RESERVATION = Reservation(job_id=JOB, customer_id=CUSTOMER, currency="EUR", amount_cents=7)
RELEASE = Release(hold_id=HOLD, job_id=JOB)
CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def hold(**values: Any) -> wallet_pb2.Hold:
    known = {
        "id": str(RESERVATION.hold_id),
        "job_id": str(JOB),
        "customer_id": str(CUSTOMER),
        "currency": "EUR",
        "amount_cents": 7,
        "state": wallet_pb2.HOLD_STATE_ACTIVE,
        "created_at": CREATED_AT,
    }
    return wallet_pb2.Hold(**{**known, **values})


class HoldStub:
    """A wallets service with prepared responses about holds."""

    def __init__(self, results: list[Any], existing: wallet_pb2.Hold | None = None) -> None:
        self.results = results
        self.existing = existing
        self.asked: list[Any] = []
        self.now: Timestamp | None = None

    async def BatchPlaceHolds(  # noqa: N802
        self, request: pb.BatchPlaceHoldsRequest, timeout: float | None = None
    ) -> pb.BatchPlaceHoldsResponse:
        self.asked.append(request)
        return pb.BatchPlaceHoldsResponse(results=self._told(), now=self.now)

    async def BatchReleaseHolds(  # noqa: N802
        self, request: pb.BatchReleaseHoldsRequest, timeout: float | None = None
    ) -> pb.BatchReleaseHoldsResponse:
        self.asked.append(request)
        return pb.BatchReleaseHoldsResponse(results=self._told())

    async def GetHold(self, request: pb.GetHoldRequest) -> pb.GetHoldResponse:  # noqa: N802
        self.asked.append(request)
        if self.existing is None:
            raise lost()
        return pb.GetHoldResponse(hold=self.existing, now=self.now)

    async def ListHolds(self, request: pb.ListHoldsRequest) -> pb.ListHoldsResponse:  # noqa: N802
        asked = pb.ListHoldsRequest()
        asked.CopyFrom(request)
        self.asked.append(asked)
        if not self.results:
            raise lost()
        response: pb.ListHoldsResponse = self.results.pop(0)
        return response

    def _told(self) -> list[Any]:
        if not self.results:
            raise lost()
        return self.results


def lost() -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())


def not_placed(error: DomainError) -> pb.BatchPlaceHoldsResult:
    return pb.BatchPlaceHoldsResult(error=to_status(error))


async def test_a_hold_is_asked_for_under_the_id_of_its_job() -> None:
    stub = HoldStub([pb.BatchPlaceHoldsResult(response=pb.PlaceHoldResponse(hold=hold()))])
    [placed] = await asking(stub).place_holds([RESERVATION])
    assert isinstance(placed, Hold)
    assert (placed.id, placed.state, placed.created_at) == (RESERVATION.hold_id, HoldState.ACTIVE, CREATED_AT)
    [asked] = stub.asked[0].requests
    assert (asked.hold_id, asked.job_id, asked.amount_cents) == (str(RESERVATION.hold_id), str(JOB), 7)
    assert (asked.customer_id, asked.currency) == (str(CUSTOMER), "EUR")


async def test_why_there_is_no_hold_is_said_in_the_terms_of_jobs() -> None:
    stub = HoldStub(
        [
            not_placed(InsufficientFunds(3, 7, "EUR", HOLD)),
            not_placed(WalletNotFound(customer_id=CUSTOMER, currency="EUR")),
            not_placed(ConnectionFailed()),
        ]
    )
    poor, without, unknown = await asking(stub).place_holds([RESERVATION] * 3)
    assert isinstance(poor, NoFunds)
    assert (poor.available_cents, poor.required_cents, poor.currency) == (3, 7, "EUR")
    assert isinstance(without, NoWalletInCurrency)
    assert isinstance(unknown, DependencyUnavailable)


@pytest.mark.parametrize("state", [HoldState.RELEASED, HoldState.CAPTURED])
async def test_a_hold_that_is_over_is_answered_as_such(state: HoldState) -> None:
    stub = HoldStub([not_placed(HoldNotActive(HOLD, state.value))])
    assert await asking(stub).place_holds([RESERVATION]) == [state]
    assert len(stub.asked) == 1


async def test_a_hold_with_other_parameters_under_the_id_is_looked_at() -> None:
    error = IdempotencyKeyReused(("amount_cents",))
    stub = HoldStub([not_placed(error)], hold(amount_cents=5, state=wallet_pb2.HOLD_STATE_ACTIVE))
    [found] = await asking(stub).place_holds([RESERVATION])
    assert isinstance(found, Hold)
    assert (found.amount_cents, found.state, found.created_at) == (5, HoldState.ACTIVE, CREATED_AT)
    [unknown] = await asking(HoldStub([not_placed(error)])).place_holds([RESERVATION])
    assert isinstance(unknown, DependencyUnavailable)


async def test_nothing_is_known_of_holds_when_the_call_fails() -> None:
    wallets = asking(HoldStub([]))
    assert [type(one) for one in await wallets.place_holds([RESERVATION] * 2)] == [DependencyUnavailable] * 2
    assert [type(one) for one in await wallets.release_holds([RELEASE] * 2)] == [DependencyUnavailable] * 2
    with pytest.raises(DependencyUnavailable):
        [page async for page in wallets.active_holds(CREATED_AT, CREATED_AT)]


async def test_a_release_is_done_or_too_late_or_not_known() -> None:
    results = [
        pb.BatchReleaseHoldsResult(response=pb.ReleaseHoldResponse(hold=hold())),
        pb.BatchReleaseHoldsResult(error=to_status(HoldNotActive(HOLD, "CAPTURED"))),
        pb.BatchReleaseHoldsResult(error=to_status(ConnectionFailed())),
    ]
    done, late, unknown = await asking(HoldStub(results)).release_holds([RELEASE] * 3)
    assert done == Released(JOB)
    assert isinstance(late, Captured)
    assert isinstance(unknown, DependencyUnavailable)


async def test_active_holds_are_listed_page_by_page_from_a_time_on() -> None:
    pages = [pb.ListHoldsResponse(holds=[hold()], next_page_token="next"), pb.ListHoldsResponse(holds=[hold()] * 2)]
    stub = HoldStub(pages)
    found = [len(page) async for page in asking(stub).active_holds(CREATED_AT, CREATED_AT)]
    assert found == [1, 2]
    assert [one.page_token for one in stub.asked] == ["", "next"]
    assert 'created_at >= "2026-01-01T00:00:00+00:00"' in stub.asked[0].filter


@pytest.mark.parametrize("minutes", [-5, 0, 5])
async def test_how_old_a_hold_is_is_told_by_the_clock_that_stamped_it(minutes: int) -> None:
    stub = HoldStub([pb.BatchPlaceHoldsResult(response=pb.PlaceHoldResponse(hold=hold()))])
    stub.now = timestamp(CREATED_AT + timedelta(seconds=1))
    [placed] = await asking(stub, ours=CREATED_AT + timedelta(minutes=minutes)).place_holds([RESERVATION])
    assert isinstance(placed, Hold)
    assert placed.age == timedelta(seconds=1)


async def test_a_ledger_that_does_not_tell_its_time_is_taken_to_have_ours() -> None:
    stub = HoldStub([pb.BatchPlaceHoldsResult(response=pb.PlaceHoldResponse(hold=hold()))])
    [placed] = await asking(stub, ours=CREATED_AT + timedelta(minutes=1)).place_holds([RESERVATION])
    assert isinstance(placed, Hold)
    assert placed.age == timedelta(minutes=1)
    assert await asking(HoldStub([pb.ListHoldsResponse()])).clock_ahead() == timedelta(0)


async def test_how_far_the_ledgers_clock_is_ahead_is_asked_shown_and_logged() -> None:
    behind = pb.ListHoldsResponse()
    behind.now.FromDatetime(CREATED_AT - timedelta(minutes=5))
    wallets = asking(HoldStub([behind]))
    with capture_logs() as lines:
        assert await wallets.clock_ahead() == -timedelta(minutes=5)
    assert REGISTRY.get_sample_value("innosystem_clock_skew_seconds", {"of": "test ledger"}) == -300
    assert [line["ahead_seconds"] for line in lines if line["event"] == "clock_skewed"] == [-300]
