"""CreateJob, BatchCreateJobs and GetJob over gRPC: on PostgreSQL, Redis and a real customers service."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.customers.v1.customer_service_pb2 import DeleteCustomerRequest
from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_type_service_pb2 import UpdateJobTypeRequest
from tests.support.rpc.jobs_stack import JobsStack, Lists
from tests.support.rpc.refusals import Refused, Stored, details, fields

MEBIBYTE = 1024 * 1024

# What is not JSON, and what `jsonb` refuses of it.
BAD_JSON = [
    "{",
    "{'a': 1}",
    "nonsense",
    "NaN",
    "[1,]",
    '"a\\u0000b"',
    '{"a\\u0000b": 1}',
    '"\\ud800"',
    "[1e400]",
    "1 2",
]


def at(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def disabled(world: JobsStack) -> str:
    return world.job_type(enabled=False).name


def batch(world: JobsStack, *requests: pb.CreateJobRequest) -> list[pb.BatchCreateJobsResult]:
    return list(world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=requests)).results)


def test_an_accepted_job_waits_at_the_price_and_priority_of_its_type(world: JobsStack) -> None:
    customer_id = world.customer()
    job_type = world.job_type(
        standard_cost_cents=7, currency="USD", max_attempts=3, default_priority=job_type_pb2.PRIORITY_LOW, queue="q1"
    )
    asked = world.request(customer_id=customer_id, job_type=job_type.name, labels={"team": "blue"})

    response = world.jobs.CreateJob(asked)

    job = response.job
    assert not response.replayed
    assert (job.id, job.customer_id, job.job_type_id) == (asked.job_id, customer_id, job_type.id)
    assert (job.status, job.billing_status) == (job_pb2.JOB_STATUS_PENDING, job_pb2.BILLING_STATUS_HELD)
    assert (job.estimated_cost_cents, job.currency, job.max_attempts) == (7, "USD", 3)
    assert (job.priority, job.queue, dict(job.labels)) == (job_type_pb2.PRIORITY_LOW, "q1", {"team": "blue"})
    assert not job.HasField("cost_cents")
    week = timedelta(days=7)
    assert abs(job.expires_at.ToDatetime() - job.created_at.ToDatetime() - week) < timedelta(minutes=1)
    assert (job.attempt, job.HasField("started_at"), job.HasField("completed_at")) == (0, False, False)


def test_the_id_alone_is_pushed_to_the_list_of_its_queue_and_priority(world: JobsStack, lists: Lists) -> None:
    job_type, customer_id = world.job_type(queue="pushed"), world.customer()
    named = {"job_type_id": job_type.id, "customer_id": customer_id}
    high = [world.job(**named, priority=job_type_pb2.PRIORITY_HIGH).id for _ in range(3)]
    medium = [world.job(**named).id]
    low = [world.job(**named, priority=job_type_pb2.PRIORITY_LOW).id]

    assert lists.holding("jobs:pushed:p0:pending", high) == high
    assert lists.holding("jobs:pushed:p1:pending", medium) == medium
    assert lists.holding("jobs:pushed:p2:pending", low) == low


def test_a_free_job_is_not_billable(world: JobsStack) -> None:
    job = world.job(job_type=world.job_type(standard_cost_cents=0).name)

    assert job.billing_status == job_pb2.BILLING_STATUS_NOT_BILLABLE


def test_without_an_id_the_server_makes_one(world: JobsStack) -> None:
    assert UUID(world.job(job_id="").id).version == 7


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("", "null"),
        ('{"b": 1, "a": [true, null, "\\u00e9"]}', '{"a": [true, null, "é"], "b": 1}'),
        ("12345678901234567890.12345678901234567890", "12345678901234567890.12345678901234567890"),
        ('"\\ud83d\\ude00"', '"😀"'),
    ],
)
def test_an_input_comes_back_exact(world: JobsStack, sent: str, stored: str) -> None:
    assert world.get(world.job(input_json=sent).id).input_json == stored


def test_views_are_with_or_without_the_payloads(world: JobsStack) -> None:
    job = world.job(input_json="[1]")

    assert job.input_json == ""
    assert world.get(job.id).input_json == "[1]"
    assert world.get(job.id, job_pb2.JOB_VIEW_UNSPECIFIED).input_json == "[1]"
    basic = world.get(job.id, job_pb2.JOB_VIEW_BASIC)
    assert (basic.id, basic.input_json) == (job.id, "")


def test_the_same_call_again_gets_the_job_before_any_other_check(
    world: JobsStack, stored: Stored, refused: Refused
) -> None:
    customer_id, job_type = world.customer(), world.job_type()
    named = {"customer_id": customer_id, "job_type_id": job_type.id}
    asked = world.request(**named, max_cost_cents=5, labels={"a": "1", "b": "2"})
    first = world.jobs.CreateJob(asked).job
    world.customers.DeleteCustomer(DeleteCustomerRequest(customer_id=customer_id))
    job_type.enabled, job_type.standard_cost_cents, job_type.etag = False, 99, ""
    mask = FieldMask(paths=["enabled", "standard_cost_cents"])
    world.job_types.UpdateJobType(UpdateJobTypeRequest(job_type=job_type, update_mask=mask))

    with stored.unchanged():
        again = world.jobs.CreateJob(asked)

    assert again == pb.CreateJobResponse(job=first, replayed=True)
    refused(world.jobs.CreateJob, world.request(**named), "CUSTOMER_INACTIVE")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"input_json": "2"}, "input_json"),
        ({"priority": job_type_pb2.PRIORITY_HIGH}, "priority"),
        ({"max_cost_cents": 100}, "max_cost_cents"),
        ({"labels": {"other": "label"}}, "labels"),
        ({"expires_at": at(datetime(2100, 1, 1, tzinfo=UTC)), "input_json": "2"}, "input_json,expires_at"),
        ({"customer_id": str(uuid4())}, "customer_id"),
        ({"job_type": "another"}, "job_type"),
        ({"job_type_id": str(uuid4())}, "job_type_id"),
        # The parameters are compared before they are judged.
        ({"input_json": "{"}, "input_json"),
    ],
)
def test_an_id_used_with_other_parameters_is_refused_and_they_are_named(
    world: JobsStack, refused: Refused, values: dict[str, Any], expected: str
) -> None:
    asked = world.request(input_json="1")
    world.jobs.CreateJob(asked)
    changed = pb.CreateJobRequest()
    changed.CopyFrom(asked)
    changed.MergeFrom(pb.CreateJobRequest(**values))

    error = refused(world.jobs.CreateJob, changed, "IDEMPOTENCY_KEY_REUSED")

    assert error.metadata == {"fields": expected}
    in_batch = batch(world, asked, changed)
    assert in_batch[0].response.replayed
    assert details(in_batch[1].error, "IDEMPOTENCY_KEY_REUSED").metadata == {"fields": expected}


def test_an_unknown_customer_is_refused(world: JobsStack, refused: Refused) -> None:
    unknown = str(uuid4())

    error = refused(world.jobs.CreateJob, world.request(customer_id=unknown), "CUSTOMER_NOT_FOUND")

    assert error.metadata == {"customer_id": unknown}


def test_an_inactive_customer_is_refused(world: JobsStack, refused: Refused) -> None:
    customer_id = world.customer()
    world.customers.DeleteCustomer(DeleteCustomerRequest(customer_id=customer_id))

    error = refused(world.jobs.CreateJob, world.request(customer_id=customer_id), "CUSTOMER_INACTIVE")

    assert error.metadata == {"customer_id": customer_id}


def test_an_unknown_job_type_is_refused(world: JobsStack, refused: Refused) -> None:
    unknown = str(uuid4())

    error = refused(world.jobs.CreateJob, world.request(job_type="nobody"), "JOB_TYPE_NOT_FOUND")
    assert error.metadata == {"job_type": "nobody"}
    error = refused(world.jobs.CreateJob, world.request(job_type_id=unknown), "JOB_TYPE_NOT_FOUND")
    assert error.metadata == {"job_type": unknown}


def test_a_disabled_job_type_is_refused(world: JobsStack, refused: Refused) -> None:
    name = disabled(world)

    error = refused(world.jobs.CreateJob, world.request(job_type=name), "JOB_TYPE_DISABLED")

    assert error.metadata == {"job_type": name}


def test_a_price_above_what_the_caller_allows_is_refused(world: JobsStack, refused: Refused) -> None:
    asked = world.request(max_cost_cents=4)

    error = refused(world.jobs.CreateJob, asked, "PRICE_ABOVE_MAXIMUM")

    assert error.metadata == {"price_cents": "5", "max_cost_cents": "4", "currency": "EUR"}
    asked.max_cost_cents = 5
    assert world.jobs.CreateJob(asked).job.id == asked.job_id


@pytest.mark.parametrize("text", BAD_JSON)
def test_an_input_that_is_not_json_or_that_jsonb_refuses_is_refused(
    world: JobsStack, refused: Refused, text: str
) -> None:
    error = refused(world.jobs.CreateJob, world.request(input_json=text), "INVALID_INPUT_JSON")

    assert error.metadata["problem"]


def test_an_input_nested_too_deeply_is_refused(world: JobsStack, refused: Refused) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    refused(world.jobs.CreateJob, world.request(input_json=deep), "INVALID_INPUT_JSON")


def test_an_input_of_a_mebibyte_is_taken_and_one_byte_more_is_refused(world: JobsStack, refused: Refused) -> None:
    largest = '"' + "x" * (MEBIBYTE - 2) + '"'

    assert world.get(world.job(input_json=largest).id).input_json == largest
    error = refused(world.jobs.CreateJob, world.request(input_json=largest[:-1] + 'x"'), "INPUT_TOO_LARGE")
    assert error.metadata == {"bytes": str(MEBIBYTE + 1), "bytes_max": str(MEBIBYTE)}


def test_an_input_that_grows_beyond_a_mebibyte_when_it_is_printed_is_refused(
    world: JobsStack, refused: Refused
) -> None:
    growing = "[" + ",".join(["1e300"] * 5000) + "]"
    refused(world.jobs.CreateJob, world.request(input_json=growing), "INPUT_TOO_LARGE")


def test_an_input_that_does_not_satisfy_the_schema_is_refused(world: JobsStack, refused: Refused) -> None:
    schema = '{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1}}}'
    name = world.job_type(input_schema_json=schema).name

    assert world.job(job_type=name, input_json='{"n": 1}').status == job_pb2.JOB_STATUS_PENDING
    for text in ('{"n": 0}', "{}", "[]", ""):
        error = refused(world.jobs.CreateJob, world.request(job_type=name, input_json=text), "INVALID_INPUT_JSON")
        assert name in error.metadata["problem"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"job_id": "nonsense"}, "job_id"),
        ({"customer_id": "nonsense"}, "customer_id"),
        ({"customer_id": ""}, "customer_id"),
        ({"job_type_id": "nonsense"}, "job_type_id"),
        ({"job_type": ""}, "job_type"),
        ({"job_type": "x" * 101}, "job_type"),
        ({"job_type": "a\0b"}, "job_type"),
        ({"priority": 4}, "priority"),
        ({"priority": -1}, "priority"),
        ({"max_cost_cents": -1}, "max_cost_cents"),
        ({"labels": {"": "x"}}, 'labels[""]'),
        ({"labels": {"k" * 64: "x"}}, f'labels["{"k" * 64}"]'),
        ({"labels": {"key": "x" * 256}}, 'labels["key"]'),
        ({"labels": {"key": "a\0b"}}, 'labels["key"]'),
        ({"labels": {str(number): "" for number in range(33)}}, "labels"),
        ({"run_at": at(datetime.now(UTC) + timedelta(days=91))}, "run_at"),
        ({"expires_at": at(datetime.now(UTC) - timedelta(seconds=1))}, "expires_at"),
        ({"expires_at": Timestamp(seconds=2**62)}, "expires_at"),
        ({"run_at": Timestamp(seconds=-(2**62))}, "run_at"),
    ],
)
def test_a_submission_with_a_bad_field_is_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], field: str
) -> None:
    refused.field(world.jobs.CreateJob, world.request(**values), field)


def test_a_submission_without_a_job_type_is_refused(world: JobsStack, refused: Refused) -> None:
    asked = world.request()
    asked.ClearField("job_type")
    refused.field(world.jobs.CreateJob, asked, "type")


def test_a_refusal_arrives_however_much_there_is_to_say(world: JobsStack, refused: Refused) -> None:
    wide = "\U0001d11e"
    labels = {f"{number}{wide * 2000}": wide * 2000 for number in range(33)}
    refused(world.jobs.CreateJob, world.request(labels=labels), "INVALID_FIELD")
    name = world.job_type(input_schema_json='{"type": "integer"}').name
    asked = world.request(job_type=name, input_json=f'"{wide * 20_000}"')
    refused(world.jobs.CreateJob, asked, "INVALID_INPUT_JSON")


def test_a_job_that_is_not_there_is_not_found(world: JobsStack, refused: Refused) -> None:
    unknown = str(uuid4())

    for view in (job_pb2.JOB_VIEW_FULL, job_pb2.JOB_VIEW_BASIC):
        error = refused(world.jobs.GetJob, pb.GetJobRequest(job_id=unknown, view=view), "JOB_NOT_FOUND")
        assert error.metadata == {"job_id": unknown}
    refused.field(world.jobs.GetJob, pb.GetJobRequest(job_id="nonsense"), "job_id")
    refused.field(world.jobs.GetJob, pb.GetJobRequest(job_id=unknown, view=4), "view")  # type: ignore[arg-type] # unknown


def test_the_bad_items_of_a_batch_do_not_harm_their_neighbours(world: JobsStack, stored: Stored) -> None:
    inactive = world.customer()
    world.customers.DeleteCustomer(DeleteCustomerRequest(customer_id=inactive))
    corrupt = world.job_type()
    stored.execute("UPDATE job_types SET processor_type = 'QUANTUM' WHERE id = %s", corrupt.id)
    known = world.request()
    world.jobs.CreateJob(known)
    bad = [
        (world.request(customer_id=str(uuid4())), "CUSTOMER_NOT_FOUND"),
        (world.request(customer_id=inactive), "CUSTOMER_INACTIVE"),
        (world.request(job_type="nobody"), "JOB_TYPE_NOT_FOUND"),
        (world.request(job_type=disabled(world)), "JOB_TYPE_DISABLED"),
        (world.request(job_type_id=corrupt.id), "DATA_CORRUPT"),
        (world.request(max_cost_cents=1), "PRICE_ABOVE_MAXIMUM"),
        (world.request(input_json='"' + "x" * MEBIBYTE + '"'), "INPUT_TOO_LARGE"),
        (world.request(job_id="nonsense"), "INVALID_FIELD"),
        *((world.request(input_json=text), "INVALID_INPUT_JSON") for text in BAD_JSON),
    ]
    good = [world.request() for _ in bad]
    asked = [request for pair in zip(good, [request for request, _ in bad], strict=True) for request in pair]

    results = batch(world, known, *asked)

    stored.execute("UPDATE job_types SET processor_type = 'ASYNC' WHERE id = %s", corrupt.id)
    assert results[0].response.replayed
    assert [one.response.job.id for one in results[1::2]] == [request.job_id for request in good]
    for place, (result, (request, reason)) in enumerate(zip(results[2::2], bad, strict=True)):
        error = details(result.error, reason)
        if reason == "INVALID_FIELD":
            assert fields(error) == [f"requests[{2 + 2 * place}].job_id"]
        else:
            assert not stored.execute("SELECT 1 FROM jobs WHERE id = %s", request.job_id)
    assert all(world.get(request.job_id).status == job_pb2.JOB_STATUS_PENDING for request in good)


def test_one_id_twice_in_a_batch_makes_one_job(world: JobsStack, stored: Stored) -> None:
    asked = world.request()
    other = pb.CreateJobRequest()
    other.CopyFrom(asked)
    other.input_json = "2"

    first, second, third = batch(world, asked, asked, other)

    assert (first.response.replayed, second.response.replayed) == (False, True)
    assert first.response.job == second.response.job
    assert details(third.error, "IDEMPOTENCY_KEY_REUSED").metadata == {"fields": "input_json"}
    assert len(stored.execute("SELECT 1 FROM jobs WHERE id = %s", asked.job_id)) == 1


def test_a_batch_may_have_a_thousand_items_and_no_more(world: JobsStack, refused: Refused) -> None:
    one = world.request()
    requests = []
    for _ in range(1001):
        request = pb.CreateJobRequest()
        request.CopyFrom(one)
        request.job_id = str(uuid4())
        requests.append(request)

    error = refused(world.jobs.BatchCreateJobs, pb.BatchCreateJobsRequest(requests=requests), "BATCH_TOO_LARGE")
    assert error.metadata == {"items": "1001", "items_max": "1000"}
    refused.field(world.jobs.BatchCreateJobs, pb.BatchCreateJobsRequest(), "requests")

    results = batch(world, *requests[:1000])
    assert [result.response.job.id for result in results] == [request.job_id for request in requests[:1000]]


def test_a_processor_type_in_a_row_that_nobody_knows_is_a_clear_error(
    world: JobsStack, refused: Refused, stored: Stored
) -> None:
    job_type = world.job_type()
    asked = world.request(job_type=job_type.name)
    stored.execute("UPDATE job_types SET processor_type = 'QUANTUM' WHERE id = %s", job_type.id)

    error = refused(world.jobs.CreateJob, asked, "DATA_CORRUPT")

    assert error.metadata["value"] == "QUANTUM"
    stored.execute("UPDATE job_types SET processor_type = 'ASYNC' WHERE id = %s", job_type.id)
    assert world.jobs.CreateJob(asked).job.id == asked.job_id
