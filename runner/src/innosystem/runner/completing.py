"""Report the results of jobs, and pass on the charges that they cause."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

import structlog
from google.protobuf.duration_pb2 import Duration
from typing_extensions import override

from innosystem.client import error_from_status
from innosystem.jobs.v1 import job_pb2, job_service_pb2
from innosystem.runner.errors import JobError
from innosystem.runner.in_hand import JobInHand, JobsInHand
from innosystem.runner.outcome import AwaitingCallback, Failed, Outcome, Snoozed, failure
from innosystem.runner.reporting import ReportSender, is_transient
from innosystem.runner.service_client import Refused, ServiceClient
from innosystem.shared.crash import crash_point

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

log = structlog.get_logger()

_OUTPUT_FAULTS: Final = frozenset({"INVALID_OUTPUT_JSON", "OUTPUT_TOO_LARGE", "INVALID_FIELD"})


def completion_of(job: JobInHand, outcome: Outcome) -> job_service_pb2.JobCompletion:
    """Convert an outcome to a completion of the contract."""
    completion = job_service_pb2.JobCompletion(job_id=job.job_id, lease_id=job.lease_id)
    if isinstance(outcome, Failed):
        completion.error.CopyFrom(
            job_pb2.JobError(type=outcome.type, message=outcome.message, retryable=outcome.retryable)
        )
        if outcome.retryable and outcome.retry_after_seconds is not None:
            completion.retry_after.CopyFrom(duration(outcome.retry_after_seconds))
    elif isinstance(outcome, Snoozed):
        completion.snooze.CopyFrom(duration(outcome.seconds))
    elif isinstance(outcome, AwaitingCallback):
        completion.awaiting_callback.callback_token = outcome.token
    else:
        completion.output_json = outcome.output_json
        if outcome.usage_units is not None:
            completion.usage_units = outcome.usage_units
    return completion


def _error_of(completion: job_service_pb2.JobCompletion | None) -> JobError:
    """Return why a job has failed whose completion was recorded as its final failure."""
    if completion is None or not completion.HasField("error"):
        return JobError("the handler has asked too often to be run later", type="SNOOZED_TOO_OFTEN", retryable=False)
    error = completion.error
    return JobError(error.message, type=error.type, retryable=error.retryable)


def duration(seconds: float) -> Duration:
    """Convert seconds to a Duration."""
    converted = Duration()
    converted.FromNanoseconds(int(seconds * 1e9))
    return converted


class CompletionSender(ReportSender):
    """The sender of CompleteJobs. The server sets the price of a job: the reply contains the charge.

    Args:
        service: The jobs service.
        stub: Its stub.
        in_hand: The jobs in the runner's hands.
        charges: The sender that makes the charges.
    """

    name = "complete"

    def __init__(
        self, *, service: ServiceClient, stub: "JobServiceAsyncStub", in_hand: JobsInHand, charges: ReportSender
    ) -> None:
        super().__init__(in_hand)
        self._service = service
        self._stub = stub
        self._charges = charges
        self._hooks: set[asyncio.Task[None]] = set()

    @override
    def size(self, item: JobInHand) -> int:
        """Return the size of the result with its framing in the batch."""
        return item.bytes + 8

    @override
    async def send(self, batch: list[JobInHand], *, suspect: bool) -> None:
        request = job_service_pb2.CompleteJobsRequest(
            completions=[job.completion for job in batch if job.completion is not None]
        )
        crash_point("runner.before_complete")
        for job in batch:
            job.was_sent = True
        response = await self._service.call(
            self._stub.CompleteJobs, request, for_seconds=self.seconds_left(batch), suspect=suspect
        )
        self.handle_results(batch, response.results, self._handle_result)

    def _handle_result(self, job: JobInHand, result: job_service_pb2.JobCompletionResult) -> None:
        if job.removed:
            # Cancelled meanwhile: nothing to charge and nothing to report.
            return
        if result.HasField("recorded"):
            self._recorded(job, result.recorded)
        else:
            self._not_recorded(job, result)

    def _recorded(self, job: JobInHand, recorded: job_service_pb2.RecordedCompletion) -> None:
        if self._has_output(job):
            # Not before: the service may refuse an output.
            log.info(
                "job_succeeded",
                job_id=job.job_id,
                handler=job.handler,
                request_id=job.request_id,
                seconds=round(job.run_seconds, 6),
            )
        completion = job.completion
        self.in_hand.drop_result(job)
        if recorded.HasField("charge"):
            job.charge = recorded.charge
            self._charges.report(job)
        elif job.on_failure is not None and recorded.status == job_pb2.JOB_STATUS_FAILED:
            self._call_hook(job, job.on_failure(_error_of(completion)))
        else:
            self.in_hand.remove(job)

    def _call_hook(self, job: JobInHand, hook: Coroutine[Any, Any, None]) -> None:
        """Call `on_failure`, while the job stays in hand so that a runner that stops waits for it."""
        job.stage = "on_failure"
        task = asyncio.create_task(hook)
        self._hooks.add(task)
        task.add_done_callback(self._hooks.discard)
        task.add_done_callback(lambda _: self.in_hand.remove(job))

    def _not_recorded(self, job: JobInHand, result: job_service_pb2.JobCompletionResult) -> None:
        error = error_from_status(result.error)
        if error.reason in _OUTPUT_FAULTS and self._has_output(job):
            self._fail_instead(job, error.reason, str(error))
        elif is_transient(error):
            self.retry(job, error)
        else:
            # LEASE_LOST: another runner has the job, or it has ended. This runner must not charge it.
            log.warning(
                "result_refused",
                job_id=job.job_id,
                request_id=job.request_id,
                reason=error.reason,
                error=error.message,
            )
            self.in_hand.remove(job)

    @override
    async def give_up(self, batch: list[JobInHand], error: Exception) -> None:
        """Fail a job whose output every server refuses; leave the others to the platform."""
        if isinstance(error, Refused) and self._has_output(batch[0]):
            self._fail_instead(batch[0], error.reason or "INVALID_OUTPUT_JSON", str(error))
        else:
            await super().give_up(batch, error)

    def _has_output(self, job: JobInHand) -> bool:
        return job.completion is not None and job.completion.HasField("output_json")

    def _fail_instead(self, job: JobInHand, type: str, message: str) -> None:
        log.warning(
            "output_refused",
            job_id=job.job_id,
            request_id=job.request_id,
            reason=type,
            error=message,
        )
        self.in_hand.finish(job, completion_of(job, failure(type, message)))
        self.report(job)
