"""`innosystem dev`, as an author of handlers uses it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from dotenv import dotenv_values

from innosystem.client import Innosystem, token_of
from tests.e2e.commands import children, command, ended, started
from tests.e2e.processes import PROJECT
from tests.support.until import until, until_sync
from tools.dev.advice import advice
from tools.dev.job_types import job_type_for
from tools.dev.runner import DevRunner
from tools.dev.templates import EXAMPLE
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis
from tools.local.log_text import parse

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GREET = """
from helper import GREETING
from innosystem.runner import handler


@handler("greet")
def greet(input: dict) -> dict:
    print(f"greeting {input['name']}")
    return {"greeting": f"{GREETING}, {input['name']}!"}
"""
UNTYPED = EXAMPLE.replace("guest: Guest", "guest").replace("guest.name", "guest")
START_SECONDS = 90


class Dev:
    """A session of `innosystem dev` with what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._printed: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(stream,)) for stream in (process.stdout, process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            self._printed.extend(stream)

    @property
    def printed(self) -> str:
        """Everything so far."""
        return "".join(self._printed)

    def shows(self, text: str, times: int = 1) -> None:
        """Wait for a text."""
        until_sync(
            lambda: self.printed.count(text) >= times or self.process.poll() is not None,
            START_SECONDS,
            context=lambda: self.printed,
        )
        assert self.printed.count(text) >= times, self.printed

    def stop(self) -> int:
        """Press Ctrl-C; return the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(60)

    def close(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait(60)
        for reader in self._readers:
            reader.join(60)


@pytest.fixture
def dev(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    """Start sessions of `innosystem dev`, which are ended after the test."""
    started = []

    def start(*arguments: str | Path, cwd: Path = tmp_path, **settings: str) -> Dev:
        process = command("dev", *arguments, "--folder", folder, "--free-ports", cwd=cwd, **settings)
        started.append(session := Dev(process))
        return session

    yield start
    for session in started:
        session.close()


@pytest.fixture
def submit(folder: Path, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Submit a job by `innosystem dev submit`; return the exit status and what was printed on both streams."""

    def run(job_type: str, given: Any) -> tuple[int, str, str]:
        process = command("dev", "submit", job_type, json.dumps(given), "--folder", folder, cwd=tmp_path)
        printed, said = process.communicate(timeout=60)
        return process.returncode, printed, said

    return run


Start = Callable[..., Dev]
Submit = Callable[..., tuple[int, str, str]]


def test_a_handler_is_run_and_charged_and_each_saved_change_counts(
    dev: Start, submit: Submit, folder: Path, tmp_path: Path
) -> None:
    handlers, helper = tmp_path / "elsewhere" / "my_handlers.py", tmp_path / "elsewhere" / "helper.py"
    handlers.parent.mkdir()
    (cwd := tmp_path / "project").mkdir()
    handlers.write_text(GREET)
    helper.write_text("GREETING = 'Hello'\n")
    # The settings of another platform must not lead there.
    others = {"JOBS_DATABASE_URL": "postgresql://nowhere/jobs", "RUNNER_QUEUES": "others"}
    session = dev(handlers, "--price", "0.05EUR", cwd=cwd, **others)
    session.shows("dev submit greet")
    assert submit("greet", {"name": "Ada"}) == (
        0,
        '{"greeting": "Hello, Ada!"}\n0.05 EUR charged to Ada, 99.95 EUR left\n',
        "",
    )
    session.shows("greeting Ada")
    session.shows("ms, 0.05 EUR charged")

    helper.write_text("GREETING = 'Good evening'\n")
    session.shows("is running:", times=2)
    assert submit("greet", {"name": "Ada"})[1].startswith('{"greeting": "Good evening, Ada!"}\n0.05 EUR charged')

    handlers.write_text(GREET + "\nimport missing_module\n")
    session.shows("The runner could not start.")
    session.shows(f'File "{handlers}", line {GREET.count(chr(10)) + 2}, in <module>')
    session.shows("ModuleNotFoundError: No module named 'missing_module'")
    waiting = command("dev", "submit", "greet", '{"name": "Bob"}', "--folder", folder, cwd=tmp_path)
    assert waiting.stderr is not None
    assert "No runner has taken the job yet" in waiting.stderr.readline()
    handlers.write_text(GREET)
    printed, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, printed.splitlines()[0]) == (0, '{"greeting": "Good evening, Bob!"}')

    status, printed, said = submit("greet", {})
    assert (status, printed) == (1, "")
    assert said.startswith(
        "innosystem: KeyError: 'name' (elsewhere/my_handlers.py:8, in greet)\nnothing charged to Ada"
    )
    session.shows(f'File "{handlers}", line 8, in greet')
    session.shows("failed in")

    assert session.stop() == 0
    assert children(folder) == []
    assert not EmbeddedPostgres(folder).running
    assert not EmbeddedRedis(folder).running


def test_a_stack_of_up_is_used_and_stays(dev: Start, submit: Submit, folder: Path, tmp_path: Path) -> None:
    ports = ["--customers-port", "0", "--wallets-port", "0", "--jobs-port", "0"]
    up = command("up", "--folder", folder, *ports, "--json", cwd=tmp_path)
    assert up.stdout is not None
    assert up.stdout.readline()
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "helper.py").write_text("GREETING = 'Hello'\n")
    (tmp_path / "pkg" / "work.py").write_text(GREET.replace("from helper", "from .helper"))
    session = dev("pkg/work.py")
    session.shows("dev submit greet")
    assert f"Uses the stack that process {up.pid} runs" in session.printed
    assert submit("greet", {"name": "Ada"})[:2] == (
        0,
        '{"greeting": "Hello, Ada!"}\n0.01 EUR charged to Ada, 99.99 EUR left\n',
    )
    assert session.stop() == 0
    assert len(children(folder)) == 4

    session = dev("pkg/work.py")
    session.shows("is running:")
    up.terminate()
    assert ended(up) == 0
    assert session.process.wait(60) == 1


def stack_settings(folder: Path) -> dict[str, str]:
    """The settings for programs that work with a stack."""
    return {name: str(value) for name, value in dotenv_values(folder / "stack.env").items()}


BLOCKING = """
import time
from innosystem.runner import handler


@handler("block")
async def block(input: None) -> None:
    time.sleep(60)
"""


def test_the_queues_of_job_types_that_exist_are_served(dev: Start, folder: Path, tmp_path: Path) -> None:
    handlers = tmp_path / "my_handlers.py"
    handlers.write_text(UNTYPED.replace('"greet"', '"other"'))
    session = dev(handlers)
    session.shows("is running:")
    for queue in ("greetings", "elsewhere"):
        created = command(
            *(
                "job-types",
                "create",
                "--name",
                f"greet-{queue}",
                "--processing-logic-id",
                "greet",
                "--standard-cost",
                "0.04EUR",
            ),
            *("--queue", queue),
            cwd=tmp_path,
            **stack_settings(folder),
        )
        assert created.communicate(timeout=60)[1] == ""
    waiting = command("dev", "submit", "greet-greetings", "--folder", folder, cwd=tmp_path)
    assert waiting.stderr is not None
    assert "No runner has taken the job yet" in waiting.stderr.readline()
    assert "1 job waits in greetings, and no runner takes from it" in waiting.stderr.readline()
    handlers.write_text(UNTYPED)
    assert waiting.communicate(timeout=60)[0].splitlines()[0] == '{"greeting": "Hello, None!"}'
    assert session.printed.count("is running:") == 2

    second = command("dev", handlers, "--folder", folder, cwd=tmp_path)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert f"process {session.process.pid} runs handlers on the stack in {folder} already" in said


async def test_a_handler_that_blocks_the_loop_is_named_and_the_new_start_is_shown(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "my_handlers.py").write_text(BLOCKING)
    stack, addresses = await asyncio.to_thread(started, folder, tmp_path, "--runners", "0")
    shown: list[str] = []
    announced: list[Sequence[str]] = []
    async with Innosystem(**addresses, token=token_of(stack_settings(folder))) as platform:

        async def queues(_: Sequence[str]) -> list[str]:
            await job_type_for(platform, "block", 1, "EUR")
            return []

        async def ready(handlers: Sequence[str]) -> None:
            announced.append(handlers)

        def show(line: str) -> None:
            shown.append(advice(parse(line) or {"event": line}) or "")

        settings = {**os.environ, **stack_settings(folder), "RUNNER_BLOCKED_SECONDS": "2"}
        runner = DevRunner(
            tmp_path / "my_handlers.py",
            logs=folder / "logs",
            settings=settings,
            show=show,
            queues=queues,
            ready=ready,
            ended=shown.append,
        )
        running = asyncio.create_task(runner.run())
        await until(lambda: announced or running.done(), START_SECONDS)
        waiting = command("dev", "submit", "block", "--folder", folder, cwd=tmp_path)
        try:
            await until(lambda: len(announced) > 1 or running.done(), START_SECONDS)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            for process in (waiting, stack):
                process.terminate()
                process.communicate(timeout=60)
    said = "\n".join(shown)
    assert "The handler block (job " in said
    assert "kept the event loop from running for 2 s" in said
    assert "The runner starts anew: a handler blocked the event loop." in said
    assert announced == [["block"], ["block"]]


@pytest.mark.parametrize(
    ("given", "said", "status"),
    [
        ("README.md", "README.md is not a Python file: the name of a file with handlers ends in .py", 2),
        ("my_handlers", "there is no file my_handlers; did you mean my_handlers.py?", 1),
    ],
)
def test_a_file_that_holds_no_handlers_is_refused_at_once(tmp_path: Path, given: str, said: str, status: int) -> None:
    (tmp_path / "README.md").touch()
    (tmp_path / "my_handlers.py").touch()
    refused = command("dev", given, cwd=tmp_path)
    assert said in refused.communicate(timeout=60)[1]
    assert refused.returncode == status


def test_a_job_that_no_stack_could_take_is_refused_with_advice(submit: Submit, folder: Path) -> None:
    status, _, said = submit("greet", {})
    assert status == 1
    assert f"no stack is running in {folder}: start one in another terminal" in said


def test_the_commands_of_the_readme_lead_from_nothing_to_a_charge(
    tmp_path: Path, dev: Start, submit: Submit, folder: Path
) -> None:
    refused = command("dev", "my_handlers.py", cwd=tmp_path)
    _, said = refused.communicate(timeout=60)
    assert refused.returncode == 1
    assert f"there is no file my_handlers.py. --new writes this example there:\n\n{EXAMPLE}" in said
    assert list(tmp_path.iterdir()) == []

    session = dev("--new", "my_handlers.py")
    session.shows("""dev submit greet '{"name": "Ada"}'""")
    assert (tmp_path / "my_handlers.py").read_text() == EXAMPLE
    shown = re.findall(r"my_handlers.py is running:\n +greet +0.01 EUR a job\n", session.printed)
    _, printed, _ = submit("greet", {"name": "Ada"})
    _, _, failure = submit("greet", {})
    handlers_page = (PROJECT / "docs/handlers.md").read_text()
    for text in ((PROJECT / "README.md").read_text(), handlers_page):
        assert "$ .venv/bin/innosystem dev --new my_handlers.py\n" in text
        assert shown[0] in text
        assert f"""$ .venv/bin/innosystem dev submit greet '{{"name": "Ada"}}'\n{printed}""" in text
    assert f"```python\n{EXAMPLE}```" in handlers_page
    assert f"$ .venv/bin/innosystem dev submit greet '{{}}'\n{failure}" in handlers_page
    assert session.stop() == 0
