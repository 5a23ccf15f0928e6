"""Every reason of the contract, every error class of the services, and what callers see of them."""

import importlib
import inspect
import re
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_type_hints
from uuid import UUID

import grpc
import pytest
from google.rpc import error_details_pb2

from innosystem.client.errors import error_from_status
from innosystem.customers.v1 import customer_service_pb2
from innosystem.jobs.v1 import job_service_pb2, job_type_service_pb2
from innosystem.options.v1 import options_pb2
from innosystem.options.v1.error_reason_pb2 import ErrorReason
from innosystem.wallets.v1 import wallet_service_pb2
from services import SERVICES
from services.kit.errors import DomainError, FieldViolation, InvalidFilter
from services.kit.rpc.status import code_of, to_status
from tests.support.contract_texts import REASONS, comments, named, reasons_of

SERVED = [
    service
    for module in (customer_service_pb2, job_service_pb2, job_type_service_pb2, wallet_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
# Reasons that belong to what is not there yet: clients may know them already, nothing fails with them.
WITHOUT_A_CLASS: set[str] = set()

# Reasons that are no INVALID_ARGUMENT and nevertheless about fields.
ABOUT_FIELDS = {"EMAIL_TAKEN", "JOB_TYPE_NAME_TAKEN", "IDEMPOTENCY_KEY_REUSED"}
# Words in comments that look like reasons: states.
NO_REASONS = {"CHARGE_BLOCKED", "CHARGE_DUE", "RELEASE_DUE"}

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
OF_SERVICES = {service: classes(f"services.{service}.rules.errors") for service in SERVICES}
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
def test_an_error_of_a_request_names_its_field_and_a_failed_precondition_its_subject(
    kind: type[DomainError],
) -> None:
    status = to_status(example(kind).within("requests[3]"))
    violations: list[Any] = []
    preconditions: list[Any] = []
    for detail in status.details:
        bad_request, failure = error_details_pb2.BadRequest(), error_details_pb2.PreconditionFailure()
        if detail.Unpack(bad_request):
            violations += bad_request.field_violations
        if detail.Unpack(failure):
            preconditions += failure.violations
    if code_of(kind.reason) is grpc.StatusCode.INVALID_ARGUMENT or kind.reason in ABOUT_FIELDS:
        assert violations
        assert all(one.field.startswith("requests[3]") and one.description for one in violations)
    if code_of(kind.reason) is grpc.StatusCode.FAILED_PRECONDITION:
        [precondition] = preconditions
        assert precondition.type == kind.reason
        # A collection and an ID, as paths of resources are.
        assert re.fullmatch(r"([a-z_]+/[\w-]+)(/[a-z_]+/[\w-]+)?", precondition.subject)
        assert "None" not in precondition.subject


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_an_error_that_clients_get_advises_only_what_clients_may_call(kind: type[DomainError]) -> None:
    """Runners pass on what they get in their log, and services in theirs: operators read those."""
    policies = {
        f"/{service.full_name}/{method.name}": method.GetOptions().Extensions[options_pb2.method]
        for service in SERVED
        for method in service.methods
    }
    for_clients = {path for path, policy in policies.items() if options_pb2.CALLER_CLIENT in policy.callers}
    advised = {path for path in policies if re.search(rf"\b{path.rpartition('/')[2]}\b", example(kind).message)}
    assert for_clients
    if any(kind.reason in reasons_of(path) for path in for_clients):
        assert advised <= for_clients


@pytest.mark.parametrize(("method", "comment"), comments().items())
def test_comments_name_only_reasons_that_there_are(method: str, comment: str) -> None:
    parts = re.findall(r"[Ff]ails? (?:as a whole )?(?:only )?with ([^.]*)\.", comment)
    told: set[str] = set().union(*map(named, parts))
    assert told - REASONS - NO_REASONS == set(), method


def test_every_reason_is_named_by_a_method_or_a_service() -> None:
    everywhere = set().union(*(named(comment) for comment in comments().values()))
    assert REASONS - WITHOUT_A_CLASS - everywhere == set()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_an_error_with_huge_attributes_still_fits_into_the_headers(
    kind: type[DomainError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXAMPLES, str, "ü" * 100_000)
    monkeypatch.setitem(EXAMPLES, tuple[str, ...], ("field",) * 10_000)
    monkeypatch.setitem(EXAMPLES, tuple[FieldViolation, ...], (FieldViolation("f" * 9999, "d" * 9999),) * 100)
    assert to_status(example(kind)).ByteSize() <= 6000


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_sentence_is_said_twice(kind: type[DomainError]) -> None:
    text = str(error_from_status(to_status(example(kind))))
    sentences = [part.strip(" .") for part in re.split(r"[(;)]|\. |: ", text) if len(part) > len("text")]
    assert [part for part, count in Counter(sentences).items() if count > 1] == [], text


def test_the_place_in_a_batch_is_said_beside_the_message() -> None:
    error = InvalidFilter("a name is missing").within("requests[3]")
    assert str(error_from_status(to_status(error))) == (
        "INVALID_FILTER: The filter is not understood: a name is missing. (requests[3].filter)"
    )
