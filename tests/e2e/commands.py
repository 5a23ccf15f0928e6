"""The `innosystem` command as a process, and the processes of the local stack that it starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.e2e.processes import PROJECT
from tools.local.embedded import EmbeddedRedis

FREE_PORTS = ["--free-ports"]

SETTINGS = ("CUSTOMERS_", "WALLETS_", "JOBS_", "REDIS_", "RUNNER_")


def command(*arguments: str | Path, cwd: Path, **settings: str) -> subprocess.Popen[str]:
    """Start the `innosystem` command, in a process group of its own as a shell does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return subprocess.Popen(
        [sys.executable, "-m", "tools.cli", *map(str, arguments)],
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(PROJECT), "INNOSYSTEM_AUTH": "on", **settings},
        process_group=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def started(folder: Path, cwd: Path, *arguments: str, **settings: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start a stack; return it and its addresses once it is up."""
    stack = command("up", "--folder", folder, *FREE_PORTS, "--json", *arguments, cwd=cwd, **settings)
    assert stack.stdout is not None
    line = stack.stdout.readline()
    assert line, stack.communicate(timeout=60)
    return stack, json.loads(line)


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for the end of a command; return its exit status."""
    process.communicate(timeout=60)
    return process.returncode


def children(folder: Path) -> list[psutil.Process]:
    """The services and runners of a stack: what was started by a `tools.local.die_with_parent` of it."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        in_stack = (process.info["environ"] or {}).get("REDIS_URL") == EmbeddedRedis(folder).url
        if in_stack and "tools.local.die_with_parent" in (process.info["cmdline"] or []):
            found.append(process)
    return found
