"""Handlers that the end-to-end tests run."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from innosystem.runner import Batch, BatchItem, JobContext, JobError, handler


@handler("e2e.double")
async def double(value: Any) -> Any:
    """Return twice the number."""
    return {"doubled": value["n"] * 2}


@handler("e2e.thread")
def in_thread(value: Any, job: JobContext) -> Any:
    """Return from a thread."""
    return {"n": value["n"], "job_id": job.job_id, "request_id": job.request_id}


@handler("e2e.together", batch=Batch(size=50, wait_seconds=30, per_customer=True))
async def together(items: list[BatchItem[dict[str, int]]]) -> list[dict[str, Any] | JobError]:
    """Return how many jobs of which customers were called together; odd numbers fail."""
    customers = sorted({item.job.customer_id for item in items})
    return [
        JobError("it is odd", type="ODD", retryable=False)
        if item.input["n"] % 2
        else {"jobs": len(items), "customers": customers}
        for item in items
    ]


@handler("e2e.fails")
async def fails(value: Any) -> Any:
    """Fails as the input says."""
    if value.get("as") == "JobError":
        raise JobError("no such picture", type="INVALID_INPUT", retryable=False)
    raise ValueError("it is broken")


@handler("e2e.nul")
async def nul(_: Any) -> Any:
    """Return what `jsonb` refuses."""
    return {"text": "a\0b"}


@handler("e2e.waits")
async def waits(value: Any) -> Any:
    """Begins, says so by a file, and continues when another file is there."""
    folder = Path(value["folder"])
    (folder / f"begun-{value['n']}").touch()
    while not (folder / "go").exists():  # noqa: ASYNC110 - a file can only be looked for
        await asyncio.sleep(0.02)
    return value["n"]


@handler("e2e.continues")
async def continues(value: Any, job: JobContext) -> Any:
    """Leave a checkpoint and wait, or return what an earlier run has left."""
    if job.last_checkpoint is None:
        job.progress(25, "a quarter")
        await job.checkpoint({"row": 7})
        Path(value["begun"]).touch()  # noqa: ASYNC240 - an empty file
        await asyncio.sleep(600)
    return job.last_checkpoint


@handler("e2e.poison")
async def poison(value: Any) -> None:
    """Kills the process that it runs in, once so many others have begun."""
    folder = Path(value["folder"])
    while len(list(folder.glob("begun-*"))) < value["others"]:  # noqa: ASYNC110, ASYNC240 - files can only be looked for
        await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


@handler("e2e.naps")
async def naps(value: Any) -> Any:
    """Take some time."""
    await asyncio.sleep(value["seconds"])
    return value["n"]


@handler("e2e.kills")
async def kills(value: Any, job: JobContext) -> None:
    """Note in which process it is, and kills that."""
    await asyncio.sleep(value["seconds"])
    with Path(value["kills"]).open("a") as noted:  # noqa: ASYNC230 - a line
        noted.write(f"{job.job_id} {os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)


@handler("e2e.meters")
async def meters(value: dict[str, Any], job: JobContext) -> None:
    """Report usage, unit by unit as the input says, and fail in the first attempts that it names."""
    for units in value["usage"]:
        job.usage(units)
    if job.attempt <= value.get("failures", 0):
        raise ValueError("once more")


@handler("e2e.meters-process", process=True)
def meters_in_process(value: dict[str, Any], job: JobContext) -> None:
    """Report usage from a process."""
    for units in value["usage"]:
        job.usage(units)


@handler("e2e.meters-batch", batch=Batch(size=10, wait_seconds=0.1))
async def meters_in_batch(items: list[BatchItem[dict[str, Any]]]) -> list[None]:
    """Report the usage of each job of a batch."""
    for item in items:
        for units in item.input["usage"]:
            item.job.usage(units)
    return [None] * len(items)
