import time
import uuid
from importlib import import_module
from typing import Any

import pytest
from google.protobuf import symbol_database
from google.protobuf.message import Message

from innosystem.client import new_id
from innosystem.client.contract import id_paths, services
from innosystem.client.id_assignment import assign_ids
from innosystem.jobs.v1 import job_service_pb2, job_type_service_pb2


def message(name: str) -> Any:
    for service in services():
        import_module(service.file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    return symbol_database.Default().GetSymbol(name)()


def test_an_id_has_the_version_and_variant_of_uuid7() -> None:
    made = new_id()
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_an_id_starts_with_the_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = new_id().int >> 80
    # IDs generated in a row may run ahead of the clock, by far less than a second.
    assert before <= milliseconds <= time.time_ns() // 1_000_000 + 1000


def test_ids_are_different_and_ascend() -> None:
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert made == sorted(made)


def test_ids_ascend_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert new_id() > before


def holder_of_id(request: Any, path: tuple[str, ...]) -> Any:
    for parent in path[:-1]:
        value = getattr(request, parent)
        if isinstance(value, Message):
            value.SetInParent()
            request = value
        else:
            request = value.add()
    return request


@pytest.mark.parametrize(("name", "path"), id_paths().items())
def test_a_create_request_without_an_id_gets_one(name: str, path: tuple[str, ...]) -> None:
    request = message(name)
    holder = holder_of_id(request, path)
    assign_ids(request)
    assert uuid.UUID(getattr(holder, path[-1])).version == 7


@pytest.mark.parametrize(("name", "path"), id_paths().items())
def test_the_callers_own_id_is_kept(name: str, path: tuple[str, ...]) -> None:
    request = message(name)
    holder = holder_of_id(request, path)
    setattr(holder, path[-1], "mine")
    assign_ids(request)
    assert getattr(holder, path[-1]) == "mine"


def test_a_request_that_lacks_what_is_to_be_created_stays_as_it_is() -> None:
    request = job_type_service_pb2.CreateJobTypeRequest()
    assign_ids(request)
    assert not request.HasField("job_type")


def test_every_item_of_a_batch_gets_an_id_of_its_own() -> None:
    batch = job_service_pb2.BatchCreateJobsRequest(
        requests=[job_service_pb2.CreateJobRequest(job_id=job_id) for job_id in ("", "mine", "")]
    )
    assign_ids(batch)
    first, second, third = (item.job_id for item in batch.requests)
    assert second == "mine"
    assert first
    assert third
    assert first != third


def test_the_same_message_keeps_its_id_when_it_is_sent_again() -> None:
    request = job_service_pb2.CreateJobRequest()
    assign_ids(request)
    first = request.job_id
    assign_ids(request)
    assert request.job_id == first


def test_requests_that_create_nothing_stay_as_they_are() -> None:
    request = job_service_pb2.GetJobRequest()
    assign_ids(request)
    assert request == job_service_pb2.GetJobRequest()


def test_every_create_method_of_the_contract_names_the_id_that_makes_it_safe_to_repeat() -> None:
    creating = {
        method.input_type.full_name
        for service in services()
        for method in service.methods
        if method.name.startswith(("Create", "BatchCreate", "Place", "BatchPlace", "Rotate"))
    }
    assert creating == id_paths().keys()


def test_what_a_caller_has_read_is_not_made_up() -> None:
    request = job_service_pb2.RetryJobRequest(job_id="a")
    assign_ids(request)
    assert not request.HasField("retry_count")
