"""Charge for finished jobs and record the results of the charges.

If the runner dies in between, the jobs service makes the same charge under the same idempotency key.
"""

import time
from typing import TYPE_CHECKING, Final

import structlog
from typing_extensions import override

from innosystem.client import REFUSAL_CODES, InnosystemError, error_from_status
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
# During an outage every job is left to the settler: log one line for many.
_LOG_SECONDS: Final = 10.0


class SettlerBackedSender(ReportSender):
    """A sender of reports that the settler of the jobs service would otherwise send later.

    The runner therefore waits only briefly, and keeps a bounded number of such jobs: even a long outage of the
    wallets service must not stop the runner.

    Args:
        in_hand: The jobs in the runner's hands.
        seconds: How long to try to report a job.
    """

    def __init__(self, in_hand: JobsInHand, seconds: float) -> None:
        super().__init__(in_hand)
        self._seconds = seconds
        self._left = 0
        self._logged_at = float("-inf")

    @override
    def report(self, job: JobInHand) -> None:
        """Report a job, unless too many are waiting already."""
        job.report_until = time.monotonic() + self._seconds
        if self.in_hand.settling > SETTLING_JOBS_MAX:
            self.drop([job], "too many wait")
        else:
            super().report(job)

    @override
    def drop(self, jobs: list[JobInHand], error: str) -> None:
        """Leave jobs to the settler."""
        self.abandon(jobs)
        self._left += len(jobs)
        log.debug("left_to_settler", stage=self.name, job_ids=[job.job_id for job in jobs], error=error)
        if time.monotonic() - self._logged_at > _LOG_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("left_to_settler", stage=self.name, jobs=self._left, error=error)
            self._left = 0


class ChargeSender(SettlerBackedSender):
    """The sender of BatchDeduct, with the charges that the jobs service returned.

    Args:
        service: The wallets service.
        stub: Its stub.
        in_hand: The jobs in the runner's hands.
        seconds: How long to try to charge a job.
        settlements: The sender that records the results of the charges.
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

    @override
    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
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
        elif error.code in REFUSAL_CODES and error.reason:
            log.warning(
                "charge_declined",
                job_id=job.job_id,
                request_id=job.request_id,
                reason=error.reason,
                error=error.message,
            )
            job.settlement = job_service_pb2.JobSettlement(
                job_id=job.job_id,
                declined=job_service_pb2.ChargeDeclined(
                    reason=error.reason, charge_token=b"" if job.charge is None else job.charge.charge_token
                ),
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
    """The sender of SettleJobs.

    Args:
        service: The jobs service.
        stub: Its stub.
        in_hand: The jobs in the runner's hands.
        seconds: How long to try to settle a job.
    """

    name = "settle"

    def __init__(
        self, *, service: ServiceClient, stub: "JobServiceAsyncStub", in_hand: JobsInHand, seconds: float
    ) -> None:
        super().__init__(in_hand, seconds)
        self._service = service
        self._stub = stub

    @override
    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
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
