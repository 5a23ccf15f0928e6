"""What becomes of values on their way in, as the comments of the contract say it."""

import time
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from tests.support.rpc.jobs_stack import JobsStack

DAY = 86400


def later(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=int(time.time()) + seconds, nanos=nanos)


def test_times_are_kept_in_whole_microseconds_and_what_is_finer_is_cut_off(world: JobsStack) -> None:
    job_type = world.job_type(timeout=Duration(seconds=1, nanos=1_999), expires_after=Duration(seconds=9, nanos=999))
    assert (job_type.timeout, job_type.expires_after) == (Duration(seconds=1, nanos=1_000), Duration(seconds=9))
    run_at, expires_at = later(60, 123_456_789), later(70, 999_999_999)
    request = world.request(run_at=run_at, expires_at=expires_at)
    job = world.jobs.CreateJob(request).job
    assert (job.run_at.nanos, job.expires_at.nanos) == (123_456_000, 999_999_000)
    # So the same moment at a finer scale is the same parameter.
    request.run_at.nanos += 1
    assert world.jobs.CreateJob(request).replayed


def test_a_job_expires_so_long_after_it_was_submitted_or_is_to_run(world: JobsStack) -> None:
    job_type = world.job_type(expires_after=Duration(seconds=DAY)).name
    at_once = world.job(job_type=job_type)
    in_the_past = world.job(job_type=job_type, run_at=later(-DAY))
    for job in (at_once, in_the_past):
        assert job.status == job_pb2.JOB_STATUS_PENDING
        assert abs(job.expires_at.ToSeconds() - job.created_at.ToSeconds() - DAY) <= 1
    tomorrow = world.job(job_type=job_type, run_at=later(DAY))
    assert tomorrow.expires_at.ToSeconds() == tomorrow.run_at.ToSeconds() + DAY


def test_of_an_error_so_much_is_kept_as_is_said(world: JobsStack) -> None:
    job, lease_id = world.running()
    error = job_pb2.JobError(type="t" * 201, message="\N{GRINNING FACE}" * 10_001, attempt=99)
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=error))
    kept = world.get(job.id).error
    assert (kept.type, kept.message, kept.attempt) == ("t" * 200, "\N{GRINNING FACE}" * 10_000, 1)


def test_a_page_token_is_never_longer_than_what_is_taken(world: JobsStack) -> None:
    # The longest values that a list can be ordered by, of which each character takes twelve bytes in JSON.
    name = "\N{GRINNING FACE}" * 200
    for _ in range(2):
        email = f"{uuid4()}@{'a' * 60}.{'b' * 60}.{'c' * 60}.example.com"
        world.customers.CreateCustomer(customers.CreateCustomerRequest(name=name, email=email))
    request = customers.ListCustomersRequest(
        page_size=1, order_by="name desc,email,created_at,updated_at,id", filter=f'name = "{name}"'
    )
    request.page_token = world.customers.ListCustomers(request).next_page_token
    assert 0 < len(request.page_token) <= 4096
    assert len(world.customers.ListCustomers(request).customers) == 1
