"""Lists can be filtered and ordered by what their comments name and by nothing else, and pages belong to one list."""

import re
from functools import partial
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from tests.integration.jobs.test_promised_reasons import METHODS, stub_of
from tests.support.contract_texts import fields
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.provocations import LISTED
from tests.support.rpc.refusals import reason_of

# By what all jobs that there ever were would have to be sorted for.
NARROWED = {
    ("JobService.ListJobs", "priority"): "status = PENDING",
    ("JobService.ListJobs", "completed_at"): "completed_at > 2026-01-31",
}
# Most lists can be filtered by when something was created.
OTHER_TIMES = {"JobService.ListRunners": "started_at"}
OTHER_ORDERS = {"WalletService.ListTransactions": "sequence"}


def comment(method: str, field: str) -> str:
    message = METHODS[method].input_type.full_name
    [found] = [one.comment for one in fields() if (one.message, one.name) == (message, field)]
    return found


def promised(method: str, field: str) -> set[str]:
    """Return the fields that the comment of a filter or an order names."""
    named = re.findall(r"(?:filter|order) on ([a-z_.<>, ]+)", comment(method, field))[0]
    return {one.replace("<key>", "a").strip(". ") for one in re.split(", (?:such|at most)", named)[0].split(", ")}


def listed(method: str) -> Descriptor:
    """Return the listed resources."""
    return next(one.message_type for one in METHODS[method].output_type.fields if one.message_type and one.is_repeated)


def asked(method: str, world: JobsStack, **values: Any) -> Any:
    request = LISTED[method](world)
    for name, value in values.items():
        setattr(request, name, value)
    return request


def outcome(method: str, world: JobsStack, **values: Any) -> str:
    """Return the reason that a list is refused for; empty if it succeeds."""
    return reason_of(lambda: stub_of(world, method)(asked(method, world, **values)))


@pytest.mark.parametrize("method", LISTED)
def test_a_list_is_filtered_by_the_fields_that_its_comment_names_and_by_no_others(
    world: JobsStack, method: str
) -> None:
    names = promised(method, "filter")
    tried = {one.name for one in listed(method).fields} | names
    refused = {one for one in tried if outcome(method, world, filter=f"{one}:*") == "INVALID_FILTER"}
    # An entry of a map is named with its key, and the map itself has entries as well.
    assert tried - refused - {"labels"} == names


@pytest.mark.parametrize("method", LISTED)
def test_a_list_is_ordered_by_the_fields_that_its_comment_names_and_by_no_others(world: JobsStack, method: str) -> None:
    tried = {one.name for one in listed(method).fields}
    refused = {
        one
        for one in tried
        if outcome(method, world, order_by=one, filter=NARROWED.get((method, one), "")) == "INVALID_ORDER_BY"
    }
    assert tried - refused == promised(method, "order_by")


@pytest.mark.parametrize("method", LISTED)
def test_a_page_token_is_one_of_its_filter_and_order_and_of_pages_of_any_size(world: JobsStack, method: str) -> None:
    request = asked(method, world, page_size=1)
    call = stub_of(world, method)
    request.page_token = call(request).next_page_token or pytest.fail("there is one page")
    request.page_size = 7
    call(request)
    others = {
        "filter": f"{OTHER_TIMES.get(method, 'created_at')} > 2020-01-01T00:00:00Z",
        "order_by": OTHER_ORDERS.get(method, "id"),
    }
    for name, value in others.items():
        changed = type(request)()
        changed.CopyFrom(request)
        setattr(changed, name, value)
        assert reason_of(partial(call, changed)) == "INVALID_PAGE_TOKEN", name


@pytest.mark.parametrize("method", LISTED)
def test_the_default_order_is_the_one_that_is_named(world: JobsStack, method: str) -> None:
    [named] = re.findall(r"default `([a-z_, ]+)`", comment(method, "order_by"))
    request = asked(method, world)
    call = stub_of(world, method)
    [name] = [one.name for one in METHODS[method].output_type.fields if one.is_repeated]
    first = getattr(call(request), name)
    request.order_by = named
    assert getattr(call(request), name) == first
