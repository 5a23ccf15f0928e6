"""Submissions while the customers service is unavailable: refused for that reason, and accepted when it is back."""

import grpc
import pytest

from innosystem.client import error_from
from innosystem.jobs.v1 import job_service_pb2 as pb
from tests.support.rpc.jobs_stack import CustomersServer, JobsStack
from tests.support.rpc.refusals import Refused, Stored, details
from tests.support.until import until_sync


@pytest.mark.slow
def test_while_the_customers_service_is_away_only_known_jobs_are_answered(
    world: JobsStack, refused: Refused, stored: Stored, customers_server: CustomersServer
) -> None:
    known, fresh, malformed = world.request(), world.request(), world.request(input_json="{")
    world.jobs.CreateJob(known)
    customers_server.server.stop()
    try:
        error = refused(world.jobs.CreateJob, fresh, "DEPENDENCY_UNAVAILABLE")
        with stored.unchanged():
            replayed = world.jobs.CreateJob(known)
            batch = pb.BatchCreateJobsRequest(requests=[fresh, known, malformed])
            results = world.jobs.BatchCreateJobs(batch).results
    finally:
        customers_server.server.start()

    assert error.metadata == {"dependency": "customers"}
    assert error.retry_after_seconds == 0.5
    assert replayed.replayed
    details(results[0].error, "DEPENDENCY_UNAVAILABLE")
    assert results[1].response.replayed
    details(results[2].error, "INVALID_INPUT_JSON")
    taken = []

    def is_taken() -> bool:
        try:
            taken.append(world.jobs.CreateJob(fresh))
        except grpc.RpcError as again:
            refusal = error_from(again)
            assert refusal is not None
            assert refusal.reason == "DEPENDENCY_UNAVAILABLE"
        return bool(taken)

    until_sync(is_taken, limit_seconds=10)
    assert not taken[0].replayed
