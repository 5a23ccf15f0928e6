"""Every reason of the contract, every error class of the services, and what callers see of them."""

import importlib
import inspect
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from google.rpc import error_details_pb2

from innosystem.client.errors import error_from_status
from innosystem.options.v1 import options_pb2
from innosystem.options.v1.error_reason_pb2 import ErrorReason
from services.kit.errors import DomainError, FieldViolation
from services.kit.rpc.status import code_of, to_status
from tests.conftest import SERVICES

REASONS = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}

# Reasons that belong to what is not there yet: clients may know them already, nothing fails with them.
WITHOUT_A_CLASS = {
    *("RATE_LIMITED", "NO_CREDENTIALS", "NOT_ALLOWED"),
}

EXAMPLES: dict[Any, Any] = {
    UUID: UUID(int=7),
    str: "text",
    int: 42,
    float: 1.5,
    datetime: datetime(2026, 1, 2, tzinfo=UTC),
    UUID | None: UUID(int=8),
    str | None: "other",
    tuple[str, ...]: ("a", "b"),
    tuple[FieldViolation, ...]: (FieldViolation("a.b", "must be right"),),
}


def classes(module: str) -> list[type[DomainError]]:
    """The error classes of a module that name a reason of their own; those that inherit one say the same."""
    found = vars(importlib.import_module(module)).values()
    return [
        kind
        for kind in found
        if inspect.isclass(kind)
        and issubclass(kind, DomainError)
        and kind.__module__ == module
        and "reason" in vars(kind)
    ]


KIT = classes("services.kit.errors")
OF_SERVICES = {service: classes(f"services.{service}.errors") for service in SERVICES}
ALL = [*KIT, *(kind for kinds in OF_SERVICES.values() for kind in kinds)]


def example(kind: type[DomainError]) -> DomainError:
    """An error of a class, with made-up attributes."""
    hints = get_type_hints(kind)
    return kind(*(EXAMPLES[hints[field.name]] for field in fields(kind)))


@pytest.mark.parametrize("service", SERVICES)
def test_no_two_errors_of_a_process_have_the_same_reason(service: str) -> None:
    counted = Counter(kind.reason for kind in (*KIT, *OF_SERVICES[service]))
    assert [reason for reason, count in counted.items() if count > 1] == []


def test_every_reason_has_an_error_and_every_error_a_reason() -> None:
    assert {kind.reason for kind in ALL} == REASONS - WITHOUT_A_CLASS


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_has_a_status(reason: str) -> None:
    option = ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"].GetOptions().Extensions
    assert code_of(reason).value[0] == option[options_pb2.status] != 0


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_callers_see_reason_message_and_metadata(kind: type[DomainError]) -> None:
    error = example(kind)
    status = to_status(error)
    assert "{" not in status.message
    seen = error_from_status(status)
    assert (seen.code, seen.reason, seen.message) == (code_of(kind.reason), kind.reason, error.message)
    assert seen.metadata == error.metadata
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "innosystem"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_an_error_with_huge_attributes_still_fits_into_the_headers(
    kind: type[DomainError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXAMPLES, str, "ü" * 100_000)
    monkeypatch.setitem(EXAMPLES, tuple[str, ...], ("field",) * 10_000)
    monkeypatch.setitem(EXAMPLES, tuple[FieldViolation, ...], (FieldViolation("f" * 9999, "d" * 9999),) * 100)
    assert to_status(example(kind)).ByteSize() <= 6000
