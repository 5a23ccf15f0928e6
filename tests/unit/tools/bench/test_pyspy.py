"""Sampling processes from outside."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.bench.profile import pyspy, stacks
from tools.errors import CommandError

SOURCE = "def busy():\n    while True:\n        pass\nprint('up', flush=True)\nbusy()\n"
SECONDS_MAX = 30.0


@pytest.fixture
def busy() -> Iterator[int]:
    """A process with something to do."""
    with subprocess.Popen([sys.executable, "-c", SOURCE], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        child.kill()


def program(folder: Path, script: str) -> Path:
    """A program in place of py-spy."""
    file = folder / "py-spy"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def may_look() -> bool:
    """Whether this user may look into other processes of its own."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


@pytest.mark.skipif(sys.platform != "linux" or not may_look(), reason="takes the right to look into processes")
async def test_the_stacks_of_a_process_are_whole_after_the_block(busy: int, tmp_path: Path) -> None:
    async with pyspy.sampling(pyspy.py_spy(), {"a/1": busy}, tmp_path) as files:
        limit, begin = time.monotonic() + SECONDS_MAX, time.process_time()
        # Until the other has had time to be seen: this one works as long.
        while time.process_time() - begin < 0.3:
            assert time.monotonic() < limit
    assert files == {"a/1": tmp_path / "a-1.txt"}
    with files["a/1"].open() as lines:
        profile = stacks.read(lines)
    assert profile.functions["busy (<string>)"] > 0
    assert not files["a/1"].with_suffix(".log").exists()


async def test_who_may_not_look_is_told_what_to_do(tmp_path: Path) -> None:
    refusing = program(tmp_path, "echo 'Permission Denied: Try running again with elevated permissions' >&2; exit 1")
    with pytest.raises(CommandError, match=r"run this as root, or .*ptrace_scope=0"):
        async with pyspy.sampling(refusing, {"a": os.getpid()}, tmp_path):
            pytest.fail("nothing can be sampled")


async def test_another_failure_is_told_in_py_spys_words(tmp_path: Path) -> None:
    failing = program(tmp_path, "echo; echo 'Error: no python here'; echo 'Stack backtrace:'; exit 1")
    with pytest.raises(CommandError, match=r"can't sample a process of the stack: Error: no python here$"):
        async with pyspy.sampling(failing, {"a": os.getpid()}, tmp_path):
            pytest.fail("nothing can be sampled")


async def test_stacks_that_were_not_written_are_an_error(tmp_path: Path) -> None:
    forgetful = program(tmp_path, "echo 'Sampling process 100 times a second'; trap 'exit 0' INT; while :; do :; done")
    with pytest.raises(CommandError, match="can't sample"):
        async with pyspy.sampling(forgetful, {"a": os.getpid()}, tmp_path):
            pass


def test_a_missing_py_spy_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="extra `dev`"):
        pyspy.py_spy()
