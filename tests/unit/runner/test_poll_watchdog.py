"""A runner that has room must poll; one that is full, frozen or without Redis is excused."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from innosystem.runner.poll_watchdog import NotPolling, PollWatchdog
from tests.support.until import until

LIMIT_SECONDS = 10


def watchdog(
    *, limit_seconds: float = 0.2, has_room: Callable[[], bool] = lambda: True, health_file: Path | None = None
) -> PollWatchdog:
    return PollWatchdog(limit_seconds=limit_seconds, has_room=has_room, health_file=health_file)


@contextmanager
def running(watched: PollWatchdog) -> Iterator["asyncio.Task[None]"]:
    task = asyncio.create_task(watched.run())
    try:
        yield task
    finally:
        task.cancel()


async def test_a_runner_with_room_that_does_not_poll_is_reported() -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        with pytest.raises(NotPolling, match="No poll"):
            await watchdog().run()


async def test_a_runner_that_polls_is_not_reported() -> None:
    watched = watchdog(limit_seconds=0.2)
    until = time.monotonic() + 0.6
    with running(watched) as task:
        while time.monotonic() < until:
            watched.polled()
            await asyncio.sleep(0)
        assert not task.done()


async def test_a_runner_without_room_is_not_reported_until_it_has_room_again() -> None:
    room = False
    asked = 0

    def has_room() -> bool:
        nonlocal asked
        asked += 1
        return room

    async with asyncio.timeout(LIMIT_SECONDS):
        with running(watchdog(has_room=has_room)) as task:
            # A tick is a quarter of the limit: these are three times as long.
            await until(lambda: asked >= 12)
            assert not task.done()
            room = True
            with pytest.raises(NotPolling):
                await task


async def test_time_in_which_the_event_loop_stood_still_does_not_count() -> None:
    watched = watchdog(limit_seconds=0.4)
    with running(watched) as task:
        await asyncio.sleep(0)
        time.sleep(1.0)  # noqa: ASYNC251 - like a handler that keeps the loop busy
        # By now the overdue tick runs before this task, and before the poll that it delayed.
        await asyncio.sleep(0.01)
        assert not task.done()


async def test_polls_set_the_time_of_the_health_file(tmp_path: Path) -> None:
    health_file = tmp_path / "polled"
    watched = watchdog(health_file=health_file)

    watched.polled()

    assert time.time() - health_file.stat().st_mtime < LIMIT_SECONDS


async def test_the_health_file_is_touched_at_most_once_a_second(tmp_path: Path) -> None:
    health_file = tmp_path / "polled"
    watched = watchdog(health_file=health_file)
    watched.polled()
    os.utime(health_file, (1, 1))
    began = time.monotonic()

    def touched() -> bool:
        watched.polled()
        return health_file.stat().st_mtime != 1

    await until(touched)
    assert time.monotonic() - began > 0.9


async def test_a_full_runner_sets_the_time_of_the_health_file_as_well(tmp_path: Path) -> None:
    health_file = tmp_path / "polled"
    with running(watchdog(has_room=lambda: False, health_file=health_file)):
        await until(health_file.exists)


async def test_a_health_file_that_can_not_be_touched_is_logged_once_and_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innosystem.runner.poll_watchdog._TOUCH_SECONDS", 0.0)
    watched = watchdog(health_file=tmp_path / "no such folder" / "polled")
    with structlog.testing.capture_logs() as lines:
        watched.polled()
        watched.polled()

    assert [line["event"] for line in lines] == ["health_file_not_touched"]
