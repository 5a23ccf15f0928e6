"""Conversion between the messages of the jobs contract and the domain."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from innosystem.client import request_id
from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from services.jobs.rpc.external_api_convert import external_api_message
from services.jobs.rules.entities import (
    BillingStatus,
    Charge,
    ClaimedJob,
    Job,
    JobError,
    JobStatus,
    Progress,
    QueueStats,
)
from services.jobs.rules.errors import InvalidOutputJson, OutputTooLarge
from services.jobs.rules.job_types import Priority, ProcessorType
from services.jobs.rules.prices.metering import Metering
from services.jobs.rules.prices.quote import Quote
from services.jobs.rules.schemas import payloads
from services.jobs.rules.submission import Submission
from services.jobs.rules.transitions.changes import Failure
from services.jobs.rules.transitions.completion import Completion, Snooze
from services.jobs.rules.transitions.progress import CHECKPOINT_BYTES_MAX, Report
from services.jobs.usecases.run import Kept, Recorded, Return
from services.jobs.usecases.submission.known_jobs import Submitted
from services.kit.errors import DomainError, InvalidField
from services.kit.rpc.convert import duration, id_or_new, moment, numbers, timestamp
from services.kit.rpc.responses import narrow_result
from services.kit.rpc.status import to_status

_NO_ID_MAX = 64
_ERROR_TYPE_MAX = 200
_ERROR_MESSAGE_MAX = 10_000

_STATUSES = numbers(JobStatus, job_pb2.JobStatus, "JOB_STATUS_")
_BILLING_STATUSES = numbers(BillingStatus, job_pb2.BillingStatus, "BILLING_STATUS_")
_PROCESSOR_TYPES = numbers(ProcessorType, job_type_pb2.ProcessorType, "PROCESSOR_TYPE_")
_PRIORITIES = numbers(Priority, job_type_pb2.Priority, "PRIORITY_")


def priority_from(value: "job_type_pb2.Priority.ValueType") -> Priority | None:
    """Return the priority, which is one less than its number in the contract; None if it is unspecified."""
    return Priority(value - 1) if value else None


def status_message(status: JobStatus) -> "job_pb2.JobStatus.ValueType":
    """Return the status's number in the contract."""
    return _STATUSES[status]


def priority_message(priority: Priority) -> "job_type_pb2.Priority.ValueType":
    """Return the priority's number in the contract."""
    return _PRIORITIES[priority]


def submission(request: pb.CreateJobRequest) -> Submission:
    """Return the submission of a request, which satisfies the contract.

    Raises:
        InvalidField: If a time is out of range.
    """
    by_id = request.WhichOneof("type") == "job_type_id"
    return Submission(
        job_id=id_or_new(request.job_id),
        customer_id=UUID(request.customer_id),
        job_type=UUID(request.job_type_id) if by_id else request.job_type,
        priority=priority_from(request.priority),
        input_json=request.input_json,
        run_at=moment(request.run_at, "run_at") if request.HasField("run_at") else None,
        expires_at=(moment(request.expires_at, "expires_at") if request.HasField("expires_at") else None),
        max_cost_cents=request.max_cost_cents if request.HasField("max_cost_cents") else None,
        labels=dict(request.labels),
        request_id=request_id.get(),
        validate_only=request.validate_only,
    )


def job_ids(texts: Iterable[str]) -> list[UUID]:
    """Return the IDs that a runner took from the queue; texts that are not UUIDs belong to no job and are left out."""
    ids = []
    for text in texts:
        try:
            ids.append(UUID(text))
        except ValueError:
            continue
    return ids


def no_ids(texts: Iterable[str]) -> list[str]:
    """Return the texts that are not UUIDs, once each, and cut to a length worth repeating."""
    return [text[:_NO_ID_MAX] for text in dict.fromkeys(texts) if not job_ids([text])]


def completion(message: pb.JobCompletion) -> Completion:
    """Return the completion that a runner reports, in a message that satisfies the contract.

    Raises:
        InvalidOutputJson: If the output cannot be stored.
        OutputTooLarge: If it is too large.
    """
    job_id, lease_id = UUID(message.job_id), UUID(message.lease_id)
    outcome = message.WhichOneof("outcome")
    if outcome == "error":
        retry_after = message.retry_after.ToTimedelta() if message.HasField("retry_after") else None
        return Completion(job_id=job_id, lease_id=lease_id, outcome=failure(message.error, retry_after))
    if outcome == "snooze":
        return Completion(job_id=job_id, lease_id=lease_id, outcome=Snooze(message.snooze.ToTimedelta()))
    usage_units = message.usage_units if message.HasField("usage_units") else None
    return Completion(job_id=job_id, lease_id=lease_id, outcome=output(message.output_json), usage_units=usage_units)


def output(text: str) -> payloads.Payload:
    """Return the output of a job.

    Raises:
        InvalidOutputJson: If it cannot be stored.
        OutputTooLarge: If it is too large.
    """
    try:
        return payloads.check(text)
    except payloads.NotStorable as error:
        raise InvalidOutputJson(str(error)) from None
    except payloads.TooLarge as error:
        raise OutputTooLarge(error.size, payloads.BYTES_MAX) from None


def failure(error: job_pb2.JobError, retry_after: timedelta | None = None) -> Failure:
    """Return the failure of a job, which may ask for a time before the next attempt."""
    return Failure(
        type=_storable(error.type, _ERROR_TYPE_MAX),
        message=_storable(error.message, _ERROR_MESSAGE_MAX),
        retryable=error.retryable,
        retry_after=retry_after,
    )


def job_return(message: pb.JobReturn) -> Return:
    """Return the job that a runner returns, in a message that satisfies the contract."""
    wait = message.wait.ToTimedelta() if message.HasField("wait") else None
    return Return(UUID(message.job_id), UUID(message.lease_id), message.reason, message.not_served, wait or None)


def progress_report(message: pb.ProgressReport) -> Report:
    """Return what a handler says, in a message that satisfies the contract.

    Raises:
        InvalidField: If the checkpoint can't be stored, or is too large.
    """
    said = message.progress if message.HasField("progress") else None
    return Report(
        job_id=UUID(message.job_id),
        lease_id=UUID(message.lease_id),
        sequence=message.sequence,
        percent=None if said is None else said.percent,
        message="" if said is None else said.message,
        checkpoint=_checkpoint(message.checkpoint_json) if message.checkpoint_json else None,
    )


def _checkpoint(text: str) -> payloads.Payload:
    try:
        checkpoint = payloads.check(text)
        if checkpoint.size > CHECKPOINT_BYTES_MAX:
            raise payloads.TooLarge(checkpoint.size)
    except payloads.NotStorable as error:
        raise InvalidField.of("checkpoint_json", f"can't be stored: {error}") from None
    except payloads.TooLarge as error:
        problem = f"has {error.size} bytes and may have {CHECKPOINT_BYTES_MAX}: store the data elsewhere"
        raise InvalidField.of("checkpoint_json", problem) from None
    return checkpoint


def progress_result(result: DomainError | None) -> pb.ProgressReportResult:
    """Return the result of a report."""
    return pb.ProgressReportResult(error=None if result is None else to_status(result))


def _storable(text: str, length_max: int) -> str:
    # The message of an exception may hold any character; PostgreSQL stores all but NUL.
    return text[:length_max].replace("\x00", "\N{REPLACEMENT CHARACTER}")


def job_message(job: Job, view: "job_pb2.JobView.ValueType" = job_pb2.JOB_VIEW_BASIC) -> job_pb2.Job:
    """Return the message of a job; with payloads if the job was read with them."""
    if view == job_pb2.JOB_VIEW_NARROW:
        status, billing_status = _STATUSES[job.status], _BILLING_STATUSES[job.billing_status]
        return job_pb2.Job(id=str(job.id), status=status, billing_status=billing_status, etag=job.etag)
    return job_pb2.Job(
        id=str(job.id),
        customer_id=str(job.customer_id),
        job_type_id=str(job.job_type_id),
        status=_STATUSES[job.status],
        billing_status=_BILLING_STATUSES[job.billing_status],
        priority=_PRIORITIES[job.priority],
        queue=job.queue,
        input_json=job.input_data or "",
        output_json=job.output_data or "",
        error=_error_message(job.error) if job.error else None,
        estimated_cost_cents=job.estimated_cost_cents,
        cost_cents=job.cost_cents,
        usage_units=job.usage_units,
        metering=_metering_message(job.metering) if job.metering else None,
        currency=job.currency,
        hold_id=str(job.hold_id or ""),
        transaction_id=str(job.transaction_id or ""),
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        rescue_count=job.rescue_count,
        snooze_count=job.snooze_count,
        retry_count=job.retry_count,
        labels=job.labels,
        etag=job.etag,
        run_at=timestamp(job.run_at),
        expires_at=timestamp(job.expires_at),
        created_at=timestamp(job.created_at),
        queued_at=timestamp(job.queued_at),
        started_at=timestamp(job.started_at),
        completed_at=timestamp(job.completed_at),
        callback_expires_at=timestamp(job.callback_expires_at),
        # A claim does not need it, and is a hot path.
        progress=_progress_message(job.progress) if job.progress else None,
        runner_id=str(job.runner_id) if view == job_pb2.JOB_VIEW_FULL and job.runner_id else "",
    )


def _metering_message(metering: Metering) -> job_type_pb2.Metering:
    return job_type_pb2.Metering(
        unit=metering.unit,
        unit_price_micro_cents=metering.unit_price_micro_cents,
        max_cost_cents=metering.max_cost_cents,
        standard_cost_cents=metering.standard_cost_cents,
    )


def _progress_message(progress: Progress) -> job_pb2.JobProgress:
    return job_pb2.JobProgress(percent=progress.percent, message=progress.message, at=timestamp(progress.at))


def _narrow(job: job_pb2.Job) -> job_pb2.Job:
    return job_pb2.Job(id=job.id, status=job.status, billing_status=job.billing_status, etag=job.etag)


def _error_message(error: JobError) -> job_pb2.JobError:
    return job_pb2.JobError(
        type=error.type,
        message=error.message,
        retryable=error.retryable,
        attempt=error.attempt,
        at=timestamp(error.at),
    )


def submitted_message(
    submitted: Submitted | Quote, view: "job_pb2.JobView.ValueType" = job_pb2.JOB_VIEW_BASIC
) -> pb.CreateJobResponse:
    """Return the response to a submission."""
    if isinstance(submitted, Quote):
        return pb.CreateJobResponse(quote=_quote_message(submitted))
    return pb.CreateJobResponse(job=job_message(submitted.job, view), replayed=submitted.replayed)


def _quote_message(quote: Quote) -> pb.Quote:
    message = pb.Quote(
        price_cents=quote.price_cents,
        hold_cents=quote.hold_cents,
        currency=quote.currency,
        metering=_metering_message(quote.metering) if quote.metering else None,
    )
    if (funds := quote.funds) is not None:
        message.balance_cents = funds.balance_cents
        message.available_cents = funds.available_cents
        message.balance_after_cents = funds.balance_cents - quote.hold_cents
        message.available_after_cents = funds.available_cents - quote.hold_cents
    return message


def submission_result(
    result: Submitted | Quote | DomainError, view: "job_pb2.JobView.ValueType" = job_pb2.JOB_VIEW_BASIC
) -> pb.BatchCreateJobsResult:
    """Return the result of a submission in a batch."""
    if isinstance(result, DomainError):
        return pb.BatchCreateJobsResult(error=to_status(result))
    return pb.BatchCreateJobsResult(response=submitted_message(result, view), view=_stated(view))


def narrow_submission_result(result: pb.BatchCreateJobsResult) -> None:
    """Reduce the result of a submission to what its caller needs."""
    if result.HasField("error"):
        narrow_result(result)
        return
    if result.response.HasField("job"):
        result.response.job.CopyFrom(_narrow(result.response.job))
    result.view = job_pb2.JOB_VIEW_NARROW


def _stated(view: "job_pb2.JobView.ValueType") -> "job_pb2.JobView.ValueType":
    """Return the view that results state: only the narrow one."""
    return view if view == job_pb2.JOB_VIEW_NARROW else job_pb2.JOB_VIEW_UNSPECIFIED


def claimed_message(claimed: ClaimedJob) -> pb.ClaimedJob:
    """Return the message of a claimed job."""
    return pb.ClaimedJob(
        job=job_message(claimed.job),
        processing_logic_id=claimed.processing_logic_id,
        processor_type=_PROCESSOR_TYPES[claimed.processor_type],
        processor_type_named=claimed.processor_type_named,
        timeout=duration(claimed.timeout),
        lease_expires_at=timestamp(claimed.job.lease_expires_at),
        request_id=claimed.job.request_id,
        isolated=claimed.isolated,
        external_api=external_api_message(claimed.external_api),
        checkpoint_json=claimed.checkpoint or "",
    )


def completion_result(
    result: Recorded | DomainError, charge_token: Callable[[Charge], bytes]
) -> pb.JobCompletionResult:
    """Return the result of a completion.

    Args:
        result: The result.
        charge_token: Returns the token that authorises a charge.
    """
    if isinstance(result, DomainError):
        return pb.JobCompletionResult(error=to_status(result))
    charge = _charge_message(result.charge, charge_token(result.charge)) if result.charge else None
    return pb.JobCompletionResult(recorded=pb.RecordedCompletion(status=_STATUSES[result.status], charge=charge))


def _charge_message(charge: Charge, charge_token: bytes) -> pb.Charge:
    return pb.Charge(
        customer_id=str(charge.customer_id),
        currency=charge.currency,
        amount_cents=charge.amount_cents,
        idempotency_key=charge.idempotency_key,
        hold_id=str(charge.hold_id or ""),
        job_id=str(charge.job_id),
        charge_token=charge_token,
    )


def settlement_result(result: BillingStatus | DomainError) -> pb.JobSettlementResult:
    """Return the result of a settlement."""
    if isinstance(result, DomainError):
        return pb.JobSettlementResult(error=to_status(result))
    return pb.JobSettlementResult(billing_status=_BILLING_STATUSES[result])


def job_result(result: Job | DomainError, view: "job_pb2.JobView.ValueType" = job_pb2.JOB_VIEW_BASIC) -> pb.JobResult:
    """Return the result of a change of one job in a batch."""
    if isinstance(result, DomainError):
        return pb.JobResult(error=to_status(result))
    return pb.JobResult(job=job_message(result, view), view=_stated(view))


def narrow_job_result(result: pb.JobResult) -> None:
    """Reduce the result of a change of one job to what its caller needs."""
    if result.HasField("error"):
        narrow_result(result)
        return
    result.job.CopyFrom(_narrow(result.job))
    result.view = job_pb2.JOB_VIEW_NARROW


def kept_message(kept: Kept, no_jobs: Sequence[str]) -> pb.RenewLeasesResponse:
    """Return the response to a renewal.

    Args:
        kept: The result of the renewal.
        no_jobs: Texts that belong to no job, so that no lease covers them.
    """
    ends = [(str(job_id), f"LEASE_END_{end.value}") for job_id, end in kept.not_renewed.items()]
    return pb.RenewLeasesResponse(
        not_renewed=[
            pb.NotRenewed(job_id=text, reason=pb.LeaseEnd.Value(name))
            for text, name in (*ends, *((text, "LEASE_END_LOST") for text in no_jobs))
        ],
        lease_expires_at=timestamp(kept.lease_expires_at),
    )


def return_result(result: JobStatus | DomainError) -> pb.JobReturnResult:
    """Return the result of a return."""
    if isinstance(result, DomainError):
        return pb.JobReturnResult(error=to_status(result))
    return pb.JobReturnResult(status=_STATUSES[result])


def stats_message(stats: QueueStats) -> pb.QueueStats:
    """Return the message of the counts of one priority of one queue."""
    return pb.QueueStats(
        queue=stats.queue,
        priority=priority_message(stats.priority),
        waiting=stats.waiting,
        dispatched=stats.dispatched,
        running=stats.running,
        scheduled=stats.scheduled,
        paused=stats.paused,
        oldest_age=duration(stats.oldest_age) if stats.oldest_age is not None else None,
        submitted_per_second=stats.submitted_per_second,
        completed_per_second=stats.completed_per_second,
        unserved=stats.unserved,
        unserved_handlers=stats.unserved_handlers,
        runners=stats.runners,
    )
