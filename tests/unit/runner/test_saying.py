"""What handlers may say, and the errors of what can't be stored."""

import asyncio
from typing import Any

import pytest

from innosystem.runner import CheckpointError, JobContext
from innosystem.runner.testing import Said, run_handler


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan")])
def test_a_progress_beyond_its_range_is_refused(percent: float) -> None:
    def handler(_: None, job: JobContext) -> None:
        job.progress(percent)

    with pytest.raises(ValueError, match="between 0 and 100 percent"):
        run_handler(handler)


def test_messages_are_cut_and_made_storable() -> None:
    def handler(_: None, job: JobContext) -> None:
        job.progress(1, "\x00" + "x" * 600)

    said = Said()
    run_handler(handler, listener=said)
    [progress] = said.progressed
    assert progress.message == "\N{REPLACEMENT CHARACTER}" + "x" * 499


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({1, 2}, "cannot be sent"),
        (float("nan"), "cannot be sent"),
        ("x" * 256 * 1024, "262146 bytes"),
        ("\x00", "NUL"),
    ],
    ids=["a set", "NaN", "large", "NUL"],
)
def test_a_checkpoint_that_can_never_be_stored_fails_for_good(data: Any, why: str) -> None:
    def handler(_: None, job: JobContext) -> None:
        job.checkpoint(data)

    said = Said()
    with pytest.raises(CheckpointError, match=why) as failure:
        run_handler(handler, listener=said)
    assert not failure.value.retryable
    assert said.checkpoints == []


def test_a_checkpoint_is_what_the_next_run_gets() -> None:
    async def handler(_: None, job: JobContext) -> Any:
        await job.checkpoint({"row": (job.last_checkpoint or {"row": 0})["row"] + 1})
        return job.last_checkpoint

    said = Said()
    assert run_handler(handler, listener=said) is None
    assert run_handler(handler, listener=said, last_checkpoint=said.checkpoints[-1]) == {"row": 1}
    assert said.checkpoints == [{"row": 1}, {"row": 2}]


def test_without_a_run_there_is_nobody_to_keep_a_checkpoint() -> None:
    def handler(_: None, job: JobContext) -> None:
        job.progress(1)
        job.checkpoint(1)

    with pytest.raises(CheckpointError, match="There is no run"):
        run_handler(handler, listener=None)


def test_a_thread_with_an_event_loop_of_its_own_awaits_its_checkpoints() -> None:
    def handler(_: None, job: JobContext) -> None:
        async def inner() -> None:
            await job.checkpoint(1)

        asyncio.run(inner())

    said = Said()
    run_handler(handler, listener=said)
    assert said.checkpoints == [1]
