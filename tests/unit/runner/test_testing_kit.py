"""The kit for tests of handlers treats them as the platform does."""

import asyncio
import time
from typing import Any

import pytest

from innosystem.runner import JobContext, JobError
from innosystem.runner.outcome import OUTPUT_BYTES_MAX
from innosystem.runner.testing import run_handler


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("output", "error_type"),
    [
        ("a\x00b", "INVALID_OUTPUT_JSON"),
        ({"a\x00": 1}, "INVALID_OUTPUT_JSON"),
        ("\\\x00", "INVALID_OUTPUT_JSON"),
        ("\ud800", "INVALID_OUTPUT_JSON"),
        (float("nan"), "INVALID_OUTPUT_JSON"),
        (nested(1500), "INVALID_OUTPUT_JSON"),
        ("x" * OUTPUT_BYTES_MAX, "OUTPUT_TOO_LARGE"),
    ],
    ids=["nul", "nul-in-a-key", "nul-behind-a-backslash", "surrogate", "nan", "deep", "large"],
)
def test_an_output_that_the_platform_refuses_is_refused(output: Any, error_type: str) -> None:
    with pytest.raises(JobError) as refused:
        run_handler(lambda _: output)

    assert (refused.value.type, refused.value.retryable) == (error_type, False)


@pytest.mark.parametrize("output", ["\\u0000", "\\\\u0000", nested(900), "x\n\x01"])
def test_an_output_that_only_looks_like_one_is_returned(output: Any) -> None:
    assert run_handler(lambda _: output) == output


def test_a_handler_without_an_input_gets_none() -> None:
    assert run_handler(lambda input: input is None) is True


def test_a_coroutine_is_cancelled_at_its_timeout() -> None:
    async def waits(input: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(JobError, match=r"longer than 0\.05 s$") as timed_out:
        run_handler(waits, timeout_seconds=0.05)

    assert (timed_out.value.type, timed_out.value.retryable) == ("TIMEOUT", True)


def test_a_thread_is_asked_to_stop_at_its_timeout() -> None:
    stopped = []

    def asks(input: Any, job: JobContext) -> None:
        until = time.monotonic() + 30
        while not job.stop_requested() and time.monotonic() < until:
            time.sleep(0.001)
        stopped.append(job.stop_requested())

    with pytest.raises(JobError) as timed_out:
        run_handler(asks, timeout_seconds=0.05)

    assert timed_out.value.type == "TIMEOUT"
    assert stopped == [True]


def test_a_coroutine_that_blocks_beyond_its_timeout_is_warned_of() -> None:
    async def blocks(input: Any) -> str:
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        return "done"

    with pytest.warns(RuntimeWarning, match=r"could not be stopped at its timeout of 0\.01 s: write `def`"):
        assert run_handler(blocks, timeout_seconds=0.01) == "done"


def test_a_field_that_a_job_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(
        TypeError, match=r"no argument foo; .*: job_id, customer_id, .*, usage_meter, last_checkpoint, listener$"
    ):
        run_handler(lambda _: None, foo=1)  # type: ignore[call-arg]


def test_a_timeout_of_the_handlers_own_is_an_exception_of_the_handler() -> None:
    def times_out(input: Any) -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        run_handler(times_out, timeout_seconds=30)


def test_the_timeout_is_the_deadline_that_the_handler_sees() -> None:
    seconds = run_handler(lambda _, job: job.deadline.timestamp() - time.time(), timeout_seconds=30)
    assert 20 < seconds <= 30
