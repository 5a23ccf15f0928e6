"""However large and odd the inputs of one caller are, the event loop continues to serve all other calls."""

import asyncio
import json
from collections.abc import Callable
from time import monotonic, process_time
from typing import Any
from uuid import uuid4

import pytest

from innosystem.jobs.v1 import job_service_pb2 as pb
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.refusals import Refused, details

# A tenth of what one such call took before, and far more than it takes: the machine may be busy.
GAP_SECONDS_MAX = 0.4
MEBIBYTE = 1024 * 1024


def longest_gap(loop: LoopThread, call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the longest time in which the servers' event loop did nothing but this call, and the call's response.

    Of the time between two turns of the loop only what this process has computed counts, and not for how long others
    had the processors.
    """
    gap, last, computed = 0.0, monotonic(), process_time()

    async def tick() -> None:
        nonlocal gap, last, computed
        while True:
            await asyncio.sleep(0.001)
            gap = max(gap, min(monotonic() - last, process_time() - computed))
            last, computed = monotonic(), process_time()

    ticking = loop.start(tick())
    response = call()
    loop.cancel(ticking)
    return gap, response


def numbers(text: str, size: int) -> str:
    return "[" + ",".join([text] * (size // (len(text) + 1) - 1)) + "]"


INPUTS = {
    "exponents that grow beyond the limit": (numbers("1e1", MEBIBYTE), "INPUT_TOO_LARGE"),
    "exponents that fit": (numbers("1e1", 650_000), ""),
    "numbers": (numbers("1", 800_000), ""),
    "brackets": ("[" + ",".join(["[[[]]]"] * 30_000) + "]", ""),
    "one text": ('"' + "x" * (MEBIBYTE - 2) + '"', ""),
}


@pytest.mark.parametrize(("text", "reason"), INPUTS.values(), ids=INPUTS)
def test_a_batch_of_fifteen_megabytes_stops_nobody(
    world: JobsStack, loop_thread: LoopThread, text: str, reason: str
) -> None:
    named = {"customer_id": world.customer(), "job_type": world.job_type().name, "input_json": text}
    requests = [world.request(**named) for _ in range(14)]
    batch = pb.BatchCreateJobsRequest(requests=requests)

    gap, response = longest_gap(loop_thread, lambda: world.jobs.BatchCreateJobs(batch))

    for one in response.results:
        if reason:
            details(one.error, reason)
        else:
            assert one.HasField("response"), one
    print(f"longest gap {gap:.3f} s")
    assert gap < GAP_SECONDS_MAX


def test_completions_of_fourteen_megabytes_stop_nobody(world: JobsStack, loop_thread: LoopThread) -> None:
    running = [world.running() for _ in range(14)]
    completions = [
        pb.JobCompletion(job_id=job.id, lease_id=lease, output_json=numbers("1e1", 650_000)) for job, lease in running
    ]
    gap, results = longest_gap(loop_thread, lambda: world.complete(*completions))
    assert all(one.HasField("recorded") for one in results)
    print(f"longest gap {gap:.3f} s")
    assert gap < GAP_SECONDS_MAX


def recursive_schema() -> str:
    node = {"$ref": "#/$defs/node"}
    branch = {"type": "object", "required": ["a"], "properties": {"a": node}}
    other = {"type": "object", "required": ["a"], "properties": {"a": node, "b": {}}}
    return json.dumps({"$defs": {"node": {"oneOf": [branch, other, {"type": "number"}]}}, **node})


def test_a_small_input_of_a_recursive_schema_stops_nobody_and_is_refused(
    world: JobsStack, loop_thread: LoopThread, refused: Refused
) -> None:
    name = world.job_type(input_schema_json=recursive_schema()).name
    text = '{"a":' * 40 + '"x"' + "}" * 40
    request = world.request(job_type=name, input_json=text)

    gap, error = longest_gap(loop_thread, lambda: refused(world.jobs.CreateJob, request, "INVALID_INPUT_JSON"))

    assert "oneOf" in error.message
    assert gap < GAP_SECONDS_MAX


def test_a_schema_that_an_older_release_took_stops_nobody_and_harms_no_neighbour(
    world: JobsStack, loop_thread: LoopThread, stored: Any
) -> None:
    job_type = world.job_type(input_schema_json='{"type": "string"}')
    defs = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {"type": "string"}}
    schema = json.dumps({"$defs": defs, "$ref": "#/$defs/d0"})
    stored.execute("UPDATE job_types SET input_schema = %s WHERE id = %s", schema, job_type.id)
    requests = [world.request(job_type=job_type.name, input_json='"x"'), world.request()]

    gap, response = longest_gap(
        loop_thread, lambda: world.jobs.BatchCreateJobs(pb.BatchCreateJobsRequest(requests=requests))
    )

    assert "more time or memory" in details(response.results[0].error, "INVALID_INPUT_JSON").message
    assert response.results[1].response.job.id == requests[1].job_id
    assert gap < GAP_SECONDS_MAX


def test_an_input_nested_deeper_than_schemas_are_checked_fails_alone_and_as_the_callers_fault(world: JobsStack) -> None:
    name = world.job_type(
        input_schema_json='{"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}'
    ).name
    deep = world.request(job_type=name, input_json="[" * 900 + "]" * 900)
    good = [world.request(job_type=name, input_json="[[]]"), world.request()]
    batch = pb.BatchCreateJobsRequest(requests=[good[0], deep, good[1]])
    results = world.jobs.BatchCreateJobs(batch).results
    assert [one.WhichOneof("result") for one in results][::2] == ["response", "response"]
    if results[1].HasField("error"):
        details(results[1].error, "INVALID_INPUT_JSON")


def test_a_large_input_that_is_submitted_again_is_answered_again(world: JobsStack) -> None:
    request = world.request(job_id=str(uuid4()), input_json=numbers("1", 800_000))
    assert not world.jobs.CreateJob(request).replayed
    assert world.jobs.CreateJob(request).replayed
