"""The protocol between the bench and processes that generate load."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tools.bench.load.load_process import LoadProcess
from tools.errors import CommandError

ROOT = Path(__file__).parents[4]
DOUBLE = """
from tools.bench.load import listener
task = listener.read_task()
listener.wait_for_go()
listener.send({"doubled": task["number"] * 2})
"""


def load_process(source: str, folder: Path, task: Mapping[str, Any]) -> LoadProcess:
    """Return a load process that runs a source."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return LoadProcess([sys.executable, "-c", source], task, environment, folder / "doubler.log")


async def test_a_process_receives_its_task_gets_ready_begins_and_sends_its_result(tmp_path: Path) -> None:
    async with load_process(DOUBLE, tmp_path, {"number": 21}) as doubler:
        assert await doubler.go() == {"doubled": 42}


async def test_a_process_that_fails_before_it_is_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"doubler ended with exit status 1:\n(.*\n)*.*KeyError: 'number'"):
        async with load_process(DOUBLE.replace("listener.wait_for_go()", "task['number']"), tmp_path, {}):
            pytest.fail("it can not be ready")


async def test_a_process_that_fails_at_work_is_named_with_its_last_words(tmp_path: Path) -> None:
    async with load_process(DOUBLE, tmp_path, {}) as doubler:
        with pytest.raises(CommandError, match=r"doubler ended with exit status 1:\n(.*\n)*.*KeyError: 'number'"):
            await doubler.go()


async def test_a_process_that_is_not_let_go_is_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    source = f"import os, pathlib; pathlib.Path({str(pids)!r}).write_text(str(os.getpid()))\n{DOUBLE}"
    async with load_process(source, tmp_path, {"number": 1}):
        os.kill(int(pids.read_text()), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.read_text()), 0)
