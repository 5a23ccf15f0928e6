from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio

from innosystem.client import InnosystemError, Violation, error_from, error_from_status
from innosystem.jobs.v1 import job_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub

from .conftest import RecordingServer

KEY = "grpc-status-details-bin"


def status(*details: Message, code: int = code_pb2.FAILED_PRECONDITION) -> status_pb2.Status:
    packed = [any_pb2.Any() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    return status_pb2.Status(code=code, message="too poor", details=packed)


INSUFFICIENT_FUNDS = error_details_pb2.ErrorInfo(
    domain="innosystem", reason="INSUFFICIENT_FUNDS", metadata={"available_cents": "5"}
)


def test_reason_and_metadata_are_read() -> None:
    error = error_from_status(status(INSUFFICIENT_FUNDS))
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.message == "too poor"
    assert error.reason == "INSUFFICIENT_FUNDS"
    assert error.metadata == {"available_cents": "5"}
    assert error.violations == []
    assert error.retry_after_seconds is None
    assert str(error) == "INSUFFICIENT_FUNDS: too poor"


def test_the_reason_of_a_foreign_domain_is_not_taken_for_ours() -> None:
    info = error_details_pb2.ErrorInfo(domain="proxy.example.com", reason="INSUFFICIENT_FUNDS")
    assert error_from_status(status(info)).reason == ""


def test_field_violations_are_read() -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="job_id", description="not a UUID", reason="string.uuid")
    error = error_from_status(status(bad, code=code_pb2.INVALID_ARGUMENT))
    assert error.violations == [Violation("job_id", "not a UUID", "string.uuid")]
    assert str(error) == "INVALID_ARGUMENT: too poor (job_id: not a UUID)"


def test_violated_preconditions_are_read() -> None:
    failure = error_details_pb2.PreconditionFailure()
    failure.violations.add(type="STATE", subject="jobs/1", description="is running")
    error = error_from_status(status(failure))
    assert error.violations == [Violation("jobs/1", "is running", "STATE")]


def test_the_time_to_wait_is_read() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    assert error_from_status(status(retry)).retry_after_seconds == 1.5


def test_a_code_that_grpc_does_not_know_is_unknown() -> None:
    assert error_from_status(status(code=999)).code is grpc.StatusCode.UNKNOWN


def test_an_error_can_be_raised() -> None:
    with pytest.raises(InnosystemError, match="too poor"):
        raise error_from_status(status())


async def test_the_error_of_a_call_is_read_from_its_metadata(server: RecordingServer, channel: aio.Channel) -> None:
    details = status(INSUFFICIENT_FUNDS)

    async def refuse(got: Any, context: "aio.ServicerContext[Any, Any]") -> Any:
        await context.abort(
            grpc.StatusCode.FAILED_PRECONDITION,
            details.message,
            ((KEY, details.SerializeToString()),),
        )

    server.responses["CreateJob"] = refuse
    with pytest.raises(aio.AioRpcError) as caught:
        await JobServiceStub(channel).CreateJob(job_service_pb2.CreateJobRequest())
    error = error_from(caught.value)
    assert error is not None
    assert error.reason == "INSUFFICIENT_FUNDS"


def failure(trailing: aio.Metadata | None) -> aio.AioRpcError:
    return aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), trailing)


@pytest.mark.parametrize(
    "exc",
    [
        failure(None),
        failure(aio.Metadata(("other", "value"))),
        failure(aio.Metadata((KEY, b"\xff\xff not a status"))),
        grpc.RpcError("raised before there was a call"),
    ],
)
def test_a_failure_without_details_gives_none(exc: grpc.RpcError) -> None:
    assert error_from(exc) is None
