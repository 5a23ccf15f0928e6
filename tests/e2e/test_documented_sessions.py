"""The sessions and programs that a page says are run: ```` ```console run ````, as a reader would type them.

A page is one session: its blocks are run in their order, in one folder, beside a fresh local stack. A Python block that
begins with the name of a file is that file, any other is a program.
"""

import errno
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.e2e.commands import children, ended, started
from tests.e2e.processes import PROJECT
from tests.support.documents import Block, Document, pages
from tests.support.sessions import Step, steps
from tests.support.until import until_sync
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAGES = [page for page in pages() if any(block.runs for block in page.blocks)]
_DEFAULT_PORTS = {"50051": "customers", "50052": "wallets", "50053": "jobs"}
_SETTINGS = ("CUSTOMERS_", "WALLETS_", "JOBS_", "REDIS_", "RUNNER_", "INNOSYSTEM_", "LOG_")
# Without colours, and wide enough for the tables of the pages.
_TERMINAL = {"TERM": "dumb", "COLUMNS": "100", "LINES": "50"}


class Session:
    """A shell in a folder, beside a stack.

    Args:
        folder: The working directory.
        addresses: The addresses of the stack's services, which take the place of the default ones.
        settings: The settings of its databases and of Redis.
    """

    def __init__(self, folder: Path, addresses: dict[str, str], settings: dict[str, str]) -> None:
        self._folder = folder
        self._addresses = addresses
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        self._environment = {
            **environment,
            "PATH": path,
            "HOME": str(folder),
            "PYTHONPATH": str(PROJECT),
            **_TERMINAL,
            **settings,
        }
        for service, address in addresses.items():
            self._environment[f"{service.upper()}_ADDRESS"] = address
        self._background: list[subprocess.Popen[bytes]] = []

    def run(self, step: Step) -> str:
        """Run a command; return how what it printed differs from what is shown, if anything is.

        A command for which nothing is shown must succeed. One that ends with `&`, or is a runner, keeps running.
        """
        command = re.sub(r"localhost:(5005[123])", lambda port: self._addresses[_DEFAULT_PORTS[port[1]]], step.command)
        keeps_running = command.endswith("&") or command.startswith("innosystem run ")
        if keeps_running:
            self._background.append(self._start(f"exec {command.removesuffix('&')}", subprocess.DEVNULL))
            # All of them are runners. The stack has one as well.
            runners = len(self._background) + 1
            until_sync(lambda: len(self._printed("innosystem runners -o name")[1].split()) == runners, limit_seconds=60)
            return ""
        status, printed = self._printed(command)
        difference = step.differs(printed) if step.output else "" if status == 0 else "(success)"
        return difference and f"$ {step.command}\nshown, and not printed: {difference}\nprinted:\n{printed}"

    def _start(self, command: str, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL if output == subprocess.DEVNULL else subprocess.PIPE,
        )

    def _printed(self, command: str) -> tuple[int, str]:
        """Run a command with its standard output on a terminal, as a reader has it; return its status and output."""
        leader, terminal = os.openpty()
        tty.setraw(terminal)
        process = self._start(command, terminal)
        os.close(terminal)
        limit = threading.Timer(120, process.kill)
        limit.start()
        printed = b""
        with process, selectors.DefaultSelector() as outputs:
            assert process.stderr is not None
            for output in (leader, process.stderr.fileno()):
                outputs.register(output, selectors.EVENT_READ)
            while outputs.get_map():
                for key, _ in outputs.select():
                    piece = _read(key.fd)
                    printed += piece
                    if not piece:
                        outputs.unregister(key.fd)
        limit.cancel()
        os.close(leader)
        return process.returncode, printed.decode()

    def steps(self, block: Block) -> Iterator[Step]:
        """Return the commands of a block. One of Python is written to a file first, and run if it is a program."""
        if block.language != "python":
            yield from steps(block.body)
            return
        named = re.match(r"# (\w+\.py)\n", block.body)
        name = named[1] if named else "program.py"
        (self._folder / name).write_text(block.body, encoding="utf-8")
        if not named:
            yield Step(f"python {name}", ())

    def close(self) -> None:
        """End the commands in the background."""
        for process in self._background:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _read(output: int) -> bytes:
    """Read a piece; empty at the end, which a terminal without programs reports as an error."""
    try:
        return os.read(output, 65536)
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        return b""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A shell beside a new local stack."""
    # Not in pytest's folder: another pytest that starts takes away PostgreSQL's right to pass through what is above it.
    stack_folder, folder = Path(tempfile.mkdtemp(prefix="innosystem-sessions-")), tmp_path / "work"
    folder.mkdir()
    (folder / "protos").symlink_to(PROJECT / "protos")  # As in a checkout.
    try:
        stack, addresses = started(stack_folder, tmp_path)
        settings = dotenv_values(stack_folder / "stack.env")
        others = {name: value for name, value in settings.items() if value and not name.endswith("_ADDRESS")}
        session = Session(folder, addresses, others)
        yield session
        session.close()
        stack.send_signal(signal.SIGINT)
        ended(stack)
    finally:
        for process in children(stack_folder):
            process.kill()
        EmbeddedPostgres(stack_folder).stop(mode="immediate")
        EmbeddedRedis(stack_folder).stop()
        shutil.rmtree(stack_folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_s_sessions_print_what_it_shows(page: Document, session: Session) -> None:
    every = (step for block in page.blocks if block.runs for step in session.steps(block))
    differences = [difference for step in every if (difference := session.run(step))]
    assert not differences, "\n\n".join(differences)
