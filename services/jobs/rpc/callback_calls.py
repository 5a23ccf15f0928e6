"""Callback tokens on the wire: what a claim gives for a POST, and what reports and results are believed by."""

from datetime import timedelta
from uuid import UUID

from innosystem.jobs.v1 import job_service_pb2 as pb
from services.jobs.rpc import convert
from services.jobs.rpc.job_type_convert import webhook_message
from services.jobs.rules.entities import ClaimedJob
from services.jobs.rules.transitions.callbacks import CallbackResult
from services.jobs.rules.transitions.completion import AwaitCallback, Completion
from services.kit.charges.callbacks import Callback, CallbackTokens
from services.kit.errors import InvalidField

# How long a claimed job may wait for its turn in the runner before it is posted.
_IN_HAND = timedelta(hours=1)


class CallbackCalls:
    """Conversions of jobs that are posted to an endpoint.

    Args:
        tokens: Makes and reads callback tokens.
        url: Where a gateway of the operator takes results over HTTP; empty if there is none.
    """

    def __init__(self, tokens: CallbackTokens, url: str = "") -> None:
        self._tokens = tokens
        self._url = url.rstrip("/")

    def claimed_message(self, claimed: ClaimedJob) -> pb.ClaimedJob:
        """Return the message of a claimed job."""
        message = convert.claimed_message(claimed)
        if claimed.webhook is not None:
            job, wait = claimed.job, claimed.webhook.callback_timeout
            callback = Callback(job.id, job.retry_count, job.attempt, wait)
            message.webhook.webhook.CopyFrom(webhook_message(claimed.webhook))
            message.webhook.callback_token = self._tokens.token(callback, claimed.timeout + wait + _IN_HAND)
            if self._url:
                message.webhook.callback_url = f"{self._url}/v1/jobs/{job.id}/callback"
        return message

    def completion(self, message: pb.JobCompletion) -> Completion:
        """Return the completion that a runner reports, in a message that satisfies the contract.

        Raises:
            InvalidOutputJson: If the output cannot be stored.
            OutputTooLarge: If it is too large.
            InvalidField: If the token of an accepted POST is not one of the job.
        """
        if message.WhichOneof("outcome") != "awaiting_callback":
            return convert.completion(message)
        job_id = UUID(message.job_id)
        callback = self._tokens.read(job_id, message.awaiting_callback.callback_token)
        if callback is None:
            raise InvalidField.of("awaiting_callback.callback_token", "must be that of the job's claim")
        return Completion(job_id=job_id, lease_id=UUID(message.lease_id), outcome=AwaitCallback(callback))


def callback_result(callback: Callback, request: pb.CompleteWebhookJobRequest) -> CallbackResult:
    """Return the result of a request, which satisfies the contract.

    Raises:
        InvalidOutputJson: If the output cannot be stored.
        OutputTooLarge: If it is too large.
    """
    if request.WhichOneof("outcome") == "error":
        return CallbackResult(callback=callback, outcome=convert.failure(request.error))
    usage_units = request.usage_units if request.HasField("usage_units") else None
    return CallbackResult(callback=callback, outcome=convert.output(request.output_json), usage_units=usage_units)
