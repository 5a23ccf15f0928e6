"""Lists on a real terminal of 80 columns, and what --watch shows there and in a pipe."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO
from uuid import uuid4

import pytest

from innosystem.client import new_id
from tests.integration.tools.cli.conftest import Found
from tests.support.until import until_sync

ADA = "01990000-0000-7000-8000-000000000201"
WIDTH = 80
UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
START = re.compile(r"^[0-9a-f]{8}-[0-9a-f-]*[0-9a-f]  ")


@dataclass
class Terminal:
    """A terminal of 80 columns and 40 lines that a command runs on.

    Attributes:
        process: The command.
        shown: All that the command has written.
    """

    process: "subprocess.Popen[bytes]"
    shown: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown.decode(errors="replace")).replace("\r", "")

    def read(self, leader: int) -> None:
        with suppress(OSError):  # the end of what a closed terminal has
            while True:
                self.shown += os.read(leader, 65_536)


@contextmanager
def running(environment: dict[str, str], folder: Path, *arguments: str) -> Iterator[Terminal]:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, WIDTH, 0, 0))
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.cli", *arguments],
        cwd=folder,
        env={**own, **environment, "TERM": "xterm"},
        stdin=follower,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(follower)
    terminal = Terminal(process)
    reader = Thread(target=terminal.read, args=(leader,))
    reader.start()
    try:
        yield terminal
    finally:
        process.kill()
        process.wait(10)
        reader.join(10)
        os.close(leader)


def submit(found: Found, folder: Path, job_type: str, **fields: object) -> str:
    """Submit a job, and return its ID."""
    job_id = str(uuid4())
    line = {"job_type": job_type, "customer_id": ADA, "job_id": job_id, **fields}
    file = folder / f"{job_id}.jsonl"
    file.write_text(json.dumps(line))
    found("submit", str(file))
    return job_id


@pytest.fixture
def jobs(found: Found, tmp_path: Path) -> list[str]:
    """The IDs of a job that succeeds, one that fails with a long error, and one that waits for ever."""
    found("seed")
    name = f"a-type-with-a-long-name-{new_id()}"
    of_type = ("--standard-cost", "0EUR", "--queue", f"a-queue-with-a-long-name-{name[-12:]}")
    found("job-types", "create", "--name", name, "--processor-type", "ASYNC", *of_type)
    stats = "python.source-stats"
    ids = [
        submit(found, tmp_path, stats, input={"path": "a.py", "source": "x = 1\n"}, labels={"team": "blue"}),
        submit(found, tmp_path, stats, input={"path": "a-file-with-a-long-name.py", "source": "def\n"}),
        submit(found, tmp_path, name),
    ]
    ended = ("jobs", "list", "--filter", "status = SUCCEEDED OR status = FAILED")
    until_sync(lambda: {job["id"] for job in found(*ended)} >= set(ids[:2]))
    return ids


LISTS = [
    ("jobs", "list"),
    ("queue",),
    ("audit", "list", "customers"),
    ("audit", "list", "jobs"),
]


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_no_line_is_longer_than_the_terminal_and_no_id_is_broken(
    arguments: tuple[str, ...], platform_environment: dict[str, str], tmp_path: Path, jobs: list[str]
) -> None:
    with running(platform_environment, tmp_path, *arguments) as terminal:
        assert terminal.process.wait(60) == 0
        lines = terminal_lines(terminal)
    assert max(map(len, lines)) <= WIDTH, lines
    rows = lines[2:]
    assert rows
    if arguments[0] != "queue":
        # Queues have names.
        named = [row for row in rows if " queues " not in row]
        assert all((START if arguments[0] == "jobs" else UUID).search(row) for row in named), rows
    if arguments[0] == "audit":
        assert "actor" in lines[0]
        assert any("ipv4:127.0" in row for row in rows), rows
    if arguments == ("jobs", "list"):
        starts = [row.split()[0] for row in rows]
        assert all([job.startswith(start) for start in starts].count(True) == 1 for job in jobs)
        assert any("SyntaxErr" in row for row in rows)


def terminal_lines(terminal: Terminal) -> list[str]:
    until_sync(lambda: terminal.text.endswith("\n"))
    return terminal.text.splitlines()


def test_the_width_is_that_of_the_terminal_also_for_one_job(
    platform_environment: dict[str, str], tmp_path: Path, jobs: list[str]
) -> None:
    with running(platform_environment, tmp_path, "jobs", "show", jobs[1]) as terminal:
        assert terminal.process.wait(60) == 0
        lines = terminal_lines(terminal)
    assert max(map(len, lines)) <= WIDTH, lines
    assert any(jobs[1] in line for line in lines)
    assert any(line.split()[0] == "type" and "python.source-stats" in line for line in lines)
    assert any(line.split()[0] == "customer" and "Ada Example" in line for line in lines)


def test_a_watched_list_is_redrawn_when_a_job_changes(
    found: Found, platform_environment: dict[str, str], tmp_path: Path, jobs: list[str]
) -> None:
    of_job = ("--filter", f'id = "{jobs[2]}"')
    with running(platform_environment, tmp_path, "jobs", "list", *of_job, "--watch", "--interval", "0.5") as terminal:
        until_sync(lambda: "PENDING" in terminal.text, limit_seconds=60)
        found("jobs", "cancel", jobs[2])
        until_sync(lambda: "CANCELLED" in terminal.text, limit_seconds=60)
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.process.wait(60) == 130


def test_a_watched_job_ends_with_the_job(
    found: Found, platform_environment: dict[str, str], tmp_path: Path, jobs: list[str]
) -> None:
    with running(platform_environment, tmp_path, "jobs", "show", jobs[2], "--watch", "--interval", "0.5") as terminal:
        until_sync(lambda: "PENDING" in terminal.text, limit_seconds=60)
        found("jobs", "cancel", jobs[2])
        assert terminal.process.wait(60) == 0
    assert "CANCELLED" in terminal.text


@pytest.fixture
def piped(platform_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., IO[str]]]:
    """Run a command and return what it writes into a pipe."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> IO[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, **platform_environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        return process.stdout

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_a_pipe_gets_a_line_for_each_change_of_a_watched_list(
    found: Found, piped: Callable[..., IO[str]], jobs: list[str]
) -> None:
    of_job = ("--filter", f'id = "{jobs[2]}"')
    shown = piped("jobs", "list", *of_job, "--watch", "--interval", "0.5", "--json")
    assert json.loads(shown.readline())["status"] == "JOB_STATUS_PENDING"
    found("jobs", "cancel", jobs[2])
    assert json.loads(shown.readline())["status"] == "JOB_STATUS_CANCELLED"


def test_a_pipe_gets_the_titles_of_a_watched_list_once(
    found: Found, piped: Callable[..., IO[str]], jobs: list[str]
) -> None:
    of_job = ("--filter", f'id = "{jobs[2]}"')
    shown = piped("jobs", "list", *of_job, "--watch", "--interval", "0.5")
    assert shown.readline().startswith("id ")
    assert shown.readline().startswith("──")
    assert "PENDING" in shown.readline()
    found("jobs", "cancel", jobs[2])
    assert "CANCELLED" in shown.readline()


def test_a_pipe_gets_the_changes_of_a_watched_queue(
    found: Found, piped: Callable[..., IO[str]], jobs: list[str]
) -> None:
    queue = found("jobs", "show", jobs[2])["queue"]
    shown = piped("queue", queue, "--watch", "--interval", "0.5", "-o", "jsonl")
    waiting = [json.loads(shown.readline()) for _ in range(3)]
    assert sum(each["waiting"] for each in waiting) == 1
    found("jobs", "cancel", jobs[2])
    assert json.loads(shown.readline())["waiting"] == 0


def test_a_refund_is_shown_with_the_job_that_was_charged(found: Found, jobs: list[str]) -> None:
    until_sync(lambda: found("jobs", "show", jobs[0])["billing_status"] == "BILLING_STATUS_CHARGED")
    assert found("jobs", "show", jobs[0])["refunded_cents"] == 0
    found("wallets", "refund", "--job-id", jobs[0], "--all", "--yes")
    job = found("jobs", "show", jobs[0])
    assert job["billing_status"] == "BILLING_STATUS_CHARGED"
    assert job["refunded_cents"] == job["cost_cents"] > 0
    kinds = [line["kind"].removeprefix("TRANSACTION_KIND_") for line in job["transactions"]]
    assert kinds == ["DEDUCTION", "REFUND"]


def test_the_text_of_a_job_says_what_was_refunded(found: Found, piped: Callable[..., IO[str]], jobs: list[str]) -> None:
    until_sync(lambda: found("jobs", "show", jobs[0])["billing_status"] == "BILLING_STATUS_CHARGED")
    found("wallets", "refund", "--job-id", jobs[0], "--all", "--yes")
    pairs = dict(line.split(maxsplit=1) for line in piped("jobs", "show", jobs[0]) if not line.startswith(" "))
    assert pairs["billing"].strip() == "CHARGED"
    assert pairs["refunded"].strip() == "0.02 EUR"
