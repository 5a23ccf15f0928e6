"""Jobs that were posted to an endpoint, and wait for its result without a runner: pure decisions on a locked job."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.errors import LeaseLost
from services.jobs.rules.job_types import NewJobType
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import NOW, Change, Failure
from services.jobs.rules.transitions.completion import AwaitCallback, Completion, Ending, ending, is_repeated
from services.kit.charges.callbacks import Callback
from services.kit.errors import DependencyUnavailable
from services.kit.fast_dataclasses import made

WEBHOOK_TIMEOUT = "WEBHOOK_TIMEOUT"
_WAITING = (JobStatus.PENDING, JobStatus.SCHEDULED)
# How soon a job that its runner has lost after the POST is usually posted again.
_POSTED_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Awaiting(Change):
    """What a job becomes that its endpoint has accepted: RUNNING under a lease that no runner has.

    Attributes:
        completed_lease_id: The lease of the runner, by which it repeats its report.
    """

    lease_id: UUID
    lease_expires_at: timedelta
    callback_expires_at: timedelta
    completed_lease_id: UUID
    completion_digest: bytes


@dataclass(frozen=True, kw_only=True)
class CalledBack(Ending):
    """What a job becomes by the result of its endpoint, whether or not its runner has reported the POST."""


@dataclass(frozen=True, kw_only=True)
class CallbackResult:
    """What an endpoint reports.

    Attributes:
        usage_units: What the job has used; None if that is not reported, or there is no output.
    """

    callback: Callback
    outcome: Payload | Failure
    usage_units: int | None = None

    @property
    def completion(self) -> Completion:
        """The end of the run, under the lease of the wait."""
        return Completion(
            job_id=self.callback.job_id,
            lease_id=self.callback.lease_id,
            outcome=self.outcome,
            usage_units=self.usage_units,
        )


def awaiting(job: Job, completion: Completion, outcome: AwaitCallback) -> Awaiting:
    """Return what a RUNNING job becomes whose endpoint has accepted it."""
    return Awaiting(
        job_id=job.id,
        lease_id=outcome.callback.lease_id,
        lease_expires_at=outcome.callback.wait,
        callback_expires_at=outcome.callback.wait,
        completed_lease_id=completion.lease_id,
        completion_digest=completion.digest,
    )


def was_called_back(job: Job, outcome: AwaitCallback) -> bool:
    """Return whether the result of the endpoint was faster than the runner's report that it has accepted the job."""
    return job.completed_lease_id == outcome.callback.lease_id


def called_back(job: Job, result: CallbackResult, job_type: NewJobType | None) -> CalledBack | None:
    """Return what a job becomes by the result of its endpoint; None if it had this very result before.

    Args:
        job: The job.
        result: The result.
        job_type: The job's type, which has the backoff; needed if attempts are left.

    Raises:
        LeaseLost: If the attempt is over.
        DependencyUnavailable: If the job's runner was lost after the POST, and the job is about to be posted again.
    """
    if is_repeated(job, result.completion):
        return None
    posted = result.callback.retry_count, result.callback.attempt
    # A run that did not count has been undone, also in the number of attempts.
    if job.status in _WAITING and posted == (job.retry_count, job.attempt + 1):
        raise DependencyUnavailable("runner", _POSTED_AGAIN_SECONDS)
    if job.status is not JobStatus.RUNNING or posted != (job.retry_count, job.attempt):
        raise LeaseLost(job.id)
    # No runner makes the charge: the settler does, now.
    return made(CalledBack, vars(ending(job, result.completion, job_type, settle_after=NOW)))


def timed_out(job: Job, lease_id: UUID, job_type: NewJobType | None) -> Ending:
    """Return what a job becomes whose endpoint has sent no result in time: its attempt has failed.

    Args:
        job: The job.
        lease_id: The lease of the wait, under which it is RUNNING.
        job_type: The job's type, which has the backoff; needed if attempts are left.
    """
    message = "the endpoint accepted the job and sent no result in time"
    failure = Failure(type=WEBHOOK_TIMEOUT, message=message, retryable=True)
    completion = Completion(job_id=job.id, lease_id=lease_id, outcome=failure)
    return ending(job, completion, job_type, settle_after=NOW)
