"""A runner describes itself: at its start, while it works and stops, and at its end."""

import asyncio
import os
import platform
import socket
from importlib.metadata import version

import pytest

from innosystem.jobs.v1.runner_pb2 import (
    RUNNER_STATE_ACTIVE,
    RUNNER_STATE_STOPPED,
    RUNNER_STATE_STOPPING,
    RunnerInfo,
)
from innosystem.runner import announcer
from innosystem.runner.runner import Runner
from tests.integration.runner.conftest import RunnerStack
from tests.support.until import until


def said(world: RunnerStack) -> list[RunnerInfo]:
    return [one.info for one in world.jobs.announced]


def states(world: RunnerStack) -> list[int]:
    return [one.state for one in said(world)]


async def test_a_runner_describes_itself_when_it_starts_and_says_when_it_stops_and_ends(world: RunnerStack) -> None:
    async with world.running(runner_concurrency=7, runner_processes=2, runner_queues=("a", "b")) as runner:
        await until(lambda: bool(world.jobs.announced))
    first, last = world.jobs.announced[0], world.jobs.announced[-1]
    assert (first.runner_id, list(first.queues)) == (runner.runner_id, ["a", "b"])
    info = first.info
    assert (info.host, info.process_id) == (socket.gethostname(), os.getpid())
    assert (info.version, info.language) == (version("innosystem-runner"), f"python {platform.python_version()}")
    assert (info.slots, info.busy, info.processes, info.state) == (7, 0, 2, RUNNER_STATE_ACTIVE)
    assert last.info.state == RUNNER_STATE_STOPPED
    assert last.info.uptime.ToNanoseconds() > info.uptime.ToNanoseconds() >= 0
    assert {one.runner_id for one in world.jobs.announced} == {runner.runner_id}


async def test_a_runner_that_drains_says_so_immediately_and_repeats_it_with_what_is_left(
    world: RunnerStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def hold(input: object) -> None:
        await release.wait()

    world.registry.add("hold", hold)
    job = await world.submit("hold")
    async with Runner.open(world.settings(), world.registry) as runner:
        task = asyncio.create_task(runner.run())
        await until(lambda: job.lease_id != "")
        assert states(world) == [RUNNER_STATE_ACTIVE]
        monkeypatch.setattr(announcer, "_EVERY_SECONDS", 0.01)
        runner.stop()
        await until(lambda: states(world).count(RUNNER_STATE_STOPPING) > 2)
        assert said(world)[-1].busy == 1
        release.set()
        assert await task
    assert states(world)[-1] == RUNNER_STATE_STOPPED
    assert said(world)[-1].busy == 0
    assert RUNNER_STATE_ACTIVE not in states(world)[1:]


async def test_a_runner_says_how_many_of_its_slots_are_busy(
    world: RunnerStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "_EVERY_SECONDS", 0.01)
    release = asyncio.Event()

    async def hold(input: object) -> None:
        await release.wait()

    world.registry.add("hold", hold)
    for _ in range(3):
        await world.submit("hold")
    async with world.running():
        await until(lambda: bool(said(world)) and said(world)[-1].busy == 3)
        release.set()
        await until(lambda: said(world)[-1].busy == 0)


async def test_a_runner_ends_although_the_service_hangs_or_is_gone(
    world: RunnerStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcer, "_END_SECONDS", 0.05)
    async with world.running():
        await until(lambda: bool(world.jobs.announced))
        world.jobs.announcing.clear()
    world.jobs.announcing.set()
    assert states(world)[-1] == RUNNER_STATE_STOPPED
