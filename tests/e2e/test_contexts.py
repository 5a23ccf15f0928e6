"""Commands in other terminals find the stack of `innosystem up` without any settings."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import SETTINGS, children, command, ended, started
from tests.e2e.processes import PROJECT
from tests.support.until import until_sync
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ADA = "01990000-0000-7000-8000-000000000201"
HANDLERS = """
from innosystem.runner import handler

@handler("greet")
async def greet(input: dict) -> dict:
    return {"greeting": f"Hello, {input['name']}!"}
"""


def on_a_terminal(cwd: Path, *arguments: str) -> tuple[str, str]:
    """Run a command whose standard error is a terminal; return what it prints, and what the terminal shows."""
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", *arguments],
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
        check=True,
        timeout=60,
    )
    os.close(slave)
    try:
        shown = os.read(master, 10_000)
    except OSError:
        # A terminal that nobody writes to any more, and that shows nothing.
        shown = b""
    finally:
        os.close(master)
    return done.stdout, shown.decode().replace("\r\n", "\n")


def ran(cwd: Path, *arguments: str) -> str:
    """Run a command that must succeed, without any settings; return what it printed."""
    process = command(*arguments, cwd=cwd)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 0, printed + said
    return printed


def test_two_stacks_beside_each_other_are_told_apart_and_a_runner_needs_no_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    try:
        first, addresses = started(one, tmp_path)
        assert on_a_terminal(tmp_path, "jobs", "list", "--json") == ("[]\n", "")
        second, others = started(two, tmp_path)
        assert on_a_terminal(tmp_path, "jobs", "list", "--json") == ("[]\n", f"context one ({addresses['jobs']})\n")
        assert "ok: all books fit together" in ran(tmp_path, "verify", "--context", "two")

        (tmp_path / "my_handlers.py").write_text(HANDLERS)
        run = ("--context", "two", "run", "--handlers", "my_handlers.py", "--queue", "greetings")
        runner = command(*run, cwd=tmp_path, LOG_FORMAT="json")
        create = ("job-types", "create", "--name", "greet", "--standard-cost-cents", "5", "--queue", "greetings")
        ran(tmp_path, *create, "--context", "two")
        (tmp_path / "jobs.jsonl").write_text(json.dumps({"job_type": "greet", "input": {"name": "Ada"}}))
        submit = ("submit", "jobs.jsonl", "--customer-id", ADA, "--wait", "--json", "--context", "two")
        assert json.loads(ran(tmp_path, *submit))["ended"] == {"SUCCEEDED": 1}
        runner.terminate()
        assert ended(runner) == 0
        assert json.loads(ran(tmp_path, "jobs", "list", "--json", "--context", "one")) == []

        # The databases of a stack lead to it, whichever context is the current one.
        urls = [line for line in (two / "stack.env").read_text().splitlines() if "_DATABASE_URL=" in line]
        (tmp_path / ".env").write_text("\n".join(urls))
        assert len(json.loads(ran(tmp_path, "jobs", "list", "--json"))) == 1
        assert json.loads(ran(tmp_path, "status", "--json"))["platform"] == f"context two ({others['jobs']})"
        (tmp_path / ".env").unlink()

        first.send_signal(signal.SIGINT)
        assert ended(first) == 0
        refused = command("jobs", "list", cwd=tmp_path)
        _, said = refused.communicate(timeout=60)
        assert refused.returncode == 1
        assert f"the stack of the context one is stopped: start it, `innosystem up --folder {one}`" in said
        second.kill()
        ended(second)
        until_sync(lambda: not children(two))
        states = {row["name"]: row["state"] for row in json.loads(ran(tmp_path, "context", "list", "--json"))}
        assert states == {"default": "", "one": "stopped", "two": "stopped"}
    finally:
        for folder in (one, two):
            for process in children(folder):
                process.kill()
            EmbeddedPostgres(folder).stop(mode="immediate")
            EmbeddedRedis(folder).stop()
