"""A short run of the fuzzer; `make fuzz` makes long ones."""

import pytest

from tests.fuzz.__main__ import new_folder, report
from tests.fuzz.support.callers import MALFORMED, NOBODY
from tests.fuzz.support.methods import methods
from tests.fuzz.support.requests import Requests
from tests.fuzz.support.run import run
from tests.fuzz.support.wire import field, varint

SEED = 20261129
REQUESTS = 3000


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_nothing_that_a_caller_sends_is_an_accident() -> None:
    folder = new_folder(SEED)
    print(f"seed {SEED}")

    result = await run(folder, seed=SEED, requests=REQUESTS, say=print)

    report(result, folder)
    assert not result.complaints, result.line
    assert set(result.carried_out) >= {"CreateCustomer", "Deduct", "ListJobs", "CompleteJobs", "Watch"}


def test_the_same_seed_makes_the_same_requests_of_every_method() -> None:
    every = methods()
    known = {"customer_id": ["0190a2b2-0000-7000-8000-000000000000"], "page_token": ["abc"]}

    def some(seed: int) -> list[object]:
        made = Requests(seed, every, connections=2)
        return [made.make(number, known, [NOBODY, MALFORMED]) for number in range(3 * len(every))]

    assert some(1) == some(1)
    assert some(1) != some(2)
    # Health and reflection are on all three servers.
    assert len({(one.server, one.path) for one in every}) == len(every)
    assert {one.path.split("/")[1].split(".")[0] for one in every} == {"innosystem", "grpc"}


def test_fields_are_written_as_protobuf_writes_them() -> None:
    assert varint(300) == b"\xac\x02"
    assert field(2, 2, b"testing") == b"\x12\x07testing"
