"""Makes the charges of finished jobs and records what became of them.

If the runner dies in between, the jobs service makes the same charge under the same key.
"""

import time
from typing import TYPE_CHECKING, Final

import structlog
from grpc import StatusCode

from innosystem.client import InnosystemError, error_from_status
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.in_hand import JobInHand, JobsInHand
from innosystem.runner.reporting import ReportSender, is_transient
from innosystem.runner.service_client import ServiceClient
from innosystem.shared.crash import crash_point
from innosystem.wallets.v1 import wallet_service_pb2

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceAsyncStub

log = structlog.get_logger()

SETTLING_JOBS_MAX: Final = 4000
# During an outage each job is left: one line for many.
_SAY_SECONDS: Final = 10.0
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


class SettlerBackedSender(ReportSender):
    """Reports what the settler of the jobs service would do as well, only later.

    So the runner does not wait for long, and keeps a bounded number of such jobs: an outage of the
    wallets service, however long, must not stop it.

    Args:
        in_hand: The jobs in the runner's hands.
        seconds: How long a job is tried in this stage.
    """

    def __init__(self, in_hand: JobsInHand, seconds: float) -> None:
        super().__init__(in_hand)
        self._seconds = seconds
        self._left = 0
        self._said_at = float("-inf")

    def report(self, job: JobInHand) -> None:
        """Have a job reported, unless too many wait for that already."""
        job.report_until = time.monotonic() + self._seconds
        if self.in_hand.settling > SETTLING_JOBS_MAX:
            self.drop([job], "too many wait")
        else:
            super().report(job)

    def drop(self, jobs: list[JobInHand], error: str) -> None:
        """Leave jobs to the settler."""
        self.abandon(jobs)
        self._left += len(jobs)
        log.debug("left_to_settler", stage=self.name, job_ids=[job.job_id for job in jobs], error=error)
        if time.monotonic() - self._said_at > _SAY_SECONDS:
            self._said_at = time.monotonic()
            log.warning("left_to_settler", stage=self.name, jobs=self._left, error=error)
            self._left = 0


class ChargeSender(SettlerBackedSender):
    """Sends BatchDeduct, with what the jobs service said is to be charged.

    Args:
        service: The wallets service.
        stub: Its stub.
        in_hand: The jobs in the runner's hands.
        seconds: How long a job is tried in this stage.
        settlements: The stage that records what became of the charges.
    """

    name = "charge"

    def __init__(
        self,
        *,
        service: ServiceClient,
        stub: "WalletServiceAsyncStub",
        in_hand: JobsInHand,
        seconds: float,
        settlements: ReportSender,
    ) -> None:
        super().__init__(in_hand, seconds)
        self._service = service
        self._stub = stub
        self._settlements = settlements

    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
        """Charge a batch."""
        request = wallet_service_pb2.BatchDeductRequest(
            requests=[_deduction(job.charge) for job in batch if job.charge is not None]
        )
        crash_point("runner.before_charge")
        response = await self._service.call(
            self._stub.BatchDeduct, request, for_seconds=self.seconds_left(batch), suspect=suspect
        )
        self.handle_results(batch, response.results, self._handle_result)

    def _handle_result(self, job: JobInHand, result: wallet_service_pb2.BatchDeductResult) -> None:
        if result.HasField("response"):
            self._charged(job, result.response)
        else:
            self._not_charged(job, error_from_status(result.error))

    def _charged(self, job: JobInHand, response: wallet_service_pb2.DeductResponse) -> None:
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
        self._settlements.report(job)

    def _not_charged(self, job: JobInHand, error: InnosystemError) -> None:
        if is_transient(error):
            self.retry(job, error)
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
            self._settlements.report(job)
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


class SettlementSender(SettlerBackedSender):
    """Sends SettleJobs.

    Args:
        service: The jobs service.
        stub: Its stub.
        in_hand: The jobs in the runner's hands.
        seconds: How long a job is tried in this stage.
    """

    name = "settle"

    def __init__(
        self, *, service: ServiceClient, stub: "JobServiceAsyncStub", in_hand: JobsInHand, seconds: float
    ) -> None:
        super().__init__(in_hand, seconds)
        self._service = service
        self._stub = stub

    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
        """Record what became of the charges of a batch."""
        request = job_service_pb2.SettleJobsRequest(
            settlements=[job.settlement for job in batch if job.settlement is not None]
        )
        crash_point("runner.before_settle")
        response = await self._service.call(
            self._stub.SettleJobs, request, for_seconds=self.seconds_left(batch), suspect=suspect
        )
        self.handle_results(batch, response.results, self._handle_result)

    def _handle_result(self, job: JobInHand, result: job_service_pb2.JobSettlementResult) -> None:
        if not result.HasField("error"):
            self.in_hand.remove(job)
            return
        error = error_from_status(result.error)
        if is_transient(error):
            self.retry(job, error)
        else:
            self.drop([job], str(error))
