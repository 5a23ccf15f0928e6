"""What callers of a real server get when something goes wrong."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from structlog.testing import capture_logs

from innosystem.client import InnosystemError, connect, error_from
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from services.kit.errors import (
    DatabaseUnavailable,
    DataCorrupt,
    DependencyUnavailable,
    DomainError,
    EtagMismatch,
    InvalidField,
)
from tests.integration.kit.rpc.serving import ID, LIMIT_SECONDS, NAME, Behavior, Context, Running, running

OTHER_ID = "00000000-0000-0000-0000-000000000007"


def raising(error: BaseException) -> Behavior:
    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        raise error

    return behavior


async def refused(server: Running, **how: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.get(**how)
    return caught.value


def read(error: grpc.aio.AioRpcError) -> InnosystemError:
    details = error_from(error)
    assert details is not None
    return details


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EtagMismatch(), grpc.StatusCode.ABORTED),
        (DatabaseUnavailable(), grpc.StatusCode.UNAVAILABLE),
        (InvalidField.of("customer.email", "must be right"), grpc.StatusCode.INVALID_ARGUMENT),
        (InvalidField.of("x" * 9000, "\N{SNOWMAN}" * 9000), grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["aborted", "unavailable", "field", "huge"],
)
async def test_domain_errors_arrive_with_code_reason_and_details(
    tmp_path: Path, error: DomainError, code: grpc.StatusCode
) -> None:
    async with running(tmp_path, raising(error)) as server:
        caught = await refused(server)

    details = read(caught)
    assert caught.code() is code
    assert caught.details() == details.message
    assert details.reason == error.reason
    assert details.retry_after_seconds == error.retry_after_seconds


async def test_a_client_that_retries_waits_as_long_as_requested_and_no_longer_than_its_deadline(
    tmp_path: Path,
) -> None:
    asked_at: list[float] = []

    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        asked_at.append(monotonic())
        if request.customer_id == ID or len(asked_at) < 3:
            raise DependencyUnavailable("wallets", retry_seconds=0.4)

    async with running(tmp_path, behavior), connect(f"unix:{tmp_path / 's'}") as channel:
        await CustomerServiceStub(channel).GetCustomer(pb.GetCustomerRequest(customer_id=OTHER_ID))
        first, second, third = asked_at
        # By default it waits a tenth and a fifth of a second.
        assert 0.4 <= second - first < 2
        assert 0.4 <= third - second < 2
        began = monotonic()
        with pytest.raises(grpc.aio.AioRpcError):
            await CustomerServiceStub(channel).GetCustomer(pb.GetCustomerRequest(customer_id=ID), timeout=0.6)
        assert monotonic() - began < 2


async def test_an_unforeseen_error_tells_nothing_but_the_request_id_and_the_log_has_it_all(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with running(tmp_path, raising(RuntimeError("password is hunter2"))) as server:
            caught = await refused(server, metadata=(("x-request-id", "request-7"),))

    trailing = dict(caught.trailing_metadata())
    status = status_pb2.Status.FromString(bytes(trailing["grpc-status-details-bin"]))
    info = error_details_pb2.RequestInfo()
    assert caught.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in f"{caught!r} {status}"
    assert [packed.Unpack(info) for packed in status.details] == [True]
    assert info.request_id == trailing["x-request-id"] == "request-7"
    [line] = [line for line in lines if line["event"] == "unexpected_error"]
    assert line["exc_info"] is True


async def test_a_timeout_of_something_else_is_not_the_callers_deadline(tmp_path: Path) -> None:
    async with running(tmp_path, raising(TimeoutError())) as server:
        assert (await refused(server)).code() is grpc.StatusCode.INTERNAL


async def test_a_cancellation_inside_a_call_fails_the_call_and_leaves_no_caller_waiting(
    tmp_path: Path,
) -> None:
    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lost.cancel()
        await lost

    async with running(tmp_path, behavior) as server:
        assert (await refused(server)).code() is grpc.StatusCode.INTERNAL


async def test_a_corrupt_row_is_internal_with_its_reason_and_logged(tmp_path: Path) -> None:
    error = DataCorrupt(entity="job_type", entity_id="7", field="processor_type", value="QUANTUM")
    with capture_logs() as lines:
        async with running(tmp_path, raising(error)) as server:
            details = read(await refused(server))

    assert (details.code, details.reason) == (grpc.StatusCode.INTERNAL, "DATA_CORRUPT")
    [line] = [line for line in lines if line["event"] == "data_corrupt"]
    assert "QUANTUM" in line["error"]


async def test_requests_that_break_the_contract_do_not_reach_the_servicer(tmp_path: Path) -> None:
    reached = []

    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        reached.append(request)

    async with running(tmp_path, behavior) as server:
        details = read(await refused(server, customer_id="nonsense"))

    assert [(one.field, one.description) for one in details.violations] == [("customer_id", "must be a valid UUID")]
    assert reached == []


async def test_bytes_that_are_no_message_are_an_invalid_argument(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        send: Any = server.channel.unary_unary(f"/{NAME}/GetCustomer")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(b"\xff\xff\xff")

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert read(caught.value).reason == "INVALID_FIELD"


@pytest.mark.parametrize("raw", [b"\xff\xff", b"\x0a\x02\xed\xa0"], ids=["no fields", "no UTF-8"])
@pytest.mark.parametrize(
    "method",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
async def test_bytes_that_are_no_message_of_health_or_reflection_are_invalid_arguments_and_in_no_error_log(
    tmp_path: Path, method: str, raw: bytes
) -> None:
    with capture_logs() as logs:
        async with running(tmp_path) as server:
            make: Any = {
                "Check": server.channel.unary_unary,
                "Watch": server.channel.unary_stream,
                "ServerReflectionInfo": server.channel.stream_stream,
            }[method.rpartition("/")[2]]
            call = make(method)(iter([raw]) if method.endswith("Info") else raw, timeout=LIMIT_SECONDS)
            code, details = await call.code(), await call.details()

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "request: must be the bytes of the method's request, with texts in UTF-8"
    assert not [line for line in logs if line["log_level"] == "error"]


async def test_a_method_that_is_not_there_is_unimplemented(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        send: Any = server.channel.unary_unary(f"/{NAME}/Nothing")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
