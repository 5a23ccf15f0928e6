"""JobTypeService over gRPC on PostgreSQL."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from innosystem.jobs.v1 import job_type_pb2
from innosystem.jobs.v1 import job_type_service_pb2 as pb
from innosystem.jobs.v1.job_service_pb2 import ClaimedJob, ClaimJobsRequest
from innosystem.jobs.v1.job_type_pb2 import (
    PROCESSOR_TYPE_EXTERNAL_API as EXTERNAL_API,
)
from innosystem.jobs.v1.job_type_pb2 import ExternalApi, JobType, ResponseRule, RetryPolicy
from tests.support.rpc.jobs_stack import JobsStack, new_job_type
from tests.support.rpc.refusals import Refused, Stored, reason_of

CALLERS = 20
SUCCESS = job_type_pb2.RESPONSE_MEANING_SUCCESS
ENDPOINT = "https://api.example.com/v1"


def create(**values: Any) -> pb.CreateJobTypeRequest:
    return pb.CreateJobTypeRequest(job_type=new_job_type(**values))


def update(job_type: JobType, *paths: str, **values: Any) -> pb.UpdateJobTypeRequest:
    return pb.UpdateJobTypeRequest(job_type=JobType(id=job_type.id, **values), update_mask=FieldMask(paths=paths))


def get(world: JobsStack, job_type_id: str) -> JobType:
    return world.job_types.GetJobType(pb.GetJobTypeRequest(id=job_type_id)).job_type


def claim(world: JobsStack, job_type: JobType) -> ClaimedJob:
    """Submit a job of the type, and take it as a runner."""
    [claimed] = world.claim(world.job(job_type=job_type.name).id, lease_id=str(uuid4())).jobs
    return claimed


def test_what_is_not_set_has_the_defaults_of_the_contract(world: JobsStack) -> None:
    made = world.job_type(standard_cost_cents=0, max_attempts=0)

    assert made.enabled
    assert (made.currency, made.queue, made.max_attempts, made.paused) == ("EUR", "default", 10, False)
    assert made.default_priority == job_type_pb2.PRIORITY_MEDIUM
    assert (made.timeout.seconds, made.expires_after.seconds) == (300, 7 * 86400)
    assert made.retry_policy == RetryPolicy(
        initial_backoff=Duration(seconds=1), max_backoff=Duration(seconds=3600), multiplier=2
    )
    assert made.input_schema_json == ""


def test_a_new_price_is_in_a_currency_of_iso_4217_that_has_a_minor_unit(world: JobsStack, refused: Refused) -> None:
    for currency in ("XQZ", "XAU"):
        refused.field(world.job_types.CreateJobType, create(currency=currency), "job_type.currency")


def test_what_is_set_is_kept(world: JobsStack) -> None:
    asked = new_job_type(
        description="text",
        standard_cost_cents=2**63 - 1,
        currency="USD",
        enabled=False,
        queue="gpu",
        default_priority=job_type_pb2.PRIORITY_HIGH,
        max_attempts=7,
        timeout=Duration(seconds=60),
        expires_after=Duration(seconds=120),
        retry_policy=RetryPolicy(
            initial_backoff=Duration(nanos=5_000_000), max_backoff=Duration(seconds=9), multiplier=1.5
        ),
        input_schema_json='{"type": "object"}',
    )

    made = world.job_types.CreateJobType(pb.CreateJobTypeRequest(job_type=asked)).job_type

    assert made.enabled is False
    kept = JobType()
    kept.CopyFrom(made)
    for name in ("created_at", "updated_at", "etag"):
        kept.ClearField(name)
    assert kept == asked
    assert get(world, asked.id) == made
    assert world.job_types.GetJobType(pb.GetJobTypeRequest(name=asked.name)).job_type == made


def test_without_an_id_the_server_makes_one(world: JobsStack) -> None:
    assert UUID(world.job_type(id="", name=f"no-id-{uuid4()}").id).version == 7


def test_a_repeated_create_is_answered_and_writes_nothing(world: JobsStack, stored: Stored) -> None:
    asked = create()
    first = world.job_types.CreateJobType(asked).job_type
    with stored.unchanged():
        again = world.job_types.CreateJobType(asked)

    assert again == pb.CreateJobTypeResponse(job_type=first, replayed=True)


def test_a_create_of_the_release_in_which_unset_attempts_meant_one_is_repeated_unchanged(world: JobsStack) -> None:
    asked = create(max_attempts=1)
    first = world.job_types.CreateJobType(asked).job_type
    asked.job_type.max_attempts = 0

    again = world.job_types.CreateJobType(asked)

    assert again == pb.CreateJobTypeResponse(job_type=first, replayed=True)
    assert again.job_type.max_attempts == 1


def test_a_create_without_attempts_is_repeated_without_them(world: JobsStack) -> None:
    asked = create(max_attempts=0)
    first = world.job_types.CreateJobType(asked)

    again = world.job_types.CreateJobType(asked)

    assert (first.job_type.max_attempts, first.replayed) == (10, False)
    assert again == pb.CreateJobTypeResponse(job_type=first.job_type, replayed=True)


def test_a_job_type_need_not_say_how_its_handler_is_written(world: JobsStack, refused: Refused) -> None:
    unspecified = job_type_pb2.PROCESSOR_TYPE_UNSPECIFIED
    asked = create(processor_type=unspecified)
    made = world.job_types.CreateJobType(asked).job_type
    claimed = claim(world, made)

    assert made.processor_type == unspecified
    assert world.job_types.CreateJobType(asked) == pb.CreateJobTypeResponse(job_type=made, replayed=True)
    # Runners of release 0.1.0 take no job without a processor type.
    assert (claimed.processor_type, claimed.processor_type_named) == (job_type_pb2.PROCESSOR_TYPE_SYNC, False)
    asked.job_type.processor_type = job_type_pb2.PROCESSOR_TYPE_SYNC
    error = refused(world.job_types.CreateJobType, asked, "IDEMPOTENCY_KEY_REUSED")
    assert error.metadata == {"fields": "job_type.processor_type"}


def test_a_job_type_that_says_how_its_handler_is_written_can_take_it_back(world: JobsStack) -> None:
    job_type = world.job_type(processor_type=job_type_pb2.PROCESSOR_TYPE_ASYNC)
    before = claim(world, job_type)

    changed = world.job_types.UpdateJobType(update(job_type, "processor_type")).job_type
    after = claim(world, job_type)

    assert (before.processor_type, before.processor_type_named) == (job_type_pb2.PROCESSOR_TYPE_ASYNC, True)
    assert changed.processor_type == get(world, job_type.id).processor_type == job_type_pb2.PROCESSOR_TYPE_UNSPECIFIED
    assert not after.processor_type_named


def test_an_id_used_with_other_parameters_is_refused_and_they_are_named(world: JobsStack, refused: Refused) -> None:
    asked = create()
    world.job_types.CreateJobType(asked)
    asked.job_type.standard_cost_cents = 6
    asked.job_type.queue = "other"

    error = refused(world.job_types.CreateJobType, asked, "IDEMPOTENCY_KEY_REUSED")

    assert error.metadata == {"fields": "job_type.standard_cost_cents,job_type.queue"}


def test_a_name_is_taken_once(world: JobsStack, refused: Refused) -> None:
    first, second = world.job_type(), world.job_type()

    error = refused(world.job_types.CreateJobType, create(name=first.name), "JOB_TYPE_NAME_TAKEN")
    assert error.metadata == {"name": first.name}
    refused(world.job_types.UpdateJobType, update(second, "name", name=first.name), "JOB_TYPE_NAME_TAKEN")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"id": "nonsense"}, "id"),
        ({"name": ""}, "name"),
        ({"name": "with space"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"description": "a\0b"}, "description"),
        ({"processing_logic_id": ""}, "processing_logic_id"),
        ({"processing_logic_id": "x" * 201}, "processing_logic_id"),
        ({"processor_type": 99}, "processor_type"),
        ({"processor_type": job_type_pb2.PROCESSOR_TYPE_EXTERNAL_API}, "external_api"),
        ({"external_api": ExternalApi(url=ENDPOINT)}, "external_api"),
        ({"processing_logic_id": "innosystem.http"}, "processing_logic_id"),
        ({"processor_type": job_type_pb2.PROCESSOR_TYPE_WEBHOOK}, "webhook"),
        ({"standard_cost_cents": -1}, "standard_cost_cents"),
        ({"standard_cost_cents": -(2**63)}, "standard_cost_cents"),
        ({"currency": "euro"}, "currency"),
        ({"queue": "Not A Queue"}, "queue"),
        ({"default_priority": 4}, "default_priority"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"max_attempts": -1}, "max_attempts"),
        ({"timeout": Duration(nanos=999_999_999)}, "timeout"),
        ({"timeout": Duration(seconds=86401)}, "timeout"),
        ({"expires_after": Duration(seconds=90 * 86400 + 1)}, "expires_after"),
        ({"retry_policy": RetryPolicy(multiplier=0.5)}, "retry_policy.multiplier"),
        ({"retry_policy": RetryPolicy(multiplier=float("nan"))}, "retry_policy.multiplier"),
        ({"retry_policy": RetryPolicy(multiplier=float("inf"))}, "retry_policy.multiplier"),
        (
            {"retry_policy": RetryPolicy(initial_backoff=Duration(seconds=2), max_backoff=Duration(seconds=1))},
            "retry_policy.max_backoff",
        ),
        ({"input_schema_json": "{"}, "input_schema_json"),
        ({"input_schema_json": '{"type": 5}'}, "input_schema_json"),
        ({"input_schema_json": '{"const": "\\u0000"}'}, "input_schema_json"),
        ({"input_schema_json": '{"const": "\\ud800"}'}, "input_schema_json"),
        ({"input_schema_json": '{"$ref": "https://example.com/schema.json"}'}, "input_schema_json"),
        ({"input_schema_json": f'"{"x" * 65536}"'}, "input_schema_json"),
    ],
)
def test_a_create_with_a_bad_field_is_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], field: str
) -> None:
    refused.field(world.job_types.CreateJobType, create(**values), f"job_type.{field}")


def test_a_job_type_with_an_endpoint_is_kept_and_claimed_with_it(world: JobsStack) -> None:
    asked = ExternalApi(
        url=f"{ENDPOINT}/{{$.id}}?n={{$.n}}",
        method="PUT",
        headers={"Authorization": "Bearer {secret:KEY}"},
        body_json='{"of": "{job.id}", "n": 1.50}',
        rules=[
            ResponseRule(status_from=409, meaning=SUCCESS),
            ResponseRule(path="$.ok", equals_json="false", meaning=job_type_pb2.RESPONSE_MEANING_RETRY),
        ],
        output_path="$.result['a b'][0]",
    )
    made = world.job_type(processor_type=EXTERNAL_API, processing_logic_id="", external_api=asked)

    assert (made.external_api, made.processing_logic_id) == (asked, "innosystem.http")
    assert get(world, made.id) == made
    claimed = claim(world, made)
    assert (claimed.external_api, claimed.processing_logic_id) == (asked, "innosystem.http")
    assert not claim(world, world.job_type()).HasField("external_api")


def test_a_repeated_create_of_an_endpoint_is_the_same_and_another_endpoint_is_not(
    world: JobsStack, refused: Refused
) -> None:
    asked = create(processor_type=EXTERNAL_API, processing_logic_id="", external_api=ExternalApi(url=ENDPOINT))
    world.job_types.CreateJobType(asked)

    assert world.job_types.CreateJobType(asked).replayed
    asked.job_type.external_api.url = f"{ENDPOINT}/other"
    refused(world.job_types.CreateJobType, asked, "IDEMPOTENCY_KEY_REUSED")


def test_a_change_of_an_endpoint_applies_to_jobs_that_wait(world: JobsStack) -> None:
    made = world.job_type(
        processor_type=EXTERNAL_API, processing_logic_id="", external_api=ExternalApi(url=f"{ENDPOINT}/wrong")
    )
    job = world.job(job_type=made.name)

    world.job_types.UpdateJobType(update(made, "external_api", external_api=ExternalApi(url=f"{ENDPOINT}/right")))

    [claimed] = world.claim(job.id, lease_id=str(uuid4())).jobs
    assert claimed.external_api.url == f"{ENDPOINT}/right"


def test_a_runner_that_calls_no_endpoints_is_given_no_job_with_one(world: JobsStack) -> None:
    made = world.job_type(processor_type=EXTERNAL_API, processing_logic_id="", external_api=ExternalApi(url=ENDPOINT))
    job = world.job(job_type=made.name)

    request = ClaimJobsRequest(job_ids=[job.id], runner_id=str(uuid4()), lease_id=str(uuid4()), handlers=["my.handler"])
    assert not world.jobs.ClaimJobs(request).jobs
    request.handlers.append("innosystem.http")
    assert world.jobs.ClaimJobs(request).jobs


def test_a_job_type_gets_an_endpoint_in_place_of_a_handler_and_back(world: JobsStack, refused: Refused) -> None:
    made = world.job_type()
    paths = ("processor_type", "processing_logic_id", "external_api")
    external = {"processor_type": EXTERNAL_API, "external_api": ExternalApi(url=ENDPOINT)}

    refused.field(world.job_types.UpdateJobType, update(made, *external, **external), "job_type.processing_logic_id")
    changed = update(made, *paths, processing_logic_id="innosystem.http", **external)
    assert world.job_types.UpdateJobType(changed).job_type.external_api.url == ENDPOINT
    refused.field(world.job_types.UpdateJobType, update(made, "external_api"), "job_type.external_api")
    back = update(made, *paths, processing_logic_id="my.handler")
    assert not world.job_types.UpdateJobType(back).job_type.HasField("external_api")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://api.example.com/"}, "url"),
        ({"url": "https://{$.host}/"}, "url"),
        ({"url": "https://api.example.com/{secret:KEY}"}, "url"),
        ({"url": "https://api.example.com/" + "x" * 2048}, "url"),
        ({"method": "TRACE"}, "method"),
        ({"headers": {"A": "1\r\nB: 2"}}, "headers"),
        ({"headers": {"Host": "b.example"}}, "headers"),
        ({"headers": {"Authorization": "Bearer sk-12345678"}}, "headers"),
        ({"headers": {str(number): "1" for number in range(51)}}, "headers"),
        ({"body_json": "{"}, "body_json"),
        ({"body_json": '"{$.a.*}"'}, "body_json"),
        ({"body_json": '"{secret:KEY}"'}, "body_json"),
        ({"body_json": "{}", "method": "GET"}, "body_json"),
        ({"output_path": "$..a"}, "output_path"),
        ({"rules": [ResponseRule(status_from=600, meaning=SUCCESS)]}, "rules[0].status_from"),
        ({"rules": [ResponseRule(status_from=200)]}, "rules[0].meaning"),
        ({"rules": [ResponseRule(meaning=SUCCESS), ResponseRule(path="a", meaning=SUCCESS)]}, "rules[1]"),
        ({"rules": [ResponseRule(equals_json="1", meaning=SUCCESS)]}, "rules[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_endpoint_with_a_bad_field_is_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], field: str
) -> None:
    external_api = ExternalApi(**({"url": ENDPOINT} | values))
    request = create(processor_type=EXTERNAL_API, processing_logic_id="", external_api=external_api)

    refused.field(world.job_types.CreateJobType, request, f"job_type.external_api.{field}")


def test_a_create_without_a_job_type_is_refused(world: JobsStack, refused: Refused) -> None:
    refused.field(world.job_types.CreateJobType, pb.CreateJobTypeRequest(), "job_type")


def test_a_job_type_that_is_not_there_is_not_found(world: JobsStack, refused: Refused) -> None:
    unknown = str(uuid4())
    stub = world.job_types

    error = refused(stub.GetJobType, pb.GetJobTypeRequest(id=unknown), "JOB_TYPE_NOT_FOUND")
    assert error.metadata == {"job_type": unknown}
    error = refused(stub.GetJobType, pb.GetJobTypeRequest(name="nobody"), "JOB_TYPE_NOT_FOUND")
    assert error.metadata == {"job_type": "nobody"}
    refused(stub.DeleteJobType, pb.DeleteJobTypeRequest(job_type_id=unknown), "JOB_TYPE_NOT_FOUND")
    refused(stub.UpdateJobType, update(JobType(id=unknown), "name", name="x"), "JOB_TYPE_NOT_FOUND")


def test_a_job_type_has_to_be_named_by_a_valid_id_or_name(world: JobsStack, refused: Refused) -> None:
    stub = world.job_types

    refused.field(stub.GetJobType, pb.GetJobTypeRequest(), "job_type")
    refused.field(stub.GetJobType, pb.GetJobTypeRequest(id="nonsense"), "id")
    refused.field(stub.GetJobType, pb.GetJobTypeRequest(name=""), "name")
    refused.field(stub.GetJobType, pb.GetJobTypeRequest(name="a\0b"), "name")
    refused.field(stub.DeleteJobType, pb.DeleteJobTypeRequest(job_type_id="nonsense"), "job_type_id")


def test_an_update_changes_what_the_mask_names_and_nothing_else(world: JobsStack) -> None:
    job_type = world.job_type(description="before", enabled=True)
    asked = update(job_type, "enabled", "standard_cost_cents", enabled=False, standard_cost_cents=9, description="x")

    changed = world.job_types.UpdateJobType(asked).job_type

    assert (changed.enabled, changed.standard_cost_cents, changed.description) == (False, 9, "before")
    assert changed.etag != job_type.etag
    assert get(world, job_type.id) == changed


def test_a_field_in_the_mask_that_is_not_set_gets_its_default(world: JobsStack) -> None:
    job_type = world.job_type(queue="gpu", max_attempts=5, timeout=Duration(seconds=9))

    changed = world.job_types.UpdateJobType(update(job_type, "queue", "max_attempts", "timeout")).job_type

    assert (changed.queue, changed.max_attempts, changed.timeout.seconds) == ("default", 10, 300)


def test_changes_under_an_old_etag_are_refused(world: JobsStack, refused: Refused) -> None:
    job_type = world.job_type()
    stub = world.job_types
    stub.UpdateJobType(update(job_type, "description", description="second", etag=job_type.etag))

    late = update(job_type, "description", description="third", etag=job_type.etag)
    refused(stub.UpdateJobType, late, "ETAG_MISMATCH")
    deletion = pb.DeleteJobTypeRequest(job_type_id=job_type.id, etag=job_type.etag)
    refused(stub.DeleteJobType, deletion, "ETAG_MISMATCH")


@pytest.mark.parametrize("etag", [False, True], ids=["without etags", "with etags"])
def test_of_twenty_that_update_a_job_type_at_once_those_without_an_etag_all_succeed(
    world: JobsStack, etag: bool
) -> None:
    job_type = world.job_type()

    def change(number: int) -> str:
        values = {"etag": job_type.etag} if etag else {}
        asked = update(job_type, "description", description=f"text {number}", **values)
        return reason_of(lambda: world.job_types.UpdateJobType(asked))

    with ThreadPoolExecutor(CALLERS) as pool:
        refusals = Counter(pool.map(change, range(CALLERS)))
    assert refusals == ({"": 1, "ETAG_MISMATCH": CALLERS - 1} if etag else {"": CALLERS})


def test_updates_with_bad_fields_are_refused(world: JobsStack, refused: Refused) -> None:
    job_type, stub = world.job_type(), world.job_types

    refused.field(stub.UpdateJobType, update(job_type), "update_mask")
    refused.field(stub.UpdateJobType, update(job_type, "currency", currency="USD"), "update_mask")
    refused.field(stub.UpdateJobType, update(job_type, "name"), "job_type.name")
    unknown = update(job_type, "processor_type", processor_type=99)
    refused.field(stub.UpdateJobType, unknown, "job_type.processor_type")
    webhook = update(job_type, "processor_type", processor_type=job_type_pb2.PROCESSOR_TYPE_WEBHOOK)
    refused.field(stub.UpdateJobType, webhook, "job_type.webhook")
    negative = update(job_type, "standard_cost_cents", standard_cost_cents=-1)
    refused.field(stub.UpdateJobType, negative, "job_type.standard_cost_cents")
    refused.field(stub.UpdateJobType, update(JobType(id="?"), "name", name="x"), "job_type.id")
    refused.field(stub.UpdateJobType, update(JobType(), "name", name="x"), "job_type.id")


def test_a_job_type_that_no_job_uses_can_be_deleted_and_any_other_not(world: JobsStack, refused: Refused) -> None:
    unused, used = world.job_type(), world.job_type()
    world.job(job_type_id=used.id)
    stub = world.job_types

    stub.DeleteJobType(pb.DeleteJobTypeRequest(job_type_id=unused.id, etag=unused.etag))

    refused(stub.GetJobType, pb.GetJobTypeRequest(id=unused.id), "JOB_TYPE_NOT_FOUND")
    error = refused(stub.DeleteJobType, pb.DeleteJobTypeRequest(job_type_id=used.id), "JOB_TYPE_IN_USE")
    assert error.metadata == {"job_type_id": used.id}


def test_a_new_price_touches_only_later_jobs(world: JobsStack) -> None:
    job_type = world.job_type(standard_cost_cents=5)
    earlier = world.job(job_type_id=job_type.id)
    world.job_types.UpdateJobType(update(job_type, "standard_cost_cents", standard_cost_cents=8))
    later = world.job(job_type_id=job_type.id)

    assert world.get(earlier.id).estimated_cost_cents == 5
    assert later.estimated_cost_cents == 8


def test_a_processor_type_in_a_row_that_nobody_knows_is_a_clear_error(
    world: JobsStack, refused: Refused, stored: Stored
) -> None:
    job_type, other = world.job_type(), world.job_type()
    stored.execute("UPDATE job_types SET processor_type = 'QUANTUM' WHERE id = %s", job_type.id)
    try:
        for asked in (pb.GetJobTypeRequest(id=job_type.id), pb.GetJobTypeRequest(name=job_type.name)):
            error = refused(world.job_types.GetJobType, asked, "DATA_CORRUPT")
            assert error.metadata == {
                "entity": "job_types",
                "entity_id": job_type.id,
                "field": "processor_type",
                "value": "QUANTUM",
            }
        listed = world.job_types.ListJobTypes(pb.ListJobTypesRequest(page_size=1000)).job_types
        assert other.id in {one.id for one in listed}
        assert job_type.id not in {one.id for one in listed}
        refused(world.job_types.UpdateJobType, update(job_type, "name", name="x"), "DATA_CORRUPT")
    finally:
        stored.execute("UPDATE job_types SET processor_type = 'ASYNC' WHERE id = %s", job_type.id)


def test_job_types_are_listed_by_name_page_by_page_and_filtered(world: JobsStack) -> None:
    queue = "listed"
    names = [f"listed-{number}" for number in range(5)]
    for number in (3, 0, 4, 1, 2):
        world.job_type(name=names[number], queue=queue, standard_cost_cents=number)
    asked = pb.ListJobTypesRequest(page_size=2, filter=f"queue = {queue}")
    pages = []
    for _ in range(3):
        page = world.job_types.ListJobTypes(asked)
        pages.append([one.name for one in page.job_types])
        asked.page_token = page.next_page_token

    assert pages == [names[:2], names[2:4], names[4:]]
    assert not asked.page_token
    chosen = pb.ListJobTypesRequest(
        filter=f"queue = {queue} AND standard_cost_cents >= 2 AND processor_type = ASYNC AND enabled = true",
        order_by="standard_cost_cents desc",
    )
    assert [one.name for one in world.job_types.ListJobTypes(chosen).job_types] == names[:1:-1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"filter": "processor_type = QUANTUM"}, "INVALID_FILTER"),
        ({"filter": "input_schema_json = 1"}, "INVALID_FILTER"),
        ({"order_by": "queue"}, "INVALID_ORDER_BY"),
        ({"page_token": "nonsense"}, "INVALID_PAGE_TOKEN"),
    ],
)
def test_lists_with_bad_parameters_are_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], reason: str
) -> None:
    refused(world.job_types.ListJobTypes, pb.ListJobTypesRequest(**values), reason)
    refused.field(world.job_types.ListJobTypes, pb.ListJobTypesRequest(page_size=-1), "page_size")
