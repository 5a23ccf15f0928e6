"""Failures of the runner's output never affect its jobs."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.integration.runner.conftest import RunnerStack
from tests.support.until import until

HANDLERS = """
import logging, sys
from innosystem.runner import JobError, handler

def talk(input):
    for _ in range(input["lines"]):
        logging.getLogger("mine").warning("x" * 1000)
        print("y" * 1000, flush=True)
        print("z" * 1000, file=sys.stderr)
    return "talked"

@handler("coroutine")
async def coroutine(input):
    return talk(input)

@handler("thread")
def thread(input):
    return talk(input)

@handler("process", process=True)
def process(input):
    return talk(input)

@handler("fails")
def fails(input):
    raise JobError("no such file: \\udcff", type="NO_FILE", retryable=False)
"""
# More than the capacity of a pipe, and less than the lines kept for a reader that resumes.
LINES = 200


@dataclass
class Output:
    """The file or pipe that a runner writes to."""

    target: BinaryIO
    reader: int | None = None

    def close_reader(self) -> None:
        if self.reader is not None:
            os.close(self.reader)
            self.reader = None

    def read(self) -> bytes:
        assert self.reader is not None
        data = b""
        with suppress(BlockingIOError):
            while more := os.read(self.reader, 65536):
                data += more
        return data


@pytest.fixture
def pipe() -> Iterator[Output]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    output = Output(os.fdopen(writer, "wb"), reader)
    yield output
    output.close_reader()
    output.target.close()


@pytest.fixture
def full() -> Iterator[Output]:
    with Path("/dev/full").open("wb") as target:
        yield Output(target)


@asynccontextmanager
async def program(world: RunnerStack, folder: Path, output: Output) -> AsyncIterator[asyncio.subprocess.Process]:
    (folder / "talkative.py").write_text(HANDLERS)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "innosystem.runner", "--handlers", "talkative"),
        cwd=folder,
        stdout=output.target,
        stderr=output.target,
        env={
            **os.environ,
            "JOBS_ADDRESS": world.addresses["jobs"],
            "WALLETS_ADDRESS": world.addresses["wallets"],
            "REDIS_URL": world.redis_url,
            "REDIS_KEY_PREFIX": world.key_prefix,
            "RUNNER_PROCESSES": "1",
            "RUNNER_LEASE_SECONDS": "2",
        },
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def work(world: RunnerStack, lines: int) -> None:
    """Run a job of each kind."""
    for handler in ("coroutine", "thread", "process"):
        job = await world.submit(handler, {"lines": lines})
        await world.all_done()
        assert job.output == "talked"
    failed = await world.submit("fails", {})
    await world.all_done()
    assert failed.error.type == "NO_FILE"
    assert len(world.wallets.charged) % 3 == 0


async def stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    async with asyncio.timeout(30):
        assert await process.wait() == 0


async def test_a_runner_whose_reader_is_gone_continues(world: RunnerStack, tmp_path: Path, pipe: Output) -> None:
    async with program(world, tmp_path, pipe) as process:
        await work(world, lines=1)
        pipe.close_reader()
        await work(world, lines=LINES)
        await stop(process)


async def test_a_runner_whose_reader_pauses_continues_and_writes_everything_when_it_resumes(
    world: RunnerStack, tmp_path: Path, pipe: Output
) -> None:
    async with program(world, tmp_path, pipe) as process:
        await work(world, lines=LINES)
        await work(world, lines=LINES)
        said = b""

        def drained() -> bool:
            nonlocal said
            said += pipe.read()
            return said.count(b'"event":"' + b"x" * 1000) == 6 * LINES

        await until(drained)
        await stop(process)


async def test_a_runner_whose_disk_is_full_continues(world: RunnerStack, tmp_path: Path, full: Output) -> None:
    async with program(world, tmp_path, full) as process:
        await work(world, lines=1)
        await work(world, lines=LINES)
        await stop(process)
