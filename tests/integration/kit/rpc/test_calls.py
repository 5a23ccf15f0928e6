"""Request IDs, log lines, deadlines and limits of calls to a real server."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2
from structlog.testing import capture_logs

from innosystem.client import error_from, request_id
from innosystem.customers.v1 import customer_service_pb2 as pb
from services.kit.errors import EtagMismatch
from services.kit.observability.logs import add_call
from tests.integration.kit.rpc.serving import (
    ID,
    LIMIT_SECONDS,
    NAME,
    Context,
    Gate,
    Running,
    health_method,
    running,
    settings,
)
from tests.support.until import until

Lines = list[Any]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars, add_call]) as captured:
        yield captured


def calls(lines: Lines) -> Lines:
    return [line for line in lines if line["event"] == "call" and line["log_level"] == "info"]


# Stopped long before its deadline, it can't tell the server to cancel the call.
_SILENT_CALLER = """
import grpc
from innosystem.customers.v1.customer_service_pb2 import GetCustomerRequest
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
with grpc.insecure_channel("{address}") as channel:
    CustomerServiceStub(channel).GetCustomer(GetCustomerRequest(customer_id="{id}"), timeout=2)
"""


async def refusal(server: Running, **how: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await server.get(**how)
    return caught.value


async def test_the_request_id_of_the_caller_is_in_every_line_and_in_what_the_call_calls(
    tmp_path: Path, lines: Lines
) -> None:
    seen = []

    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        seen.append(request_id.get())
        structlog.get_logger().info("inside")

    async with running(tmp_path, behavior) as server:
        await server.get(metadata=(("x-request-id", "request-7"),))

    assert seen == ["request-7"]
    assert [line["request_id"] for line in lines] == ["request-7", "request-7"]
    [call] = calls(lines)
    assert (call["method"], call["code"]) == (f"/{NAME}/GetCustomer", "OK")
    assert call["duration_ms"] > 0
    assert call["peer"].startswith("unix:")


@pytest.mark.parametrize("given", [None, "", "x" * 129, "two words"], ids=["none", "empty", "long", "space"])
async def test_a_call_without_a_sane_request_id_gets_a_new_one(tmp_path: Path, lines: Lines, given: str | None) -> None:
    async with running(tmp_path) as server:
        await server.get(metadata=() if given is None else (("x-request-id", given),))

    [call] = calls(lines)
    assert UUID(call["request_id"]).version == 7


async def test_calls_at_the_same_time_keep_their_own_request_ids(tmp_path: Path, lines: Lines) -> None:
    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        await asyncio.sleep(0)
        structlog.get_logger().info("inside", expected=dict(context.invocation_metadata() or ())["x-request-id"])

    async with running(tmp_path, behavior) as server:
        await asyncio.gather(*(server.get(metadata=(("x-request-id", f"request-{n}"),)) for n in range(20)))

    inside = [line for line in lines if line["event"] == "inside"]
    assert len(inside) == 20
    assert all(line["request_id"] == line["expected"] for line in inside)


async def test_the_line_of_a_refused_call_has_its_code_and_reason(tmp_path: Path, lines: Lines) -> None:
    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        raise EtagMismatch

    async with running(tmp_path, behavior) as server:
        await refusal(server)

    [call] = calls(lines)
    assert (call["code"], call["reason"]) == ("ABORTED", "ETAG_MISMATCH")


async def test_probes_are_logged_for_debugging_only(tmp_path: Path, lines: Lines) -> None:
    async with running(tmp_path) as server:
        await server.health.start()
        await health_method(server.channel, "Check")(health_pb2.HealthCheckRequest())

    assert calls(lines) == []
    assert [line["log_level"] for line in lines] == ["debug"]


async def test_a_call_that_its_caller_gives_up_is_cancelled_and_no_error(tmp_path: Path, lines: Lines) -> None:
    gate, left = Gate(), asyncio.Event()

    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        try:
            await gate(request, context)
        finally:
            left.set()

    async with running(tmp_path, behavior) as server:
        call = asyncio.create_task(server.get())
        await gate.wait_entered()
        call.cancel()
        async with asyncio.timeout(LIMIT_SECONDS):
            await left.wait()

    assert [line["code"] for line in calls(lines)] == ["CANCELLED"]
    assert [line for line in lines if line["log_level"] == "error"] == []
    assert server.load.calls == 0


async def test_a_call_ends_at_its_deadline(tmp_path: Path, lines: Lines) -> None:
    async with running(tmp_path, Gate()) as server:
        error = await refusal(server, timeout=0.05)
        # The client's own clock ends it as well, and may be first.
        await until(lambda: bool(calls(lines)))

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert [line["code"] for line in calls(lines)] == ["DEADLINE_EXCEEDED"]
    assert server.load.calls == 0


async def test_a_call_whose_caller_fell_silent_ends_at_its_deadline_all_the_same(tmp_path: Path, lines: Lines) -> None:
    gate = Gate()
    async with running(tmp_path, gate) as server:
        script = _SILENT_CALLER.format(address=settings(tmp_path).listen_address, id=ID)
        caller = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
        try:
            await gate.wait_entered()
            caller.send_signal(signal.SIGSTOP)
            await until(lambda: server.load.calls == 0)
        finally:
            caller.kill()
            await caller.wait()

    assert [line["code"] for line in calls(lines)] == ["DEADLINE_EXCEEDED"]


async def test_a_call_without_a_deadline_gets_the_servers(tmp_path: Path) -> None:
    async with running(tmp_path, Gate(), deadline_seconds_max=0.05) as server:
        error = await refusal(server, timeout=None)

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert error.details() == "The call took longer than 0.050 s: send it again with the same IDs and more time."


async def test_a_call_with_more_time_than_the_servers_default_may_take_it(tmp_path: Path) -> None:
    async def behavior(request: pb.GetCustomerRequest, context: Context) -> None:
        remaining.append(context.time_remaining())

    remaining: list[float] = []
    async with running(tmp_path, behavior, deadline_seconds_max=0.001) as server:
        await server.get(timeout=LIMIT_SECONDS)

    assert remaining[0] > 1


async def test_calls_beyond_the_limit_are_refused_as_overloaded_and_later_ones_are_not(tmp_path: Path) -> None:
    gate = Gate()
    async with running(tmp_path, gate, concurrent_calls_max=1) as server:
        first = asyncio.create_task(server.get())
        await gate.wait_entered()

        error = await refusal(server)
        gate.opened.set()
        await first
        await server.get()

    details = error_from(error)
    assert details is not None
    assert (details.code, details.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert details.retry_after_seconds is not None


async def test_a_message_above_the_limit_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, message_bytes_max=1000) as server:
        error = await refusal(server, customer_id="x" * 2000)

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
