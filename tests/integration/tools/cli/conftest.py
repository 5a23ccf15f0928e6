"""The three services and a runner as processes of their own, for commands to talk to."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from innosystem.client import new_id
from services import SERVICES
from tests.conftest import as_service
from tests.support.until import until_sync
from tools.cli.__main__ import main

_START_SECONDS = 60
_STOP_SECONDS = 30


class Processes:
    """Starts processes, finds out where they listen, and stops them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def start(self, name: str, module: list[str], environment: Mapping[str, str], event: str) -> str:
        """Start a module, wait for an event in its log, and return the address in it, if any."""
        path = self._folder / f"{name}.log"
        output = self._stack.enter_context(path.open("wb"))
        process = self._start(module, environment, output)
        found: list[dict[str, Any]] = []

        def ready() -> bool:
            assert process.poll() is None, path.read_text(encoding="utf-8")
            # The last line may be half written.
            lines = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
            found.extend(line for line in map(json.loads, lines) if line.get("event") == event)
            return bool(found)

        until_sync(ready, limit_seconds=_START_SECONDS, context=lambda: path.read_text(encoding="utf-8"))
        return str(found[0].get("address", ""))

    def _start(self, module: list[str], environment: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=self._folder,
            env={**os.environ, "LOG_LEVEL": "INFO", "LOG_FORMAT": "json", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        self._stack.callback(process.wait, _STOP_SECONDS)
        self._stack.callback(process.terminate)
        return process


@pytest.fixture(scope="module")
def platform_environment(
    fresh_database: Callable[[str], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Run the platform, and return the variables by which a command finds it."""
    environment = {"REDIS_URL": redis_url, "REDIS_KEY_PREFIX": f"{new_id()}:"}
    with ExitStack() as stack:
        processes = Processes(tmp_path_factory.mktemp("platform"), stack)
        for service in SERVICES:
            name = service.upper()
            url = fresh_database(service)
            own = {f"{name}_DATABASE_URL": as_service(service, url), f"{name}_LISTEN_ADDRESS": "127.0.0.1:0"}
            address = processes.start(service, [f"services.{service}"], {**environment, **own}, "serving")
            environment |= {f"{name}_ADDRESS": address, f"{name}_DATABASE_URL": own[f"{name}_DATABASE_URL"]}
            environment[f"{name}_DATABASE_OWNER_URL"] = url
        runner = ["innosystem.runner", "--handlers", "innosystem.runner.examples.source_stats"]
        processes.start("runner", runner, environment, "runner_ready")
        yield environment


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]
Found = Callable[..., Any]


@pytest.fixture
def innosystem(
    platform_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs the command in this process: `innosystem("jobs", "list")`."""
    monkeypatch.chdir(tmp_path)
    for name, value in platform_environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Done:
        status = main(arguments)
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def found(innosystem: Run) -> Found:
    """Run a command that must succeed, and read the JSON it prints."""

    def run(*arguments: str) -> Any:
        done = innosystem(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
