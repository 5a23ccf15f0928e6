"""API keys as the customers service knows them, asked over gRPC."""

from collections.abc import Callable
from datetime import UTC
from typing import Any, Final
from uuid import UUID

import grpc
import structlog

from innosystem.client import error_from
from innosystem.options.v1 import options_pb2
from services.kit.auth.api_keys import ResolvedKey
from services.kit.auth.principal import API_KEY, Scope
from services.kit.errors import BadCredentials, DependencyUnavailable
from services.kit.rpc.convert import customer_limits, numbers
from services.kit.rpc.dependency import Dependency

log = structlog.get_logger(__name__)

# Of the time of a call: a response takes milliseconds, so the first attempt is short.
_SHARES: Final = (1 / 6, 1 / 3, 1 / 2)
_SCOPES: Final = numbers(Scope, options_pb2.Scope, "SCOPE_")


class RemoteApiKeys:
    """The API keys of the customers service.

    Args:
        method: The stub's `ResolveApiKey`.
        request: Creates its request: `ResolveApiKeyRequest`.
        deadline_seconds: The time limit of a call.
    """

    def __init__(self, method: Any, request: Callable[..., Any], deadline_seconds: float) -> None:
        self._method = method
        self._request = request
        self._customers = Dependency("customers")
        self._attempts = [share * deadline_seconds for share in _SHARES]

    async def resolve(self, token: str) -> ResolvedKey:
        """Look an API key up.

        Raises:
            BadCredentials: If it is unknown or has ended.
            DependencyUnavailable: If the customers service does not say so: it is unavailable, or refuses this service.
        """
        try:
            response = await self._customers.call(self._method, self._request(api_key=token), self._attempts)
        except grpc.aio.AioRpcError as error:
            refusal = error_from(error)
            # Without the metadata it is this service whose credentials are wrong.
            if refusal is not None and refusal.metadata.get("credential") == API_KEY:
                raise BadCredentials from None
            reason = refusal.reason if refusal is not None else ""
            log.warning("api_key_lookup_failed", code=error.code().name, reason=reason)
            raise DependencyUnavailable("customers") from None
        if not response.HasField("key"):
            log.warning("api_key_lookup_failed", code="OK", reason="the customers service is of an older release")
            raise DependencyUnavailable("customers")
        return _resolved(response)


def _resolved(response: Any) -> ResolvedKey:
    key, allowed = response.key, frozenset(response.key.scopes)
    return ResolvedKey(
        key_id=UUID(key.id),
        customer_id=UUID(key.customer_id),
        scopes=frozenset(scope for scope, number in _SCOPES.items() if number in allowed),
        expires_at=key.expires_at.ToDatetime(UTC) if key.HasField("expires_at") else None,
        limits=customer_limits(response.customer),
    )
