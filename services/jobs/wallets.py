"""Asks the wallets service, over gRPC."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import grpc
import structlog
from grpc import StatusCode

from innosystem.client import error_from, error_from_status
from innosystem.wallets.v1.wallet_service_pb2 import BatchDeductRequest, BatchDeductResult, DeductRequest
from services.jobs.completion import Settlement
from services.jobs.domain import Charge
from services.kit.errors import DependencyUnavailable, DomainError

log = structlog.get_logger(__name__)

# The ledger has looked at the charge and says no. Anything else is about the call, and may pass.
_DEFINITE: Final = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.OUT_OF_RANGE,
    }
)


class GrpcWallets:
    """WalletService as the settler sees it. The channel sets the deadline and repeats calls that are safe to repeat.

    Args:
        stub: A stub of WalletService.
    """

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def deduct(self, charges: Sequence[Charge]) -> list[Settlement | DomainError]:
        """Makes up to 1,000 charges in one call. A batch that is refused whole is halved until the culprit is alone."""
        request = BatchDeductRequest(requests=[_deduction(charge) for charge in charges])
        try:
            response = await self._stub.BatchDeduct(request)
        except grpc.aio.AioRpcError as error:
            log.warning("wallets service failed", code=error.code().name, problem=error.details())
            if error.code() not in _DEFINITE:
                return [DependencyUnavailable("wallets") for _ in charges]
            if len(charges) > 1:
                middle = len(charges) // 2
                return [*await self.deduct(charges[:middle]), *await self.deduct(charges[middle:])]
            known = error_from(error)
            return [Settlement(job_id=charges[0].job_id, declined_reason=known.reason if known else error.code().name)]
        return [_outcome(charge, result) for charge, result in zip(charges, response.results, strict=True)]


def _deduction(charge: Charge) -> DeductRequest:
    return DeductRequest(
        customer_id=str(charge.customer_id),
        currency=charge.currency,
        amount_cents=charge.amount_cents,
        idempotency_key=charge.idempotency_key,
        hold_id=str(charge.hold_id or ""),
        job_id=str(charge.job_id),
    )


def _outcome(charge: Charge, result: BatchDeductResult) -> Settlement | DomainError:
    if result.HasField("response"):
        return Settlement(job_id=charge.job_id, transaction_id=UUID(result.response.transaction.id))
    error = error_from_status(result.error)
    if error.code in _DEFINITE and error.reason:
        return Settlement(job_id=charge.job_id, declined_reason=error.reason)
    return DependencyUnavailable("wallets")
