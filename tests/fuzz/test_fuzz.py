"""A short run of the fuzzer; `make fuzz` makes long ones."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.options.v1 import options_pb2
from services.kit.auth.principal import Kind
from tests.fuzz.__main__ import new_folder, report
from tests.fuzz.support.callers import MALFORMED, NOBODY, Caller, chosen
from tests.fuzz.support.methods import methods
from tests.fuzz.support.requests import Request, Requests
from tests.fuzz.support.run import Result, run, unused
from tests.fuzz.support.sending import complaints
from tests.fuzz.support.wire import field, varint

SEED = 20261129
REQUESTS = 3000
LIMITED_REQUESTS = 1000
A = "0190a2b2-0000-7000-8000-00000000000a"
B = "0190a2b2-0000-7000-8000-00000000000b"
JOB = "0190a2b2-0000-7000-8000-0000000000b1"

CLIENT_OF_A = Caller("client of A", "x", Kind.CLIENT, is_bound=True, customer_id=A)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_nothing_that_a_caller_sends_is_an_accident() -> None:
    folder = new_folder(SEED)
    print(f"seed {SEED}")

    result = await run(folder, seed=SEED, requests=REQUESTS, say=print)

    report(result, folder)
    assert not result.complaints, result.line
    assert {path.rpartition("/")[2] for path in result.carried_out} >= {
        "CreateCustomer", "UpdateCustomer", "CreateJob", "Deduct", "ListJobs", "CompleteJobs", "Watch",
    }  # fmt: skip
    assert set(result.reasons) >= {"NO_CREDENTIALS", "BAD_CREDENTIALS", "NOT_ALLOWED"}
    assert set(result.callers) >= {"operator", "service", "client", "client of A", "key of A: read", "runner"}


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_limits_refuse_clients_and_nothing_else_goes_wrong() -> None:
    folder = new_folder(SEED)

    result = await run(folder, seed=SEED, requests=LIMITED_REQUESTS, say=print, limited=True)

    report(result, folder)
    assert not result.complaints, result.line
    assert result.reasons["RATE_LIMITED"]


def test_a_method_that_a_long_run_never_has_carried_out_is_a_finding() -> None:
    every = [one.path for one in methods()]
    delete = next(path for path in every if path.endswith("/DeleteJobType"))
    result = Result(carried_out=Counter(one for one in every if one != delete), requests=20_000)

    assert result.never_carried_out == [delete]
    assert unused(result) == [f"never carried out: {delete}"]
    # A short one says so in its report.
    assert unused(replace(result, requests=19_999)) == []
    assert unused(replace(result, carried_out=Counter(every))) == []


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


def test_who_is_bound_to_a_customer_gets_nothing_of_another() -> None:
    foreign = {("customer_id", B), ("job_id", JOB)}

    def found(customer_id: str, job_id: str, caller: Caller = CLIENT_OF_A) -> list[str]:
        response = pb.GetJobResponse(job=job_pb2.Job(id=job_id, customer_id=customer_id))
        return list(complaints(_request("GetJob", caller), [response.SerializeToString()], foreign))

    assert found(A, A) == []
    assert found(B, A) == [f"client of A got customer_id {B} of another customer"]
    assert found(A, JOB) == [f"client of A got job_id {JOB} of another customer"]
    assert found(B, JOB, Caller("operator", "x", Kind.OPERATOR)) == []


def test_a_method_that_is_carried_out_for_somebody_else_is_a_finding() -> None:
    empty = [pb.GetJobResponse().SerializeToString()]

    assert list(complaints(_request("GetJob", NOBODY), empty, ())) == ["nobody must not call this"]
    assert list(complaints(_request("GetJob", CLIENT_OF_A), empty, ())) == []
    # A stream that was left before it gave anything.
    assert list(complaints(_request("WatchJob", NOBODY), [], ())) == []


def test_api_keys_may_call_what_their_scopes_allow() -> None:
    key = Caller("key", "x", Kind.CLIENT, is_bound=True, scopes=frozenset({options_pb2.SCOPE_READ}))
    may = {one.name for one in methods() if not one.standard and key.may_call(one)}

    assert {"GetJob", "WatchJob", "GetWallet"} <= may
    assert not may & {"CreateJob", "CancelJob", "ListCustomers", "Deduct"}


def test_who_is_believed_says_nothing_about_charges_at_random() -> None:
    callers = [Caller("operator", "x", Kind.OPERATOR), Caller("runner", "y", Kind.RUNNER), NOBODY]
    deduct = next(one for one in methods() if one.name == "Deduct")

    assert {chosen(random.Random(seed), callers, deduct).name for seed in range(100)} == {"runner", "nobody"}


def test_a_request_that_json_cannot_say_can_be_shown() -> None:
    request = pb.CreateJobRequest()
    request.run_at.nanos = -(2**31)

    assert "nothing that JSON can say" in str(_request("CreateJob", NOBODY, request.SerializeToString()))


def _request(name: str, caller: Caller, body: bytes = b"") -> Request:
    method = next(one for one in methods() if one.name == name)
    return Request(0, method, "message", body, caller, (), "patient", 30.0, 0, compressed=False)
