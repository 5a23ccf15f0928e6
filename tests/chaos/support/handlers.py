"""The handlers of the load. Each notes down when it begins, returns, raises or is stopped."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from innosystem.runner import JobContext, JobError, Snooze, handler
from tests.chaos.support.kinds import expected_output, used_units
from tests.chaos.support.notes import BEGUN, KILLS, RAISED, RETURNED, STOPPED, note


@contextmanager
def noted(job: JobContext) -> Iterator[None]:
    """Note one execution."""
    note(BEGUN, job.job_id, job.attempt)
    try:
        yield
    except asyncio.CancelledError:
        note(STOPPED, job.job_id, job.attempt)
        raise
    except Exception:
        note(RAISED, job.job_id, job.attempt)
        raise
    note(RETURNED, job.job_id, job.attempt)


@handler("chaos.returns")
async def returns(value: Any, job: JobContext) -> Any:
    """Return immediately."""
    with noted(job):
        return expected_output(value)


@handler("chaos.takes")
async def takes(value: Any, job: JobContext) -> Any:
    """Return after some time, in a coroutine."""
    with noted(job):
        await asyncio.sleep(value["seconds"])
        return expected_output(value)


@handler("chaos.thread")
def in_thread(value: Any, job: JobContext) -> Any:
    """Return after some time, in a thread."""
    with noted(job):
        time.sleep(value["seconds"])
        return expected_output(value)


@handler("chaos.process", process=True)
def in_process(value: Any, job: JobContext) -> Any:
    """Return after some time, in a process."""
    with noted(job):
        time.sleep(value["seconds"])
        return expected_output(value)


@handler("chaos.refuses")
async def refuses(_: Any, job: JobContext) -> Any:
    """Fails for good."""
    with noted(job):
        raise JobError("this can't be done", type="REFUSED", retryable=False)


@handler("chaos.breaks")
async def breaks(_: Any, job: JobContext) -> Any:
    """Fails each time."""
    with noted(job):
        raise ValueError("it is broken")


@handler("chaos.second_time")
async def second_time(value: Any, job: JobContext) -> Any:
    """Fails in its first attempt."""
    with noted(job):
        if job.attempt == 1:
            raise ValueError("not yet")
        return expected_output(value)


@handler("chaos.meters")
async def meters(value: Any, job: JobContext) -> Any:
    """Report usage, and fail in its first attempt."""
    with noted(job):
        job.usage(used_units(value))
        if job.attempt == 1:
            raise ValueError("not yet")
        return expected_output(value)


@handler("chaos.meters_in_process", process=True)
def meters_in_process(value: Any, job: JobContext) -> Any:
    """Report usage from a process, unit by unit."""
    with noted(job):
        job.usage(0)
        for _ in range(used_units(value)):
            job.usage(1)
        return expected_output(value)


@handler("chaos.later")
async def later(value: Any, job: JobContext) -> Any:
    """Fails in its first attempt, and says when to try again."""
    with noted(job):
        if job.attempt == 1:
            raise JobError("not yet", retry_after=0.7)
        return expected_output(value)


@handler("chaos.snoozes")
async def snoozes(value: Any, job: JobContext) -> Any:
    """Asks once to be run later."""
    with noted(job):
        if job.snooze_count == 0:
            raise Snooze(0.7)
        return expected_output(value)


@handler("chaos.waits")
async def waits(value: Any, job: JobContext) -> Any:
    """Return when there is a file."""
    with noted(job):
        while not Path(value["until"]).exists():  # noqa: ASYNC110, ASYNC240 - a file can only be looked for, and that takes no time
            await asyncio.sleep(0.02)
        return expected_output(value)


@handler("chaos.kills")
async def kills(_: Any, job: JobContext) -> Any:
    """Kill the process that runs it."""
    note(KILLS, job.job_id, job.attempt)
    with noted(job):
        os.kill(os.getpid(), signal.SIGKILL)
