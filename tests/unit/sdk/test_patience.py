"""Calls wait when a limit is used up, within their deadline."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from innosystem.client import connect, error_from, watch_job
from innosystem.client.patience import PatientCall
from innosystem.customers.v1.customer_service_pb2 import UpdateCustomerRequest
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub

from .conftest import RecordingServer, Response


def refusing(times: int, *, seconds: float, reason: str = "RATE_LIMITED", reply: Message | None = None) -> Response:
    """Refuse some calls, then respond."""
    left = times

    async def respond(request: Any, context: "aio.ServicerContext[Any, Any]") -> Message:
        nonlocal left
        left -= 1
        if left < 0:
            return reply or pb.GetJobResponse()
        status = status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="wait")
        delay = Duration()
        delay.FromMilliseconds(round(seconds * 1000))
        for detail in (
            error_details_pb2.ErrorInfo(reason=reason, domain="innosystem"),
            error_details_pb2.RetryInfo(retry_delay=delay),
        ):
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        details = ("grpc-status-details-bin", status.SerializeToString())
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "wait", (details,))
        raise AssertionError

    return respond


async def failure(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_call_waits_as_long_as_it_is_told_and_succeeds(server: RecordingServer, channel: aio.Channel) -> None:
    server.responses["GetJob"] = refusing(2, seconds=0.1)
    begun = asyncio.get_running_loop().time()
    await JobServiceStub(channel).GetJob(pb.GetJobRequest())
    assert len(server.seen) == 3
    assert asyncio.get_running_loop().time() - begun >= 0.2


async def test_the_same_job_is_submitted_again_in_what_is_left_of_the_deadline(
    server: RecordingServer, channel: aio.Channel
) -> None:
    server.responses["CreateJob"] = refusing(1, seconds=0.5, reply=pb.CreateJobResponse())
    await JobServiceStub(channel).CreateJob(pb.CreateJobRequest(), timeout=5)
    first, second = server.seen
    assert first.request == second.request
    assert first.request.job_id  # type: ignore[attr-defined]
    assert first.metadata["x-request-id"] == second.metadata["x-request-id"]
    assert first.time_remaining is not None
    assert second.time_remaining is not None
    assert second.time_remaining <= first.time_remaining - 0.4


async def test_a_wait_beyond_the_deadline_is_left_to_the_caller_with_the_seconds(
    server: RecordingServer, channel: aio.Channel
) -> None:
    server.responses["GetJob"] = refusing(1, seconds=60)
    error = error_from(await failure(JobServiceStub(channel).GetJob(pb.GetJobRequest(), timeout=2)))
    assert error is not None
    assert (error.reason, error.retry_after_seconds) == ("RATE_LIMITED", 60)
    assert len(server.seen) == 1


async def test_a_call_gives_up_after_ten_attempts(server: RecordingServer, channel: aio.Channel) -> None:
    server.responses["GetJob"] = refusing(1000, seconds=0)
    assert (await failure(JobServiceStub(channel).GetJob(pb.GetJobRequest()))).code() is (
        grpc.StatusCode.RESOURCE_EXHAUSTED
    )
    assert len(server.seen) == 10


async def test_calls_that_are_not_safe_to_repeat_and_other_refusals_are_not_sent_again(
    server: RecordingServer, channel: aio.Channel
) -> None:
    server.responses["UpdateCustomer"] = refusing(1, seconds=0)
    await failure(CustomerServiceStub(channel).UpdateCustomer(UpdateCustomerRequest()))
    server.responses["GetJob"] = refusing(1, seconds=0, reason="OVERLOADED")
    await failure(JobServiceStub(channel).GetJob(pb.GetJobRequest()))
    assert len(server.seen) == 2


async def test_a_call_that_waits_can_be_cancelled(server: RecordingServer, channel: aio.Channel) -> None:
    server.responses["GetJob"] = refusing(1, seconds=0.3)
    call = JobServiceStub(channel).GetJob(pb.GetJobRequest())
    assert isinstance(call, PatientCall)
    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    waiting = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(server.seen) == 1


async def test_a_patient_call_has_the_metadata_of_its_latest_attempt(
    server: RecordingServer, channel: aio.Channel
) -> None:
    server.responses["GetJob"] = refusing(1, seconds=0)
    call = JobServiceStub(channel).GetJob(pb.GetJobRequest())
    await call
    assert await call.code() is grpc.StatusCode.OK
    assert call.done()


async def test_callers_that_gather_calls_wait_for_all_of_them(server: RecordingServer) -> None:
    server.responses["GetJob"] = refusing(3, seconds=0.05)
    async with connect(server.target) as channel:
        stub = JobServiceStub(channel)
        await asyncio.gather(*(stub.GetJob(pb.GetJobRequest()) for _ in range(5)))
    assert len(server.seen) == 8


class Watches:
    """A stub whose watches are refused at first."""

    def __init__(self, refusal: aio.AioRpcError) -> None:
        self.refusals = [refusal]

    def WatchJob(self, request: pb.WatchJobRequest) -> Any:  # noqa: N802
        stub = self

        class Call:
            async def __aiter__(self) -> Any:
                if stub.refusals:
                    raise stub.refusals.pop()
                yield pb.WatchJobResponse()

            def cancel(self) -> None:
                """Do nothing."""

        return Call()


async def test_a_watch_waits_for_a_place(server: RecordingServer, channel: aio.Channel) -> None:
    server.responses["GetJob"] = refusing(1, seconds=30)
    refusal = await failure(JobServiceStub(channel).GetJob(pb.GetJobRequest(), timeout=2))
    with pytest.raises(aio.AioRpcError):
        await anext(watch_job(Watches(refusal), "id", give_up_seconds=1))  # type: ignore[arg-type]
