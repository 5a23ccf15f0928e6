"""API keys that the customers service is asked for: only its word makes a key a wrong one."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from structlog.testing import capture_logs

from innosystem.customers.v1.customer_pb2 import ApiKey
from innosystem.customers.v1.customer_service_pb2 import ResolveApiKeyRequest, ResolveApiKeyResponse
from innosystem.options.v1 import options_pb2
from services.customers.rules.errors import BadApiKey
from services.kit.auth.api_keys import ResolvedKey
from services.kit.auth.principal import Scope
from services.kit.errors import (
    BadCredentials,
    DatabaseUnavailable,
    DependencyUnavailable,
    DomainError,
    NotAllowed,
    Overloaded,
)
from services.kit.rpc.api_keys import RemoteApiKeys
from services.kit.rpc.convert import timestamp
from services.kit.rpc.status import code_of, to_status

TOKEN = "inno_" + "k" * 43


def refused(error: DomainError) -> AioRpcError:
    details = ("grpc-status-details-bin", to_status(error).SerializeToString())
    return AioRpcError(code_of(error.reason), Metadata(), Metadata(details), error.message)


class Customers:
    """ResolveApiKey that returns or raises what it is given."""

    def __init__(self, result: ResolveApiKeyResponse | AioRpcError) -> None:
        self._result = result
        self.asked: list[str] = []

    async def method(self, request: ResolveApiKeyRequest, timeout: float) -> Any:
        self.asked.append(request.api_key)
        if isinstance(self._result, AioRpcError):
            raise self._result
        return self._result

    async def resolve(self) -> ResolvedKey:
        return await RemoteApiKeys(self.method, ResolveApiKeyRequest, 3.0).resolve(TOKEN)


async def test_a_key_is_what_the_customers_service_says() -> None:
    key_id, customer_id, until = uuid4(), uuid4(), datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    key = ApiKey(
        id=str(key_id),
        customer_id=str(customer_id),
        scopes=[options_pb2.SCOPE_SUBMIT, 99],  # type: ignore[list-item] # of a later release
        expires_at=timestamp(until),
    )
    service = Customers(ResolveApiKeyResponse(key=key))
    expected = ResolvedKey(key_id=key_id, customer_id=customer_id, scopes=frozenset([Scope.SUBMIT]), expires_at=until)
    assert await service.resolve() == expected
    assert service.asked == [TOKEN]


async def test_a_key_without_an_end_has_none() -> None:
    key = ApiKey(id=str(UUID(int=1)), customer_id=str(UUID(int=2)))
    assert (await Customers(ResolveApiKeyResponse(key=key)).resolve()).expires_at is None


async def test_a_key_is_wrong_if_the_customers_service_says_so_of_the_key() -> None:
    with pytest.raises(BadCredentials):
        await Customers(refused(BadApiKey())).resolve()


@pytest.mark.parametrize(
    "failure",
    [
        ResolveApiKeyResponse(),
        refused(BadCredentials()),
        refused(NotAllowed("ResolveApiKey", "runner")),
        refused(DatabaseUnavailable()),
        refused(Overloaded()),
        AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata()),
        AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, Metadata(), Metadata()),
        AioRpcError(grpc.StatusCode.INTERNAL, Metadata(), Metadata()),
    ],
    ids=lambda failure: failure.code().name if isinstance(failure, AioRpcError) else "of an older release",
)
async def test_a_key_is_not_wrong_because_the_service_itself_is_refused_or_gets_no_answer(
    failure: ResolveApiKeyResponse | AioRpcError,
) -> None:
    with capture_logs() as lines, pytest.raises(DependencyUnavailable) as caught:
        await Customers(failure).resolve()
    assert caught.value.dependency == "customers"
    assert lines
    assert TOKEN not in f"{lines} {caught.value.metadata} {caught.value}"
