"""Processes of the local stack: their logs, and what is shown of them."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from tools.local import child as child_module
from tools.local.child import Child, StackError

PROJECT = Path(__file__).resolve().parents[4]


def child(folder: Path, program: str) -> Child:
    """A child that runs a program, given as its source."""
    (folder / "program.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{folder}", "PYTHONUNBUFFERED": "1"}
    return Child("jobs", "program", [], environment, folder / "jobs.log")


def run(started: Child) -> None:
    async def run() -> None:
        await started.start()
        await started.wait()

    asyncio.run(run())


def test_a_start_adds_to_the_log_of_the_crashed_run_after_a_line_that_marks_it(tmp_path: Path) -> None:
    for text in ("first", "second"):
        run(child(tmp_path, f"print('{text} run')"))
    lines = (tmp_path / "jobs.log").read_text().splitlines()
    assert lines[1::2] == ["first run", "second run"]
    assert all(re.fullmatch(r"---- jobs starts at \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ ----", line) for line in lines[::2])


def test_an_event_of_the_run_before_does_not_count(tmp_path: Path) -> None:
    run(child(tmp_path, """print('{"event":"serving"}')"""))
    again = child(tmp_path, "")
    with pytest.raises(StackError, match="jobs ended with exit status 0"):
        asyncio.run(_serving(again))


async def _serving(started: Child) -> None:
    await started.start()
    await started.wait_for_event("serving")


def test_a_large_log_is_moved_and_what_the_running_process_writes_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "_LOG_BYTES_MAX", 1000)
    (tmp_path / "jobs.log").write_text("old\n" * 400)
    started = child(tmp_path, "print('new ' * 400)")
    run(started)
    assert (tmp_path / "jobs.log.1").read_text() == "old\n" * 400
    started.bound_log()
    assert (tmp_path / "jobs.log.1").read_text().endswith("new \n")
    assert (tmp_path / "jobs.log").read_text() == ""


def test_of_a_process_that_died_its_errors_are_shown_and_not_its_calls(tmp_path: Path) -> None:
    call = '{"event":"call","level":"info","code":"OK"}'
    error = '{"event":"loop_failed","level":"error","error":"no space left","timestamp":"2026-11-29T01:00:00Z"}'
    started = child(tmp_path, f"print('{error}')\nfor _ in range(50): print('{call}')\nraise OSError('disk full')")
    run(started)
    shown = str(started.ended())
    assert shown.startswith("jobs ended with exit status 1; its last errors in ")
    assert "error   loop_failed error=no space left" in shown
    assert "OSError: disk full" in shown
    assert '"call"' not in shown


def test_of_a_process_that_stood_still_the_cause_is_one_sentence(tmp_path: Path) -> None:
    started = child(
        tmp_path,
        "import faulthandler, time\nfaulthandler.dump_traceback_later(0.1, exit=True)\ntime.sleep(60)",
    )
    run(started)
    shown = str(started.ended())
    assert re.match(r"jobs ended with exit status 1: its event loop was blocked for 0:00:00\.1\d*, by a handler", shown)
    assert "because the process was stopped" in shown
    assert str(tmp_path / "jobs.log") in shown
    assert "\n" not in shown


def test_of_a_process_that_was_killed_the_signal_and_the_last_lines_are_shown(tmp_path: Path) -> None:
    call = '{"event":"call","level":"info","code":"OK"}'
    kill = "import os; os.kill(os.getpid(), 9)"
    started = child(tmp_path, f"""print('{{"event":"serving","level":"info"}}')\nprint('{call}')\n{kill}""")
    run(started)
    shown = str(started.ended())
    assert "jobs ended with exit status -9 (SIGKILL); the end of " in shown
    assert '"event":"serving"' in shown
    assert '"call"' not in shown
