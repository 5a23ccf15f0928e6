"""Background work beside the server: it survives every failure, and ends when the server does."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.kit.background import Loop, end, together
from services.kit.data.errors import ConnectionFailed, SchemaBehind, UnexpectedRollback
from services.kit.errors import DataCorrupt

TEN_SECONDS = timedelta(seconds=10)


class QueueAway(Exception):
    """An exception that the loop takes for a condition."""


class Rounds:
    """The rounds of a loop: each ends as given, and the last cancels the task."""

    def __init__(self, *ends: bool | BaseException) -> None:
        self.ends = list(ends)

    async def __call__(self) -> bool:
        if not self.ends:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.Event().wait()
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end


class Deaf:
    """Work that swallows its first cancellations."""

    def __init__(self, swallowed_max: int) -> None:
        self.cancellations = 0
        self.task: asyncio.Task[None] | None = None
        self._swallowed_max = swallowed_max

    async def __call__(self) -> None:
        self.task = asyncio.current_task()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancellations += 1
                if self.cancellations > self._swallowed_max:
                    raise


async def ran(loop: Loop) -> None:
    """Has a loop run until its rounds cancel it."""
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(10):
        await asyncio.wait([task])
    assert task.cancelled()


async def waits(monkeypatch: pytest.MonkeyPatch, *ends: bool | BaseException) -> list[float]:
    """How long a loop waits after each of its rounds that it waits after."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def wait_for(waiting: Coroutine[Any, Any, bool], seconds: float) -> None:
        waiting.close()
        slept.append(seconds)
        raise TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr("services.kit.background.asyncio.sleep", sleep)
        patched.setattr("services.kit.background.asyncio.wait_for", wait_for)
        await ran(Loop("test", Rounds(*ends), every=TEN_SECONDS))
    return slept


async def test_a_loop_rests_between_its_rounds_never_for_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = await waits(monkeypatch, *[False] * 50)
    assert all(8 <= seconds <= 12 for seconds in slept)
    assert len(set(slept)) == 50


async def test_a_loop_that_is_woken_does_not_rest_any_longer() -> None:
    begun = asyncio.Queue[None]()

    async def round_() -> bool:
        begun.put_nowait(None)
        return False

    loop = Loop("test", round_, every=timedelta(days=1))
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(10):
        for _ in range(3):
            await begun.get()
            loop.woken.set()
    await end([running])


async def test_a_loop_skips_the_pause_while_more_work_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await waits(monkeypatch, True, True) == []
    assert len(await waits(monkeypatch, True, False, True)) == 1


async def test_a_loop_that_fails_waits_longer_and_longer_up_to_a_limit_and_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.kit.background.random.uniform", lambda *_: 1.0)
    away: list[BaseException] = [QueueAway("away"), ConnectionFailed()]
    slept = await waits(monkeypatch, *away * 4, True, away[0])
    assert slept == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 0.2]


async def test_loops_that_fail_together_do_not_come_back_together(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = [(await waits(monkeypatch, QueueAway()))[0] for _ in range(20)]
    assert all(0.16 <= seconds <= 0.24 for seconds in slept)
    assert len(set(slept)) > 1


@pytest.mark.parametrize(
    "error",
    [
        KeyError("retryable"),
        SchemaBehind(),
        UnexpectedRollback(),
        DataCorrupt("jobs", "1", "status", "SUSPENDED"),
        # Of something inside, such as a channel that was closed: nobody has cancelled the loop.
        asyncio.CancelledError(),
        ExceptionGroup("some", [ValueError()]),
    ],
)
async def test_a_loop_survives_whatever_a_round_fails_with(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    assert len(await waits(monkeypatch, error, True, error, True)) == 2


async def test_a_loop_that_is_cancelled_while_it_backs_off_ends() -> None:
    failed = asyncio.Event()

    async def broken() -> bool:
        failed.set()
        raise KeyError

    running = asyncio.create_task(Loop("test", broken).run())
    async with asyncio.timeout(10):
        await failed.wait()
        await end([running])
    assert running.cancelled()


async def test_each_kind_of_failure_is_logged_once_and_a_defect_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.kit.background._about", lambda _: 0.0)
    ends = [ConnectionFailed(), ConnectionFailed(), KeyError("at"), ConnectionFailed(), QueueAway("away")]
    with capture_logs() as logs:
        await ran(Loop("one of many", Rounds(*ends, True, True, KeyError("at")), known=(QueueAway,)))
    assert [(one["event"], one["log_level"], one["loop"], "exc_info" in one) for one in logs] == [
        ("background_work_failing", "warning", "one of many", False),
        ("background_work_failing", "error", "one of many", True),
        ("background_work_failing", "warning", "one of many", False),
        ("background_work_recovered", "info", "one of many", False),
        ("background_work_failing", "error", "one of many", True),
    ]


async def test_whether_a_loop_fails_can_be_seen_in_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.kit.background._about", lambda _: 0.0)

    def metric(name: str) -> float | None:
        return REGISTRY.get_sample_value(f"innosystem_background_{name}", {"loop": "counted"})

    await ran(Loop("counted", Rounds(True, KeyError(), KeyError())))
    assert (metric("rounds_total"), metric("failures_total"), metric("failing")) == (4, 2, 1)
    await ran(Loop("counted", Rounds(True)))
    assert (metric("rounds_total"), metric("failures_total"), metric("failing")) == (6, 2, 0)


async def test_a_round_that_lasts_says_by_itself_that_all_is_well_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.kit.background._about", lambda _: 0.0)
    ends = [QueueAway(), QueueAway()]

    async def lasting() -> bool:
        if ends:
            raise ends.pop()
        loop.recovered()
        return await Rounds()()

    loop = Loop("lasting", lasting)
    with capture_logs() as logs:
        await ran(loop)
    assert [one["event"] for one in logs] == ["background_work_failing", "background_work_recovered"]


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    deaf = Deaf(1)

    async def broken() -> None:
        raise ValueError

    tasks = [asyncio.create_task(work) for work in (deaf(), broken(), asyncio.sleep(0))]
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await end(tasks)

    assert deaf.cancellations == 2
    assert all(task.done() for task in tasks)


async def test_a_part_that_swallows_a_cancellation_does_not_keep_the_others_together_for_ever() -> None:
    deaf = Deaf(1)

    async def lasting() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(together(deaf(), lasting()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await end([task])

    assert deaf.cancellations == 2


async def test_when_parts_have_ended_together_none_of_them_is_left() -> None:
    deaf = Deaf(2)

    async def obedient() -> None:
        await asyncio.Event().wait()

    # The other tasks must not be taken for the one that ends immediately.
    task = asyncio.create_task(together(deaf(), obedient()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await end([task])

    assert deaf.task is not None
    assert deaf.task.done()


async def test_the_failure_of_one_part_ends_all() -> None:
    ended = asyncio.Event()

    async def lasting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await together(lasting(), broken())
    async with asyncio.timeout(10):
        await ended.wait()


async def test_without_tasks_there_is_nothing_to_wait_for() -> None:
    await end([])
