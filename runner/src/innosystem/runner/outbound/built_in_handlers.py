"""The built-in handlers, of job types that name an HTTP endpoint."""

from dataclasses import replace
from functools import partial
from typing import Any, Final

from innosystem.jobs.v1 import job_service_pb2, job_type_pb2
from innosystem.runner.context import JobContext
from innosystem.runner.outbound.client import OutboundClient
from innosystem.runner.outbound.endpoints import Endpoint, Values, request_of
from innosystem.runner.outbound.responses import check_accepted, output_of
from innosystem.runner.outbound.secrets import Secrets
from innosystem.runner.outbound.webhooks import message_of, signature_headers, signing_keys
from innosystem.runner.registry import Handler, Mode

HTTP: Final = "innosystem.http"
WEBHOOK: Final = "innosystem.webhook"
HANDLER_IDS: Final = (HTTP, WEBHOOK)
"""The `processing_logic_id` of all these job types."""
# For job types without a timeout, which the service does not have.
_SECONDS: Final = 300.0


class BuiltInHandlers:
    """Calls the endpoints of job types.

    Args:
        client: Makes the calls.
        secrets: The secrets that headers may have, and those that sign.
    """

    def __init__(self, client: OutboundClient, secrets: Secrets) -> None:
        self._client = client
        self._secrets = secrets

    def handler(self, claimed: job_service_pb2.ClaimedJob, timeout_seconds: float | None) -> Handler:
        """Return the handler of a job whose type names an endpoint, a coroutine."""
        seconds = timeout_seconds or _SECONDS
        if claimed.HasField("webhook"):
            call = partial(self._post, claimed.webhook, claimed.job.retry_count, seconds)
            return Handler(WEBHOOK, self._post, Mode.COROUTINE, takes_job=True, call=call)
        call = partial(self._call, claimed.external_api, seconds)
        return Handler(HTTP, self._call, Mode.COROUTINE, takes_job=True, call=call)

    async def _call(
        self, described: job_type_pb2.ExternalApi, timeout_seconds: float, input: Any, job: JobContext
    ) -> Any:
        endpoint = Endpoint.of(described)
        values = Values(input, job, self._secrets)
        response = await self._client.send(request_of(endpoint, input, job, values), timeout_seconds=timeout_seconds)
        return output_of(response, endpoint, values.secrets_used)

    async def _post(
        self,
        webhook: job_service_pb2.WebhookCall,
        retry_count: int,
        timeout_seconds: float,
        input: Any,
        job: JobContext,
    ) -> None:
        described = webhook.webhook
        endpoint = Endpoint.of(job_type_pb2.ExternalApi(url=described.url, headers=described.headers))
        keys = signing_keys(self._secrets, described.signing_secret)
        values = Values(input, job, self._secrets)
        request = request_of(endpoint, message_of(webhook, input, job), job, values)
        signed = signature_headers(f"{job.job_id}-{retry_count}-{job.attempt}", request.content, keys)
        request = replace(request, headers={**request.headers, **signed})
        response = await self._client.send(request, timeout_seconds=timeout_seconds)
        check_accepted(response, {*values.secrets_used, webhook.callback_token})

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
