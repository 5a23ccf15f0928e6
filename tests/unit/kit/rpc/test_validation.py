"""The rules of the contract, in the words that callers get."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.jobs.v1 import job_service_pb2 as jobs
from services.kit.errors import BatchTooLarge, InvalidField
from services.kit.rpc.batches import checked, merge_results, parse_items
from services.kit.rpc.validation import ContractValidator

ID = "0190a2b2-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def validator() -> ContractValidator:
    return ContractValidator()


def wrong(validator: ContractValidator, message: Message, prefix: str = "") -> dict[str, str]:
    with pytest.raises(InvalidField) as caught:
        validator.check(message, prefix)
    return {one.field: one.description for one in caught.value.violations}


def test_a_request_that_follows_the_rules_passes(validator: ContractValidator) -> None:
    validator.check(customers.CreateCustomerRequest(customer_id=ID, name="Ada", email="ada@example.com"))
    validator.check(customers.CreateCustomerRequest(name="No ID yet", email="ada@example.com"))


def test_every_field_that_is_wrong_is_named_with_what_would_be_right(validator: ContractValidator) -> None:
    request = customers.CreateCustomerRequest(customer_id="x", name="a\0b", email="nobody")

    assert wrong(validator, request) == {
        "customer_id": "must be a valid UUID",
        "name": "must not contain NUL characters",
        "email": "must be a valid email address",
    }


def test_empty_fields_are_distinguished_from_wrong_ones(validator: ContractValidator) -> None:
    assert wrong(validator, customers.UpdateCustomerRequest()) == {
        "customer": "must be set",
        "update_mask": "must be set",
    }
    assert wrong(validator, customers.GetCustomerRequest()) == {"customer_id": "must be a valid UUID; it is empty"}


def test_fields_of_messages_and_maps_have_paths(validator: ContractValidator) -> None:
    update = customers.UpdateCustomerRequest(
        customer=Customer(id=ID, email="nobody"), update_mask=FieldMask(paths=["email"])
    )
    submit = jobs.CreateJobRequest(customer_id=ID, job_type="t", labels={"colour": "x" * 256})

    assert wrong(validator, update) == {"customer.email": "must be a valid email address"}
    assert wrong(validator, submit) == {'labels["colour"]': "must be at most 255 characters"}


def test_ranges_and_enums_say_what_is_allowed(validator: ContractValidator) -> None:
    submit: dict[str, Any] = {"customer_id": ID, "job_type": "t"}
    unknown: Any = 77
    overlap = customers.RotateApiKeyRequest(customer_id=ID, overlap=Duration(seconds=-1))

    assert wrong(validator, jobs.CreateJobRequest(**submit, priority=unknown)) == {
        "priority": "must be one of the values that the contract names"
    }
    assert wrong(validator, jobs.CreateJobRequest(**submit, max_cost_cents=-1)) == {
        "max_cost_cents": "must be greater than or equal to 0"
    }
    assert "2592000s" in wrong(validator, overlap)["overlap"]


def test_a_prefix_stands_before_every_path(validator: ContractValidator) -> None:
    problems = wrong(validator, jobs.CreateJobRequest(customer_id="x"), prefix="requests[3].")

    assert set(problems) == {"requests[3].type", "requests[3].customer_id"}


def test_a_batch_is_refused_for_its_size_and_not_for_its_items(validator: ContractValidator) -> None:
    bad_item = jobs.CreateJobRequest()
    validator.check(jobs.BatchCreateJobsRequest(requests=[bad_item] * 1000))

    with pytest.raises(BatchTooLarge) as caught:
        validator.check(jobs.BatchCreateJobsRequest(requests=[bad_item] * 1001))

    assert (caught.value.items, caught.value.items_max) == (1001, 1000)
    assert [one.field for one in caught.value.at_fault()] == ["requests"]


async def test_a_bad_item_of_a_batch_leaves_its_neighbours_unharmed(validator: ContractValidator) -> None:
    good = jobs.CreateJobRequest(customer_id=ID, job_type="t", input_json="1")
    bad = jobs.CreateJobRequest(customer_id="x", job_type="t")

    async def work(items: list[str]) -> list[str]:
        return [f"did {item}" for item in items]

    def input_of(message: jobs.CreateJobRequest) -> str:
        return message.input_json

    parse = checked(validator, input_of)
    parsed = await parse_items([good, bad, good], "requests", parse)
    first, refused, last = await merge_results(parsed, "requests", work)

    assert (first, last) == ("did 1", "did 1")
    assert isinstance(refused, InvalidField)
    assert [one.field for one in refused.violations] == ["requests[1].customer_id"]


def test_the_reader_returns_the_message_of_the_stubs(validator: ContractValidator) -> None:
    request = customers.GetCustomerRequest(customer_id=ID)
    read = validator.reader("innosystem.customers.v1.GetCustomerRequest", customers.GetCustomerRequest.FromString)

    message = read(request.SerializeToString())

    assert type(message) is customers.GetCustomerRequest
    assert message == request


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"], ids=["tag", "cut", "not UTF-8"])
def test_bytes_that_are_no_such_message_are_the_callers_fault(validator: ContractValidator, raw: bytes) -> None:
    read = validator.reader("innosystem.customers.v1.GetCustomerRequest", customers.GetCustomerRequest.FromString)

    with pytest.raises(InvalidField, match=r"must be the bytes of a innosystem\.customers\.v1\.GetCustomerRequest"):
        read(raw)
