"""ListJobs over gRPC: filters, orders, pages and views."""

from typing import Any
from uuid import uuid4

import pytest

from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.refusals import Refused

MEBIBYTE = 1024 * 1024


def listed(world: JobsStack, **values: object) -> list[str]:
    return [job.id for job in world.jobs.ListJobs(pb.ListJobsRequest(**values)).jobs]  # type: ignore[arg-type] # any field


def walk(world: JobsStack, asked: pb.ListJobsRequest) -> list[pb.ListJobsResponse]:
    pages = [world.jobs.ListJobs(asked)]
    while pages[-1].next_page_token:
        asked.page_token = pages[-1].next_page_token
        pages.append(world.jobs.ListJobs(asked))
    assert all(page.ByteSize() <= 4_000_000 for page in pages)
    return pages


def of(customer_id: str, more: str = "") -> str:
    return f'customer_id = "{customer_id}"' + (f" AND {more}" if more else "")


def test_a_walk_through_the_pages_finds_each_job_once_whatever_is_submitted_meanwhile(world: JobsStack) -> None:
    customer_id = world.customer()
    named = {"customer_id": customer_id, "job_type": world.job_type().name}
    made = [world.job(**named).id for _ in range(7)]
    asked = pb.ListJobsRequest(page_size=3, filter=of(customer_id))
    found = []
    for _ in range(3):
        page = world.jobs.ListJobs(asked)
        found.append([job.id for job in page.jobs])
        asked.page_token = page.next_page_token
        world.job(**named)

    newest_first = made[::-1]
    assert found == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert not asked.page_token


def test_a_page_has_fifty_jobs_unless_told_otherwise(world: JobsStack) -> None:
    one = world.request()
    requests = []
    for _ in range(60):
        request = pb.CreateJobRequest()
        request.CopyFrom(one)
        request.job_id = str(uuid4())
        requests.append(request)
    world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=requests))

    assert len(listed(world, filter=of(one.customer_id))) == 50
    assert len(listed(world, filter=of(one.customer_id), page_size=5000)) == 60


def test_filters_choose_by_status_priority_labels_and_type(world: JobsStack) -> None:
    customer_id = world.customer()
    job_type = world.job_type()
    named = {"customer_id": customer_id, "job_type_id": job_type.id}
    waiting = world.job(**named, priority=job_type_pb2.PRIORITY_HIGH, labels={"team": "blue", "cost center": "7"})
    done = world.succeeded(**named, labels={"team": "red"})

    def chosen(text: str) -> list[str]:
        return listed(world, filter=of(customer_id, text))

    assert chosen("status = PENDING") == [waiting.id]
    assert chosen("status = SUCCEEDED AND billing_status = CHARGE_DUE") == [done.id]
    assert chosen("priority = HIGH") == [waiting.id]
    assert chosen('labels.team = "red"') == [done.id]
    assert chosen('labels."cost center" = "7"') == [waiting.id]
    assert chosen("labels:team") == [done.id, waiting.id]
    assert chosen(f'job_type_id = "{uuid4()}"') == []
    assert chosen("status = PENDING OR status = SUCCEEDED") == [done.id, waiting.id]


def test_filters_choose_by_the_name_of_the_type_the_error_and_what_is_counted(world: JobsStack) -> None:
    customer_id = world.customer()
    cheap, dear = world.job_type(standard_cost_cents=2), world.job_type(standard_cost_cents=9)
    waiting = world.job(customer_id=customer_id, job_type=cheap.name)
    done = world.succeeded(customer_id=customer_id, job_type=dear.name)
    failed, lease_id = world.running(customer_id=customer_id, job_type=dear.name)
    error = job_pb2.JobError(type="Timeout", message="too slow")
    world.complete(pb.JobCompletion(job_id=failed.id, lease_id=lease_id, error=error))

    def chosen(text: str) -> list[str]:
        return listed(world, filter=of(customer_id, text))

    assert chosen(f'job_type = "{cheap.name}"') == [waiting.id]
    assert chosen(f'job_type != "{cheap.name}"') == [failed.id, done.id]
    assert chosen(f'job_type = "{dear.name[:-1]}*" AND NOT job_type = "{cheap.name}"') == [failed.id, done.id]
    assert chosen(f'job_type = "{cheap.name}" OR status = succeeded') == [done.id, waiting.id]
    assert chosen('job_type = "no-such-type"') == []
    assert chosen('job_type != "no-such-type"') == chosen("job_type:*") == [failed.id, done.id, waiting.id]
    assert chosen("error.type = Timeout") == chosen("error.type:*") == [failed.id]
    assert chosen('error.type = "Time*"') == [failed.id]
    assert chosen('error.type = "Other"') == []
    assert chosen("attempt > 0") == [failed.id, done.id]
    assert chosen("estimated_cost_cents < 5") == [waiting.id]
    assert chosen("cost_cents = 9") == [done.id]


def test_a_filter_on_a_type_finds_the_jobs_to_cancel(world: JobsStack) -> None:
    named = world.job_type().name
    job, other = world.job(job_type=named), world.job()
    chosen = pb.JobFilter(filter=f'job_type = "{named}"')

    cancelled = world.jobs.BatchCancelJobs(pb.BatchCancelJobsRequest(filter=chosen))
    assert [result.job.id for result in cancelled.results] == [job.id]
    assert world.jobs.GetJob(pb.GetJobRequest(job_id=other.id)).job.status == job_pb2.JOB_STATUS_PENDING


def test_finished_jobs_are_ordered_by_when_they_finished(world: JobsStack, refused: Refused) -> None:
    customer_id = world.customer()
    made = [world.succeeded(customer_id=customer_id).id for _ in range(5)]
    world.job(customer_id=customer_id)
    asked = pb.ListJobsRequest(
        page_size=2, order_by="completed_at desc", filter=of(customer_id, "completed_at > 2026-01-01")
    )

    assert [job.id for page in walk(world, asked) for job in page.jobs] == made[::-1]
    unbounded = pb.ListJobsRequest(order_by="completed_at", filter=of(customer_id))
    refused(world.jobs.ListJobs, unbounded, "INVALID_ORDER_BY")


def test_jobs_are_ordered_by_priority_when_asked(world: JobsStack) -> None:
    customer_id = world.customer()
    named = {"customer_id": customer_id, "job_type": world.job_type().name}
    medium, low, high = (world.job(**named, priority=priority).id for priority in (2, 3, 1))

    assert listed(world, filter=of(customer_id), order_by="priority") == [high, medium, low]
    assert listed(world, filter=of(customer_id), order_by="priority desc") == [low, medium, high]
    assert listed(world, filter=of(customer_id), order_by="created_at") == [medium, low, high]


def test_a_list_has_no_payloads_unless_they_are_asked_for(world: JobsStack) -> None:
    job = world.succeeded(input_json="[1]")
    text = of(job.customer_id)

    def payloads(view: job_pb2.JobView.ValueType) -> tuple[str, str]:
        [found] = world.jobs.ListJobs(pb.ListJobsRequest(filter=text, view=view)).jobs
        return found.input_json, found.output_json

    assert payloads(job_pb2.JOB_VIEW_UNSPECIFIED) == ("", "")
    assert payloads(job_pb2.JOB_VIEW_BASIC) == ("", "")
    assert payloads(job_pb2.JOB_VIEW_FULL) == ("[1]", "1")


def test_the_runner_of_a_job_is_in_the_full_view(world: JobsStack) -> None:
    job, lease_id = world.job(), str(uuid4())
    assert world.get(job.id).runner_id == ""
    runner_id = world.announce()
    claim = pb.ClaimJobsRequest(job_ids=[job.id], runner_id=runner_id, lease_id=lease_id, queues=["default"])
    [claimed] = world.jobs.ClaimJobs(claim).jobs
    assert world.get(job.id).runner_id == runner_id
    assert world.get(job.id, job_pb2.JOB_VIEW_BASIC).runner_id == claimed.job.runner_id == ""
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
    assert world.get(job.id).runner_id == runner_id


def test_a_page_of_large_jobs_is_shorter_and_none_is_left_out(world: JobsStack) -> None:
    large = '"' + "x" * (MEBIBYTE - 100) + '"'
    customer_id = world.customer()
    named = {"customer_id": customer_id, "job_type": world.job_type().name}
    made = [world.job(input_json=large, **named).id for _ in range(10)]
    asked = pb.ListJobsRequest(filter=of(customer_id), view=job_pb2.JOB_VIEW_FULL, order_by="created_at")

    pages = walk(world, asked)

    assert [job.id for page in pages for job in page.jobs] == made
    assert [len(page.jobs) for page in pages] == [3, 3, 3, 1]


def test_a_page_of_jobs_with_much_to_tell_is_shorter_and_none_is_left_out(world: JobsStack) -> None:
    one = world.request(labels={f"{number}": "\U0001d11e" * 255 for number in range(32)})
    requests = []
    for _ in range(300):
        request = pb.CreateJobRequest()
        request.CopyFrom(one)
        request.job_id = str(uuid4())
        requests.append(request)
    world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=requests))
    asked = pb.ListJobsRequest(filter=of(one.customer_id), page_size=1000, order_by="id")

    pages = walk(world, asked)
    claimed = world.claim(*(request.job_id for request in requests), lease_id=str(uuid4()))

    found = [job.id for page in pages for job in page.jobs]
    assert found == sorted(request.job_id for request in requests)
    assert 0 < len(claimed.jobs) < len(requests)
    assert len(claimed.jobs) + len(claimed.deferred_job_ids) == len(requests)
    assert claimed.ByteSize() <= 4 * MEBIBYTE


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"filter": "status = LOST"}, "INVALID_FILTER"),
        ({"filter": "priority = 0"}, "INVALID_FILTER"),
        ({"filter": "input_json = 1"}, "INVALID_FILTER"),
        ({"filter": "customer_id = nobody"}, "INVALID_FILTER"),
        ({"filter": "labels = 1"}, "INVALID_FILTER"),
        ({"filter": "status = PENDING" + " OR status = PENDING" * 200}, "INVALID_FILTER"),
        ({"order_by": "status"}, "INVALID_ORDER_BY"),
        ({"order_by": "created_at, created_at"}, "INVALID_ORDER_BY"),
        ({"page_token": "nonsense"}, "INVALID_PAGE_TOKEN"),
    ],
)
def test_lists_with_bad_parameters_are_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], reason: str
) -> None:
    refused(world.jobs.ListJobs, pb.ListJobsRequest(**values), reason)
    refused.field(world.jobs.ListJobs, pb.ListJobsRequest(page_size=-1), "page_size")


def test_a_page_token_is_bound_to_filter_order_and_view(world: JobsStack, refused: Refused) -> None:
    customer_id = world.customer()
    for _ in range(2):
        world.job(customer_id=customer_id)
    asked = pb.ListJobsRequest(filter=of(customer_id), page_size=1)
    asked.page_token = world.jobs.ListJobs(asked).next_page_token
    assert asked.page_token
    for changes in (
        {"filter": of(world.customer())},
        {"order_by": "priority"},
        {"view": job_pb2.JOB_VIEW_FULL},
        {"page_token": asked.page_token[:-1] + ("A" if asked.page_token[-1] != "A" else "B")},
    ):
        changed = pb.ListJobsRequest()
        changed.CopyFrom(asked)
        changed.MergeFrom(pb.ListJobsRequest(**changes))
        refused(world.jobs.ListJobs, changed, "INVALID_PAGE_TOKEN")
    asked.page_size = 2
    assert len(world.jobs.ListJobs(asked).jobs) == 1
