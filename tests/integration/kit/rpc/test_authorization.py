"""Every call passes the check of its caller, before anything of the request is looked at."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from innosystem.client import InnosystemError, error_from
from services.kit.auth.authentication import Authentication
from services.kit.auth.principal import Kind, Principal, principal
from services.kit.errors import BadCredentials
from services.kit.observability.caller import caller
from tests.integration.kit.rpc.serving import ID, LIMIT_SECONDS, health_method, running

PRINCIPALS = {
    "operator": Principal(kind=Kind.OPERATOR, name="ada", credential="token"),
    "runner": Principal(kind=Kind.RUNNER, name="images", credential="token"),
    "client": Principal(kind=Kind.CLIENT, name="app", customers=frozenset([UUID(ID)]), credential="token"),
}


class Words:
    """Tokens that are the names of principals."""

    def knows(self, token: str) -> bool:
        return not token.startswith("inno_")

    async def principal(self, token: str, peer: str) -> Principal:
        if token not in PRINCIPALS:
            raise BadCredentials
        return PRINCIPALS[token]


def certificate(connection: Mapping[str, Iterable[bytes]]) -> Principal | None:
    return None


ON = Authentication(required=True, bearers=[Words()], certificate=certificate)


async def refusal(folder: Path, *metadata: tuple[str, str], customer_id: str = ID) -> InnosystemError | None:
    async with running(folder, authentication=ON) as server:
        try:
            await server.get(customer_id, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error_from(error)
    return None


async def test_a_call_without_credentials_is_refused_before_its_request_is_checked(tmp_path: Path) -> None:
    error = await refusal(tmp_path, customer_id="not an ID")
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NO_CREDENTIALS")


@pytest.mark.parametrize("value", ["Bearer unknown", "Bearer inno_unknown", "Bearer ", "Basic b3BlcmF0b3I=", ""])
async def test_a_call_with_wrong_credentials_is_refused_with_one_and_the_same_text(tmp_path: Path, value: str) -> None:
    error = await refusal(tmp_path, ("authorization", value))
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS")
    assert error.message == BadCredentials().message


async def test_a_call_of_a_kind_that_the_contract_does_not_name_is_refused(tmp_path: Path) -> None:
    error = await refusal(tmp_path, ("authorization", "Bearer runner"))
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED")
    assert error.metadata == {"method": "innosystem.customers.v1.CustomerService.GetCustomer", "kind": "runner"}


@pytest.mark.parametrize("name", ["operator", "client"])
async def test_a_call_that_is_admitted_has_its_principal_and_its_actor(tmp_path: Path, name: str) -> None:
    seen = []

    async def look(request: object, context: object) -> None:
        seen.append((principal.get(), caller.get().actor))

    async with running(tmp_path, look, authentication=ON) as server:
        await server.get(metadata=[("authorization", f"bearer {name}")])
    assert seen == [(PRINCIPALS[name], PRINCIPALS[name].actor)]


def _reflection(channel: grpc.aio.Channel, token: str) -> Any:
    return channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )(metadata=[("authorization", f"Bearer {token}")] if token else [], timeout=LIMIT_SECONDS)


async def _reflected(channel: grpc.aio.Channel, token: str) -> list[Any]:
    """Ask for the contract, and return its services."""
    call = _reflection(channel, token)
    await call.write(ServerReflectionRequest(list_services=""))
    response = await call.read()
    call.cancel()
    return list(response.list_services_response.service)


async def _refused(channel: grpc.aio.Channel, token: str) -> InnosystemError | None:
    """Return the refusal of a caller. It comes before any request, and one that is sent beside it may fail instead."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _reflection(channel, token).read()
    return error_from(caught.value)


async def test_reflection_is_for_operators_and_health_for_everybody(tmp_path: Path) -> None:
    async with running(tmp_path, authentication=ON) as server:
        assert await _reflected(server.channel, "operator")
        for token, reason in (("", "NO_CREDENTIALS"), ("unknown", "BAD_CREDENTIALS"), ("client", "NOT_ALLOWED")):
            error = await _refused(server.channel, token)
            assert error is not None
            assert error.reason == reason
        await health_method(server.channel, "Check")(HealthCheckRequest(), timeout=LIMIT_SECONDS)


async def test_open_reflection_is_for_everybody(tmp_path: Path) -> None:
    async with running(tmp_path, authentication=ON, reflection="open") as server:
        assert await _reflected(server.channel, "")
