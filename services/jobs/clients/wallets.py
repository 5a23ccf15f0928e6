"""Client of the wallets service, over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

import grpc
import structlog
from typing_extensions import override

from innosystem.client import REFUSAL_CODES, InnosystemError, error_from, error_from_status
from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from services.jobs.rules.entities import Charge, Release
from services.jobs.rules.errors import HoldNotActive, InsufficientFunds, NoWalletInCurrency
from services.jobs.rules.holds import Hold, HoldState, Reservation
from services.jobs.rules.prices.quote import Funds
from services.jobs.rules.transitions.completion import Charged, Declined, Deduction, Released
from services.jobs.usecases.ports import Wallets, WriteOffWallets
from services.kit.batching.bisection import bisected
from services.kit.clocks import Skew
from services.kit.data.corrupt import noted, understood
from services.kit.errors import DataCorrupt, DependencyUnavailable, DomainError, RowLocked
from services.kit.rpc.convert import moment, optional_id
from services.kit.rpc.dependency import Dependency

T = TypeVar("T")
R = TypeVar("R")

log = structlog.get_logger(__name__)

_PAGE_SIZE = 1000
# A quote of a thousand jobs may be of as many wallets.
_CONCURRENT_READS: Final = 16
# Of the time of a call. A busy ledger may need seconds, so even the first attempt is long.
_SHARES: Final = (0.2, 0.3, 0.5)
_STATES = {state.value: state for state in HoldState}


class GrpcWallets(Wallets, WriteOffWallets):
    """The wallets service as a port of the use cases.

    The channel sets the deadline and repeats calls that are safe to repeat.

    Args:
        stub: A stub of WalletService.
        now: The time of the jobs database.
        skew: Records how far the ledger's clock is ahead of it; None to record nothing.
        deadline_seconds: The time limit of a batch call.
    """

    def __init__(
        self, stub: Any, now: Callable[[], datetime], skew: Skew | None = None, deadline_seconds: float = 10.0
    ) -> None:
        self._stub = stub
        self._wallets = Dependency("wallets")
        self._attempts = [share * deadline_seconds for share in _SHARES]
        self._now = now
        self._skew = skew

    @override
    async def deduct(self, charges: Sequence[Charge]) -> list[Deduction | DomainError]:
        # Up to 1,000 charges in one call.

        async def call(some: Sequence[Charge]) -> list[Deduction | DomainError]:
            request = pb.BatchDeductRequest(requests=[_deduction(one) for one in some])
            response = await self._wallets.call(self._stub.BatchDeduct, request, self._attempts)
            return [_charged(one, result) for one, result in zip(some, response.results, strict=True)]

        def refused(one: Charge, error: InnosystemError) -> Deduction | DomainError:
            return _refusal(one, error.reason or error.code.name)

        return await _each(charges, call, refused)

    @override
    async def place_holds(self, wanted: Sequence[Reservation]) -> list[Hold | HoldState | DomainError]:
        # Up to 1,000 holds in one call. Active holds that exist with other parameters are read one by one.

        async def call(some: Sequence[Reservation]) -> list[Hold | HoldState | DomainError | None]:
            request = pb.BatchPlaceHoldsRequest(requests=[_hold(one) for one in some])
            response = await self._wallets.call(self._stub.BatchPlaceHolds, request, self._attempts)
            now = self._time_of(response)
            return [_placed(one, result, now) for one, result in zip(some, response.results, strict=True)]

        placed = await _each(wanted, call, lambda _, __: DependencyUnavailable("wallets"))
        return [
            await self.read_hold(one.hold_id) if outcome is None else outcome
            for one, outcome in zip(wanted, placed, strict=True)
        ]

    @override
    async def funds(self, owners: Collection[tuple[UUID, str]]) -> Mapping[tuple[UUID, str], Funds | DomainError]:
        concurrent = asyncio.Semaphore(_CONCURRENT_READS)

        async def read(customer_id: UUID, currency: str) -> Funds | DomainError:
            owner = pb.WalletOwner(customer_id=str(customer_id), currency=currency)
            try:
                async with concurrent:
                    request = pb.GetWalletRequest(owner=owner)
                    response = await self._wallets.call(self._stub.GetWallet, request, self._attempts)
            except DependencyUnavailable as error:
                return error
            except grpc.aio.AioRpcError as error:
                if (known := error_from(error)) is not None and known.reason == "WALLET_NOT_FOUND":
                    return NoWalletInCurrency(customer_id, currency)
                return _failed(error)
            wallet = response.wallet
            return Funds(wallet.current_balance_cents, wallet.available_cents)

        asked = list(owners)
        return dict(zip(asked, await asyncio.gather(*(read(*one) for one in asked)), strict=True))

    @override
    async def release_holds(self, releases: Sequence[Release]) -> list[Released | DomainError]:
        # Up to 1,000 holds in one call.

        async def call(some: Sequence[Release]) -> list[Released | DomainError]:
            request = pb.BatchReleaseHoldsRequest(
                requests=[pb.ReleaseHoldRequest(hold_id=str(one.hold_id)) for one in some]
            )
            response = await self._wallets.call(self._stub.BatchReleaseHolds, request, self._attempts)
            return [_released(one, result) for one, result in zip(some, response.results, strict=True)]

        return await _each(releases, call, lambda _, __: DependencyUnavailable("wallets"))

    @override
    async def clock_ahead(self) -> timedelta:
        try:
            response = await self._stub.ListHolds(pb.ListHoldsRequest(page_size=1, order_by="created_at"))
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from error
        return self._time_of(response) - self._now()

    @override
    async def active_holds(self, since: datetime, until: datetime) -> AsyncIterator[Sequence[Hold]]:
        request = pb.ListHoldsRequest(
            page_size=_PAGE_SIZE,
            filter=f'state = ACTIVE AND created_at >= "{since.isoformat()}" AND created_at < "{until.isoformat()}"',
            order_by="created_at",
        )
        while True:
            try:
                response = await self._stub.ListHolds(request)
            except grpc.aio.AioRpcError as error:
                raise _failed(error) from error
            now = self._time_of(response)
            if found := understood(_judged(one, now) for one in response.holds):
                yield found
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    @override
    async def write_off(self, charge: Charge, description: str) -> Deduction:
        request = pb.WriteOffRequest(
            customer_id=str(charge.customer_id),
            currency=charge.currency,
            amount_cents=charge.amount_cents,
            job_id=str(charge.job_id),
            hold_id=str(charge.hold_id or ""),
            description=description,
        )
        try:
            response = await self._stub.WriteOff(request)
        except grpc.aio.AioRpcError as error:
            known = error_from(error)
            if error.code() in REFUSAL_CODES and known is not None and known.reason:
                return _refusal(charge, known.reason)
            raise _failed(error) from error
        return Charged(charge.job_id, UUID(response.transaction.id))

    @override
    async def read_hold(self, hold_id: UUID) -> Hold | DomainError:
        try:
            response = await self._stub.GetHold(pb.GetHoldRequest(hold_id=str(hold_id)))
        except grpc.aio.AioRpcError as error:
            return _failed(error)
        return _judged(response.hold, self._time_of(response))

    def _time_of(self, response: Any) -> datetime:
        """Return the ledger's time; the jobs database's time if the response of an older release lacks it."""
        ours = self._now()
        if not response.HasField("now"):
            return ours
        theirs = moment(response.now, "now")
        if self._skew is not None:
            self._skew.measured(theirs - ours)
        return theirs


async def _each(
    items: Sequence[T],
    call: Callable[[Sequence[T]], Awaitable[list[R]]],
    refused: Callable[[T, InnosystemError], R],
) -> list[R | DomainError]:
    """Call for all items together. A batch that is refused as a whole is halved until the culprit is alone."""

    def failed(some: Sequence[T], error: Exception) -> list[R | DomainError] | None:
        if isinstance(error, DependencyUnavailable):
            return [error for _ in some]
        if not isinstance(error, grpc.aio.AioRpcError):
            raise error
        failure = _failed(error)
        if error.code() not in REFUSAL_CODES:
            return [failure for _ in some]
        if len(some) > 1:
            return None
        return [refused(some[0], error_from(error) or InnosystemError(error.code(), ""))]

    return await bisected(items, call, failed)


def _failed(error: grpc.aio.AioRpcError) -> DomainError:
    log.warning("wallets_call_failed", code=error.code().name, error=error.details())
    known = error_from(error)
    return DependencyUnavailable("wallets") if known is None else _open(known)


def _deduction(charge: Charge) -> pb.DeductRequest:
    return pb.DeductRequest(
        customer_id=str(charge.customer_id),
        currency=charge.currency,
        amount_cents=charge.amount_cents,
        idempotency_key=charge.idempotency_key,
        hold_id=str(charge.hold_id or ""),
        job_id=str(charge.job_id),
    )


def _charged(charge: Charge, result: pb.BatchDeductResult) -> Deduction | DomainError:
    if result.HasField("response"):
        return Charged(charge.job_id, UUID(result.response.transaction.id))
    error = error_from_status(result.error)
    if error.code in REFUSAL_CODES and error.reason:
        return _refusal(charge, error.reason)
    return _open(error)


def _open(error: InnosystemError) -> DomainError:
    """Return the error of an unknown outcome: a locked wallet does not mean that the service is unavailable."""
    return RowLocked() if error.reason == "ROW_LOCKED" else DependencyUnavailable("wallets")


def _refusal(charge: Charge, reason: str) -> Declined:
    return Declined(charge.job_id, reason)


def _hold(wanted: Reservation) -> pb.PlaceHoldRequest:
    return pb.PlaceHoldRequest(
        hold_id=str(wanted.hold_id),
        job_id=str(wanted.job_id),
        customer_id=str(wanted.customer_id),
        currency=wanted.currency,
        amount_cents=wanted.amount_cents,
    )


def _placed(
    wanted: Reservation, result: pb.BatchPlaceHoldsResult, now: datetime
) -> Hold | HoldState | DomainError | None:
    """Return the hold, or why there is none; None if its ID belongs to a hold with other parameters, to be read."""
    if result.HasField("response"):
        return _judged(result.response.hold, now)
    error = error_from_status(result.error)
    if error.reason == "HOLD_NOT_ACTIVE":
        state = error.metadata.get("state", "")
        return _STATES.get(state) or noted(DataCorrupt("holds", str(wanted.hold_id), "state", state))
    if error.reason == "IDEMPOTENCY_KEY_REUSED":
        return None
    if error.reason == "WALLET_NOT_FOUND":
        return NoWalletInCurrency(wanted.customer_id, wanted.currency)
    if error.reason == "INSUFFICIENT_FUNDS":
        available_cents = int(error.metadata["available_cents"])
        return InsufficientFunds(available_cents, wanted.amount_cents, wanted.currency, wanted.customer_id)
    return _open(error)


def _released(release: Release, result: pb.BatchReleaseHoldsResult) -> Released | DomainError:
    if result.HasField("response"):
        return Released(release.job_id)
    error = error_from_status(result.error)
    if error.reason == "HOLD_NOT_ACTIVE":
        return HoldNotActive(release.hold_id)
    return _open(error)


def _judged(hold: wallet_pb2.Hold, now: datetime) -> Hold | DataCorrupt:
    """Return the hold; a state that is unknown to this release is an error of this hold only."""
    known = hold.state in wallet_pb2.HoldState.values()
    state = _STATES.get(wallet_pb2.HoldState.Name(hold.state).removeprefix("HOLD_STATE_")) if known else None
    if state is None:
        return noted(DataCorrupt("holds", hold.id, "state", str(hold.state)))
    created_at = moment(hold.created_at, "created_at")
    return Hold(
        id=UUID(hold.id),
        job_id=optional_id(hold.job_id),
        customer_id=optional_id(hold.customer_id),
        currency=hold.currency,
        amount_cents=hold.amount_cents,
        state=state,
        created_at=created_at,
        age=now - created_at,
    )
