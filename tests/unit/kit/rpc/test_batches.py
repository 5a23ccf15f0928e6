"""Batches: an item that fails, for any reason and at any step, leaves the results of its neighbours alone."""

from collections.abc import Sequence

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.customers.v1.customer_service_pb2 import BatchGetCustomersResult
from services.kit.errors import DatabaseUnavailable, DataCorrupt, DomainError, InvalidField
from services.kit.rpc.batches import batch_results, parse_id
from services.kit.rpc.responses import fit
from services.kit.rpc.status import to_status

INTERNAL = 13
INVALID_ARGUMENT = 3


def result(outcome: str | DomainError) -> BatchGetCustomersResult:
    if isinstance(outcome, DomainError):
        return BatchGetCustomersResult(error=to_status(outcome))
    if outcome == "unanswerable":
        raise OverflowError(outcome)
    return BatchGetCustomersResult(customer=Customer(name=outcome))


def parse(item: str) -> str:
    if item == "unreadable":
        raise RecursionError(item)
    if item == "invalid":
        raise InvalidField.of("", "must be valid")
    return item


class Work:
    """Does nothing but fail over some items, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, items: list[str]) -> list[str | DomainError]:
        self.calls += 1
        if "unstorable" in items:
            raise ZeroDivisionError
        if "corrupt" in items:
            raise DataCorrupt("jobs", "1", "status", "LOST")
        if "unreachable" in items:
            raise DatabaseUnavailable
        return list(items)


async def outcomes(items: Sequence[str], work: Work | None = None) -> list[str | int]:
    """The names of those that succeeded, and the codes of the others."""
    found = await batch_results(items, "names", parse=parse, work=work or Work(), message=result)
    return [one.customer.name if one.HasField("customer") else one.error.code for one in found]


@pytest.mark.parametrize("culprit", ["unreadable", "unstorable", "corrupt", "unanswerable"])
@pytest.mark.parametrize("position", [0, 3, 6])
async def test_an_unforeseen_exception_is_the_error_of_its_own_item(culprit: str, position: int) -> None:
    items = [f"n{number}" for number in range(6)]
    items.insert(position, culprit)
    expected: list[str | int] = [*items]
    expected[position] = INTERNAL
    assert await outcomes(items) == expected


async def test_an_item_that_is_the_callers_fault_is_never_internal() -> None:
    assert await outcomes(["a", "invalid", "b"]) == ["a", INVALID_ARGUMENT, "b"]
    [one] = await batch_results(["no"], "ids", parse=lambda text: str(parse_id(text)), work=Work(), message=result)
    assert "ids[0]: must be a valid UUID" in one.error.message


async def test_an_exception_is_hidden_from_callers_and_logged_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    [one] = await batch_results(["unstorable"], "names", parse=parse, work=Work(), message=result)
    assert one.error.message == "Something went wrong inside the service; see its log."
    assert "ZeroDivisionError" in capsys.readouterr().out


async def test_what_concerns_all_items_fails_the_call() -> None:
    with pytest.raises(DatabaseUnavailable):
        await outcomes(["a", "unreachable"])


async def test_many_culprits_do_not_make_a_batch_endless() -> None:
    work = Work()
    found = await outcomes(["unstorable"] * 1000, work)
    assert found == [INTERNAL] * 1000
    assert work.calls < 100


async def test_a_few_culprits_among_a_thousand_are_found() -> None:
    items = [f"n{number}" for number in range(1000)]
    for position in (7, 500, 999):
        items[position] = "unstorable"
    found = await outcomes(items)
    assert [at for at, one in enumerate(found) if one == INTERNAL] == [7, 500, 999]


def narrow(one: BatchGetCustomersResult) -> None:
    one.customer.name = ""


def test_the_largest_results_are_narrowed_until_all_fit() -> None:
    results = [BatchGetCustomersResult(customer=Customer(name="x" * size)) for size in (10, 3000, 20, 2000)]
    fit(results, narrow, 2500)
    assert [len(one.customer.name) for one in results] == [10, 0, 20, 2000]
    fit(results, narrow, 100)
    assert [len(one.customer.name) for one in results] == [10, 0, 20, 0]


def test_results_that_fit_are_left_as_they_are() -> None:
    results = [BatchGetCustomersResult(customer=Customer(name="x" * 100))] * 3
    fit(results, narrow)
    assert all(one.customer.name for one in results)


def test_errors_that_do_not_fit_keep_their_code_and_reason_and_results_stay_results() -> None:
    status = Status(code=5, message="gone")
    status.details.add().Pack(ErrorInfo(reason="GONE", domain="innosystem", metadata={"a": "b" * 1000}))
    results = [BatchGetCustomersResult(error=status), BatchGetCustomersResult(customer=Customer(name="x" * 2000))]
    fit(results, bytes_max=100)
    info = ErrorInfo()
    assert results[0].error.details[0].Unpack(info)
    assert (results[0].error.code, results[0].error.message, info.reason, dict(info.metadata)) == (
        5,
        "gone",
        "GONE",
        {},
    )
    assert results[1].customer.name
