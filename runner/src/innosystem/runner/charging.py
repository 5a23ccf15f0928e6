"""Makes the charges of finished jobs and records what became of them.

If the runner dies in between, the jobs service makes the same charge under the same key.
"""

from typing import TYPE_CHECKING, Final

import structlog
from grpc import StatusCode

from innosystem.client import InnosystemError, error_from_status
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.calls import Service
from innosystem.runner.crash import crash_point
from innosystem.runner.flight import Flight, FlyingJob
from innosystem.runner.reporting import ReportStage, may_pass
from innosystem.wallets.v1 import wallet_service_pb2

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceAsyncStub

log = structlog.get_logger()

# The ledger has looked at the charge and says no. Anything else is about the call or the caller.
_DEFINITE: Final = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.OUT_OF_RANGE,
    }
)


class ChargeStage(ReportStage):
    """Sends BatchDeduct, with what the jobs service said is to be charged.

    Args:
        service: The wallets service.
        stub: Its stub.
        flight: The jobs in the runner's hands.
        settlements: The stage that records what became of the charges.
    """

    name = "charge"

    def __init__(
        self,
        *,
        service: Service,
        stub: "WalletServiceAsyncStub",
        flight: Flight,
        settlements: ReportStage,
    ) -> None:
        super().__init__(flight)
        self._service = service
        self._stub = stub
        self._settlements = settlements

    async def send(self, batch: list[FlyingJob]) -> None:
        """Charge a batch."""
        request = wallet_service_pb2.BatchDeductRequest(
            requests=[_deduction(job.charge) for job in batch if job.charge is not None]
        )
        crash_point("runner.before_charge")
        response = await self._service.call(self._stub.BatchDeduct, request, for_seconds=self.seconds_left(batch))
        for job, result in zip(batch, response.results, strict=True):
            if result.HasField("response"):
                self._charged(job, result.response)
            else:
                self._not_charged(job, error_from_status(result.error))

    def _charged(self, job: FlyingJob, response: wallet_service_pb2.DeductResponse) -> None:
        log.debug(
            "job_charged",
            job_id=job.job_id,
            request_id=job.request_id,
            transaction_id=response.transaction.id,
            replayed=response.replayed,
        )
        job.settlement = job_service_pb2.JobSettlement(
            job_id=job.job_id,
            transaction=job_service_pb2.ChargeTransaction(id=response.transaction.id, receipt=response.receipt),
        )
        self._settlements.enter(job)

    def _not_charged(self, job: FlyingJob, error: InnosystemError) -> None:
        if may_pass(error):
            self.again(job, error)
        elif error.code in _DEFINITE and error.reason:
            log.warning(
                "charge_declined",
                job_id=job.job_id,
                request_id=job.request_id,
                reason=error.reason,
                error=error.message,
            )
            job.settlement = job_service_pb2.JobSettlement(
                job_id=job.job_id,
                declined=job_service_pb2.ChargeDeclined(reason=error.reason),
            )
            self._settlements.enter(job)
        else:
            self.drop([job], str(error))


def _deduction(charge: job_service_pb2.Charge) -> wallet_service_pb2.DeductRequest:
    return wallet_service_pb2.DeductRequest(
        customer_id=charge.customer_id,
        currency=charge.currency,
        amount_cents=charge.amount_cents,
        idempotency_key=charge.idempotency_key,
        hold_id=charge.hold_id,
        job_id=charge.job_id,
        charge_token=charge.charge_token,
    )


class SettleStage(ReportStage):
    """Sends SettleJobs.

    Args:
        service: The jobs service.
        stub: Its stub.
        flight: The jobs in the runner's hands.
    """

    name = "settle"

    def __init__(self, *, service: Service, stub: "JobServiceAsyncStub", flight: Flight) -> None:
        super().__init__(flight)
        self._service = service
        self._stub = stub

    async def send(self, batch: list[FlyingJob]) -> None:
        """Record what became of the charges of a batch."""
        request = job_service_pb2.SettleJobsRequest(
            settlements=[job.settlement for job in batch if job.settlement is not None]
        )
        crash_point("runner.before_settle")
        response = await self._service.call(self._stub.SettleJobs, request, for_seconds=self.seconds_left(batch))
        for job, result in zip(batch, response.results, strict=True):
            if not result.HasField("error"):
                self.flight.leave(job)
                continue
            error = error_from_status(result.error)
            if may_pass(error):
                self.again(job, error)
            else:
                self.drop([job], str(error))
