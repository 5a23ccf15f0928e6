"""Each reason that the contract names for a method can be met, and items of batches are refused as single calls are."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from innosystem.client import InnosystemError, error_from, error_from_status
from innosystem.client.contract import services
from tests.support.contract_texts import REASONS, comments, fields, named
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.provocations import BATCHES, ELSEWHERE, PROVOKED
from tests.support.rpc.refusals import CODES

METHODS = {f"{service.name}.{method.name}": method for service in services() for method in service.methods}
# The other reasons of batches are those of their items.
PROMISED = {
    (name, reason)
    for name, method in METHODS.items()
    for reason in named(comments()[f"/{method.containing_service.full_name}/{method.name}"]) & REASONS
    if reason != "BATCH_TOO_LARGE"
}
CONFLICTS = {"CONCURRENT_UPDATE": "Conflict"}
TESTS = Path(__file__).parents[2]


def stub_of(world: JobsStack, name: str) -> Any:
    stubs = {
        "CustomerService": world.customers,
        "JobService": world.jobs,
        "JobTypeService": world.job_types,
        "WalletService": world.wallets,
    }
    service, _, method = name.partition(".")
    return getattr(stubs[service], method)


def refusal(world: JobsStack, name: str, request: Message) -> InnosystemError:
    """Return the error of a call, or of the one item of a batch."""
    try:
        response = stub_of(world, name)(request)
        if METHODS[name].server_streaming:
            next(response)
    except grpc.RpcError as caught:
        error = error_from(caught)
        assert error is not None
        return error
    [result] = response.results
    return error_from_status(result.error)


def test_every_reason_of_a_comment_has_its_test() -> None:
    assert PROVOKED.keys() | ELSEWHERE.keys() == PROMISED
    assert not PROVOKED.keys() & ELSEWHERE.keys()


@pytest.mark.parametrize(("method", "reason"), PROVOKED)
def test_a_method_fails_with_the_reasons_that_its_comment_names(world: JobsStack, method: str, reason: str) -> None:
    error = refusal(world, method, PROVOKED[method, reason](world))
    assert (error.reason, error.code) == (reason, CODES[reason])


@pytest.mark.parametrize(("method", "reason"), ELSEWHERE)
def test_a_reason_that_takes_a_fault_is_met_by_a_test_that_is_there(method: str, reason: str) -> None:
    file, _, name = ELSEWHERE[method, reason].partition("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    [body] = re.findall(
        rf"^(?:async )?def {name}\(.*?(?=^\S.*\n|\Z)", text.replace("\n) ", "\n ) "), re.DOTALL | re.MULTILINE
    )
    # As the reason, as the error, or as the kind of it that the database tells.
    assert {reason, reason.title().replace("_", ""), CONFLICTS.get(reason)} & set(re.findall(r"\w+", body))


@pytest.mark.parametrize(("method", "reason"), [one for one in PROVOKED if one[0] in BATCHES])
def test_an_item_of_a_batch_is_refused_as_the_single_call_is(world: JobsStack, method: str, reason: str) -> None:
    request = PROVOKED[method, reason](world)
    single = refusal(world, method, request)
    batch, make = BATCHES[method]
    response = stub_of(world, f"{method.partition('.')[0]}.{batch}")(make([request, request]))
    for at, result in enumerate(response.results):
        error = error_from_status(result.error)
        path = f"requests[{at}]."
        bare = [replace(one, field=one.field.removeprefix(path)) for one in error.violations]
        assert vars(error) | {"violations": bare} == vars(single)
        assert all(one.type or one.field.startswith(path) for one in error.violations)


def lists(message: Descriptor, *path: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Where a request has lists of which the contract says how long they may be, and how long that is."""
    for one in fields():
        if one.message == message.full_name and (items_max := re.findall(r"max_items: ([0-9]+)", one.declaration)):
            yield (*path, one.name), int(items_max[0])
    for field in message.fields:
        if field.message_type and not field.is_repeated:
            yield from lists(field.message_type, *path, field.name)


@pytest.mark.parametrize(
    ("method", "path", "items_max"),
    [(name, path, items_max) for name, one in METHODS.items() for path, items_max in lists(one.input_type)],
)
def test_a_list_that_is_too_long_is_refused_as_such(
    world: JobsStack, method: str, path: tuple[str, ...], items_max: int
) -> None:
    request = GetMessageClass(METHODS[method].input_type)()
    items: Any = reduce(getattr, path, request)
    for _ in range(items_max + 1):
        items.add() if hasattr(items, "add") else items.append("")
    error = refusal(world, method, request)
    assert (error.reason, [one.field for one in error.violations]) == ("BATCH_TOO_LARGE", [".".join(path)])
    assert error.metadata == {"items": str(items_max + 1), "items_max": str(items_max)}
