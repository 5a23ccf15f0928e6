from typing import Any

import grpc
import pytest
from grpc import aio

from innosystem.client import Innosystem, connect, request_id
from innosystem.customers.v1 import customer_service_pb2
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1 import job_service_pb2, job_type_pb2, job_type_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.wallets.v1 import wallet_service_pb2

from .conftest import RecordingServer


async def test_a_call_without_a_timeout_gets_the_default_deadline(server: RecordingServer) -> None:
    async with connect(server.target, deadline_seconds=7) as channel:
        await JobServiceStub(channel).GetJob(job_service_pb2.GetJobRequest())
    remaining = server.seen[0].time_remaining
    assert remaining is not None
    # gRPC rounds timeouts up a little when it sends them.
    assert 0 < remaining < 8


async def test_the_timeout_of_a_call_goes_before_the_default(server: RecordingServer, channel: aio.Channel) -> None:
    await JobServiceStub(channel).GetJob(job_service_pb2.GetJobRequest(), timeout=3)
    remaining = server.seen[0].time_remaining
    assert remaining is not None
    assert 0 < remaining < 4


async def test_a_call_carries_the_request_id_of_the_request_being_worked_on(
    server: RecordingServer, channel: aio.Channel
) -> None:
    token = request_id.set("request-1")
    try:
        await JobServiceStub(channel).GetJob(job_service_pb2.GetJobRequest())
    finally:
        request_id.reset(token)
    assert server.seen[0].metadata["x-request-id"] == "request-1"


async def test_calls_outside_of_any_request_get_a_new_request_id_each(
    server: RecordingServer, channel: aio.Channel
) -> None:
    stub = JobServiceStub(channel)
    for _ in range(2):
        await stub.GetJob(job_service_pb2.GetJobRequest())
    first, second = (seen.metadata["x-request-id"] for seen in server.seen)
    assert first
    assert second
    assert first != second


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-request-id", "mine"), ("other", "kept")),
        aio.Metadata(("x-request-id", "mine"), ("other", "kept")),
    ],
)
async def test_a_request_id_and_metadata_of_the_caller_are_sent_as_they_are(
    server: RecordingServer, channel: aio.Channel, metadata: Any
) -> None:
    await JobServiceStub(channel).GetJob(job_service_pb2.GetJobRequest(), metadata=metadata)
    assert server.seen[0].metadata["x-request-id"] == "mine"
    assert server.seen[0].metadata["other"] == "kept"


async def test_a_stream_gets_a_request_id_but_no_deadline(server: RecordingServer, channel: aio.Channel) -> None:
    watch: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/test.Streams/Watch")
    assert [item async for item in watch(b"")] == [b"one", b"two"]
    assert server.seen[0].metadata["x-request-id"]
    assert server.seen[0].time_remaining is None


async def test_calls_identify_the_client_to_the_server(server: RecordingServer, channel: aio.Channel) -> None:
    await JobServiceStub(channel).GetJob(job_service_pb2.GetJobRequest())
    assert str(server.seen[0].metadata["user-agent"]).startswith("innosystem-python/")


async def test_messages_larger_than_the_limit_of_grpc_pass(server: RecordingServer, channel: aio.Channel) -> None:
    request = job_service_pb2.CreateJobRequest(input_json="x" * 3 * 1024 * 1024)

    async def echo(got: Any, context: "aio.ServicerContext[Any, Any]") -> Any:
        reply = job_service_pb2.CreateJobResponse()
        reply.job.input_json = got.input_json * 2
        return reply

    server.responses["CreateJob"] = echo
    reply = await JobServiceStub(channel).CreateJob(request)
    assert len(reply.job.input_json) == 6 * 1024 * 1024


async def test_a_safe_call_is_repeated_with_the_same_id_while_the_server_is_unavailable(
    server: RecordingServer, channel: aio.Channel
) -> None:
    async def third_time(got: Any, context: "aio.ServicerContext[Any, Any]") -> Any:
        if len(server.seen) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return job_service_pb2.CreateJobResponse()

    server.responses["CreateJob"] = third_time
    await JobServiceStub(channel).CreateJob(job_service_pb2.CreateJobRequest())
    requests: list[Any] = [seen.request for seen in server.seen]
    assert len(requests) == 3
    assert len({request.job_id for request in requests}) == 1
    assert requests[0].job_id


async def test_an_unsafe_call_is_sent_once(server: RecordingServer, channel: aio.Channel) -> None:
    async def unavailable(got: Any, context: "aio.ServicerContext[Any, Any]") -> Any:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    server.responses["UpdateCustomer"] = unavailable
    stub = CustomerServiceStub(channel)
    with pytest.raises(aio.AioRpcError) as caught:
        await stub.UpdateCustomer(customer_service_pb2.UpdateCustomerRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(server.seen) == 1


async def test_one_object_reaches_every_service(server: RecordingServer) -> None:
    target = server.target
    async with Innosystem(customers=target, wallets=target, jobs=target) as platform:
        await platform.customers.CreateCustomer(customer_service_pb2.CreateCustomerRequest())
        await platform.wallets.CreateWallet(wallet_service_pb2.CreateWalletRequest())
        await platform.job_types.CreateJobType(
            job_type_service_pb2.CreateJobTypeRequest(job_type=job_type_pb2.JobType(name="demo"))
        )
        await platform.jobs.CreateJob(job_service_pb2.CreateJobRequest())
    customer, wallet, job_type, job = (seen.request for seen in server.seen)
    assert isinstance(customer, customer_service_pb2.CreateCustomerRequest)
    assert customer.customer_id
    assert isinstance(wallet, wallet_service_pb2.CreateWalletRequest)
    assert wallet.wallet_id
    assert isinstance(job_type, job_type_service_pb2.CreateJobTypeRequest)
    assert job_type.job_type.id
    assert isinstance(job, job_service_pb2.CreateJobRequest)
    assert job.job_id


async def test_addresses_come_from_the_environment(server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS_ADDRESS", server.target)
    async with Innosystem() as platform:
        await platform.jobs.GetJob(job_service_pb2.GetJobRequest())
    assert len(server.seen) == 1


async def test_a_closed_client_makes_no_more_calls(server: RecordingServer) -> None:
    async with Innosystem(jobs=server.target) as platform:
        await platform.jobs.GetJob(job_service_pb2.GetJobRequest())
    with pytest.raises(aio.UsageError):
        await platform.jobs.GetJob(job_service_pb2.GetJobRequest())
