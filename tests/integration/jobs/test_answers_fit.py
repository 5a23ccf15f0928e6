"""The largest responses that the contract allows, read by a client with gRPC's own limit of 4 MiB."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1 import job_type_service_pb2 as types_pb
from tests.support.rpc.jobs_stack import JobsStack, new_job_type
from tests.support.rpc.refusals import details

WIDE = "\U0001d11e"
LARGE_LABELS = {f"{WIDE * 50}{number}": WIDE * 255 for number in range(32)}
MEBIBYTE = 1024 * 1024


def large_jobs(world: JobsStack, count: int) -> list[pb.CreateJobRequest]:
    """Jobs with as much in their labels as is allowed; their type has a queue of its own."""
    first = world.request(
        labels=LARGE_LABELS, job_type=world.job_type(queue=f"fit-{uuid4()}", standard_cost_cents=0).name
    )
    requests = []
    for _ in range(count):
        request = pb.CreateJobRequest()
        request.CopyFrom(first)
        request.job_id = str(uuid4())
        requests.append(request)
    return requests


def in_pieces(requests: Sequence[Any], size: int = 250) -> list[Sequence[Any]]:
    return [requests[at : at + size] for at in range(0, len(requests), size)]


def test_a_batch_of_large_jobs_is_created_and_answered(world: JobsStack) -> None:
    requests = large_jobs(world, 250)

    results = world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=requests)).results

    assert [one.response.job.id for one in results] == [one.job_id for one in requests]
    narrow = [one for one in results if one.view == job_pb2.JOB_VIEW_NARROW]
    whole = [one for one in results if one.view == job_pb2.JOB_VIEW_UNSPECIFIED]
    assert 0 < len(whole) < len(results) == len(whole) + len(narrow)
    assert all(dict(one.response.job.labels) == LARGE_LABELS for one in whole)
    assert all(one.response.job.status == job_pb2.JOB_STATUS_PENDING and one.response.job.etag for one in narrow)
    assert not any(one.response.job.labels for one in narrow)


def test_a_thousand_large_jobs_are_cancelled_and_run_again_and_answered(world: JobsStack) -> None:
    requests = large_jobs(world, 1000)
    for part in in_pieces(requests):
        world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=part))
    ids = pb.JobIds(job_ids=[one.job_id for one in requests])

    cancelled = world.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(ids=ids)).results
    retried = world.jobs.BatchRetryJobs(pb.BatchRetryJobsRequest(ids=ids)).results

    assert [one.job.id for one in cancelled] == [one.job.id for one in retried] == list(ids.job_ids)
    assert {one.job.status for one in cancelled} == {job_pb2.JOB_STATUS_CANCELLED}
    assert {one.job.status for one in retried} == {job_pb2.JOB_STATUS_PENDING}
    asked = pb.ListJobsRequest(filter=f'customer_id = "{requests[0].customer_id}"', page_size=1000)
    found = []
    while True:
        page = world.jobs.ListJobs(asked)
        found += [job.id for job in page.jobs]
        asked.page_token = page.next_page_token
        if not asked.page_token:
            break
    assert sorted(found) == sorted(ids.job_ids)


def test_a_thousand_refusals_with_all_there_is_to_say_fit(world: JobsStack) -> None:
    bad = pb.CreateJobRequest(
        job_id="x", customer_id="x", job_type="t" * 101, max_cost_cents=-1,
        labels={f"{WIDE * 300}{number}": WIDE * 300 for number in range(3)},
    )  # fmt: skip
    results = world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=[bad] * 1000)).results
    assert len(results) == 1000
    for one in results:
        details(one.error, "INVALID_FIELD")


@pytest.mark.parametrize("view", [job_pb2.JOB_VIEW_UNSPECIFIED, job_pb2.JOB_VIEW_BASIC, job_pb2.JOB_VIEW_NARROW])
def test_a_caller_gets_what_it_asked_for_and_never_a_field_less(
    world: JobsStack, view: "job_pb2.JobView.ValueType"
) -> None:
    request = world.request(labels={"a": "b"})
    [created] = world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=[request], view=view)).results
    ids = pb.JobIds(job_ids=[request.job_id])
    [cancelled] = world.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(ids=ids, view=view)).results
    world.settle()
    [retried] = world.jobs.BatchRetryJobs(pb.BatchRetryJobsRequest(ids=ids, view=view)).results
    [listed] = world.jobs.ListJobs(pb.ListJobsRequest(filter=f'id = "{request.job_id}"', view=view)).jobs

    is_narrow = view == job_pb2.JOB_VIEW_NARROW
    for job in (created.response.job, cancelled.job, retried.job, listed):
        assert job.id == request.job_id
        assert job.status
        assert job.billing_status
        assert job.etag
        assert bool(job.labels) != is_narrow
        assert (job.ByteSize() < 64) == is_narrow
    assert {created.view, cancelled.view, retried.view} == {view if is_narrow else job_pb2.JOB_VIEW_UNSPECIFIED}


def test_a_job_with_the_largest_input_and_output_is_answered_whole(world: JobsStack) -> None:
    largest = '"' + "x" * (MEBIBYTE - 2) + '"'
    job, lease_id = world.running(input_json=largest, labels=LARGE_LABELS)
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json=largest))
    found = world.get(job.id)
    assert (found.input_json, found.output_json) == (largest, largest)
    asked = pb.ListJobsRequest(filter=f'id = "{job.id}"', view=job_pb2.JOB_VIEW_FULL)
    [listed] = world.jobs.ListJobs(asked).jobs
    assert listed == found


def test_many_large_job_types_are_listed_page_by_page(world: JobsStack) -> None:
    schema = '{"description": "' + "x" * 65_000 + '"}'
    made = [
        world.job_types.CreateJobType(
            types_pb.CreateJobTypeRequest(
                job_type=new_job_type(input_schema_json=schema, description=WIDE * 2000, queue="large-types")
            )
        ).job_type
        for _ in range(120)
    ]
    asked = types_pb.ListJobTypesRequest(filter='queue = "large-types"', page_size=1000)
    found: list[job_type_pb2.JobType] = []
    while True:
        page = world.job_types.ListJobTypes(asked)
        found += page.job_types
        asked.page_token = page.next_page_token
        if not asked.page_token:
            break
    assert [one.name for one in found] == sorted(one.name for one in made)
    assert {one.input_schema_json for one in found} == {schema}


def test_all_small_job_types_are_on_one_page(world: JobsStack) -> None:
    made = [world.job_type(queue="small-types").name for _ in range(60)]
    page = world.job_types.ListJobTypes(types_pb.ListJobTypesRequest(filter='queue = "small-types"', page_size=100))
    assert [one.name for one in page.job_types] == sorted(made)
    assert not page.next_page_token
    page = world.job_types.ListJobTypes(types_pb.ListJobTypesRequest(filter='queue = "small-types"', page_size=55))
    assert [one.name for one in page.job_types] == sorted(made)[:55]
    assert page.next_page_token
