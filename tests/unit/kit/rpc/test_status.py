"""Errors as callers get them."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

import grpc
import pytest
from google.rpc import error_details_pb2

import services
from innosystem.client import error_from_status
from innosystem.options.v1 import options_pb2
from innosystem.options.v1.error_reason_pb2 import ErrorReason
from services.kit import errors
from services.kit.errors import DomainError, FieldViolation, InvalidField
from services.kit.rpc.status import STATUS_BYTES_MAX, code_of, internal, to_status

# What a hostile caller would like to have echoed: long, and longer when it is encoded.
_LONG = "\N{OLD ITALIC LETTER A}" * 5000


@dataclass(eq=False)
class HostileState(DomainError):
    """The state {one} is not {two}."""

    reason = "JOB_TYPE_IN_USE"
    retry_after_seconds = 0.25
    about = "states/{one}"
    one: str
    two: str


def _error_classes() -> list[type[DomainError]]:
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if module.name.endswith(".errors"):
            importlib.import_module(module.name)
    found: list[type[DomainError]] = []
    unseen = [DomainError]
    while unseen:
        subclasses = unseen.pop().__subclasses__()
        unseen += subclasses
        found += [one for one in subclasses if hasattr(one, "reason") and one.__module__.startswith("services.")]
    return sorted(set(found), key=lambda one: f"{one.__module__}.{one.__name__}")


def _example(kind: type[DomainError]) -> DomainError:
    hints = get_type_hints(kind)
    return kind(**{field.name: _value(hints[field.name]) for field in fields(kind) if field.init})


def _value(hint: Any) -> Any:
    simple: dict[Any, Any] = {
        str: "text", int: 7, float: 0.5, bool: True, UUID: UUID(int=7), datetime: datetime(2026, 1, 2, tzinfo=UTC)
    }  # fmt: skip
    if hint in simple:
        return simple[hint]
    if hint is FieldViolation:
        return FieldViolation("a.b", "must be right")
    if get_origin(hint) is tuple:
        return (_value(get_args(hint)[0]),)
    if isinstance(hint, UnionType):
        return _value(get_args(hint)[0])
    return next(iter(hint))


@pytest.mark.parametrize("kind", _error_classes(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_error_reaches_callers_with_its_reason_and_what_varies(kind: type[DomainError]) -> None:
    error = _example(kind)

    status = to_status(error)
    read = error_from_status(status)

    assert read.reason == kind.reason
    assert read.code is code_of(kind.reason)
    assert read.message == error.message
    assert read.message
    assert "{" not in read.message
    assert read.metadata == error.metadata
    assert read.retry_after_seconds == error.retry_after_seconds


def test_there_are_error_classes_to_walk() -> None:
    assert {errors.InvalidField, errors.DataCorrupt, errors.Draining} <= set(_error_classes())


@pytest.mark.parametrize("name", [name for name, number in ErrorReason.items() if number])
def test_the_contract_gives_every_reason_a_status_other_than_ok(name: str) -> None:
    option = ErrorReason.DESCRIPTOR.values_by_name[name].GetOptions().Extensions[options_pb2.status]

    code = code_of(name.removeprefix("ERROR_REASON_"))

    assert code is not grpc.StatusCode.OK
    assert code.value[0] == option


def test_a_reason_that_the_contract_does_not_know_is_a_defect() -> None:
    with pytest.raises(KeyError):
        code_of("MADE_UP")


def test_invalid_fields_are_named_one_by_one() -> None:
    error = InvalidField(
        (FieldViolation("customer.email", "must be an address"), FieldViolation("name", "must be set"))
    )

    read = error_from_status(to_status(error))

    assert [(one.field, one.description) for one in read.violations] == [
        ("customer.email", "must be an address"),
        ("name", "must be set"),
    ]
    assert read.metadata == {"fields": "customer.email,name"}


def test_of_many_violations_twenty_are_included() -> None:
    error = InvalidField(tuple(FieldViolation(f"requests[{n}].id", "must be a UUID") for n in range(500)))

    read = error_from_status(to_status(error))

    assert [one.field for one in read.violations] == [f"requests[{n}].id" for n in range(20)]


@pytest.mark.parametrize(
    "error",
    [
        InvalidField(tuple(FieldViolation(_LONG, _LONG) for _ in range(100))),
        InvalidField.of("labels", "\ud800" * 5000),
        HostileState(one=_LONG, two=_LONG),
    ],
    ids=["many", "surrogates", "precondition"],
)
def test_a_status_fits_a_header_whatever_is_in_it(error: DomainError) -> None:
    status = to_status(error)

    base64_bytes = len(status.SerializeToString()) * 4 / 3
    percent_encoded_bytes = len(status.message.encode()) * 3
    assert status.ByteSize() <= STATUS_BYTES_MAX
    assert base64_bytes + percent_encoded_bytes < 8000
    assert error_from_status(status).reason == error.reason


def _detail(error: DomainError, kind: type[Any]) -> Iterator[Any]:
    for packed in to_status(error).details:
        detail = kind()
        if packed.Unpack(detail):
            yield detail


def test_a_failed_precondition_says_what_about_which_subject() -> None:
    [detail] = _detail(HostileState(one="blue", two="green"), error_details_pb2.PreconditionFailure)

    [violation] = detail.violations
    assert violation.type == "JOB_TYPE_IN_USE"
    assert violation.subject == "states/blue"
    assert violation.description == "The state blue is not green."


def test_waiting_is_recommended_only_where_it_helps() -> None:
    [retry] = _detail(HostileState(one="a", two="b"), error_details_pb2.RetryInfo)

    assert retry.retry_delay.ToMilliseconds() == 250
    assert list(_detail(InvalidField.of("a", "b"), error_details_pb2.RetryInfo)) == []


def test_an_unforeseen_error_tells_callers_the_request_id_alone() -> None:
    status = internal("request-7")

    info = error_details_pb2.RequestInfo()
    assert status.code == grpc.StatusCode.INTERNAL.value[0]
    assert [packed.Unpack(info) for packed in status.details] == [True]
    assert info.request_id == "request-7"


# Sent again as they are they would be refused again.
_NOT_REPEATED = {"LEASE_LOST", "ETAG_MISMATCH"}
_REPEATED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.mark.parametrize("kind", _error_classes(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_error_that_may_pass_says_after_which_time(kind: type[DomainError]) -> None:
    if code_of(kind.reason) in _REPEATED and kind.reason not in _NOT_REPEATED:
        assert to_status(_example(kind)).details
        assert _example(kind).retry_after_seconds
