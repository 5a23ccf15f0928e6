"""The built-in handler of job types that name an HTTP endpoint."""

from functools import partial
from typing import Any, Final

from innosystem.jobs.v1 import job_type_pb2
from innosystem.runner.context import JobContext
from innosystem.runner.outbound.client import OutboundClient
from innosystem.runner.outbound.endpoints import Endpoint, Values, request_of
from innosystem.runner.outbound.responses import output_of
from innosystem.runner.outbound.secrets import Secrets
from innosystem.runner.registry import Handler, Mode

HANDLER_ID: Final = "innosystem.http"
"""The `processing_logic_id` of all these job types."""
# For job types without a timeout, which the service does not have.
_SECONDS: Final = 300.0


class ExternalApis:
    """Calls the endpoints of job types.

    Args:
        client: Makes the calls.
        secrets: The secrets that headers may have.
    """

    def __init__(self, client: OutboundClient, secrets: Secrets) -> None:
        self._client = client
        self._secrets = secrets

    def handler(self, described: job_type_pb2.ExternalApi, timeout_seconds: float | None) -> Handler:
        """Return the handler that calls an endpoint, a coroutine."""
        call = partial(self._call, described, timeout_seconds or _SECONDS)
        return Handler(HANDLER_ID, self._call, Mode.COROUTINE, takes_job=True, call=call)

    async def _call(
        self, described: job_type_pb2.ExternalApi, timeout_seconds: float, input: Any, job: JobContext
    ) -> Any:
        endpoint = Endpoint.of(described)
        values = Values(input, job, self._secrets)
        response = await self._client.send(request_of(endpoint, input, job, values), timeout_seconds=timeout_seconds)
        return output_of(response, endpoint, values.secrets_used)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
