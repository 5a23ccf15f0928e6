"""Commands, and the identification of processes that another process has started."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.local.embedded.errors import EmbeddedServerError
from tools.local.embedded.system_user import SystemUser

_POLL_SECONDS = 0.01
_PS_TIMEOUT_SECONDS = 5.0


def run(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float,
    user: SystemUser | None = None,
    cwd: Path = Path("/"),
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with captured output and almost no environment.

    PGDATA, PGOPTIONS and the like in the caller's environment would change the behaviour of the tools,
    and the servers must not see the caller's secrets.

    Args:
        command: Program and arguments.
        timeout_seconds: The time after which the command is killed.
        user: The system user to run as; None for the user of this process.
        cwd: The working folder; every user may enter the default.
        pass_fds: File descriptors that the command inherits.

    Raises:
        EmbeddedServerError: The command took too long.
    """
    arguments = [str(part) for part in command]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(
            user.command(arguments) if user else arguments,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            cwd=cwd,
            env=environment,
            pass_fds=pass_fds,
            # Ctrl-C reaches only this process, which lets the tool finish before it stops the servers.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        name = Path(command[0]).name
        raise EmbeddedServerError(f"{name} took longer than {timeout_seconds:g} s") from error


def wait_until(condition: Callable[[], bool], *, limit_seconds: float) -> bool:
    """Poll until a condition holds.

    Returns:
        Whether the condition held within the limit.
    """
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def command_line(pid: int) -> list[str]:
    """Read the command line of a process, to tell a server from an unrelated process with a recycled PID.

    Returns:
        The arguments, program first; empty if the process does not exist or is a zombie. Without
        /proc, arguments are split at spaces.
    """
    if Path("/proc/self/cmdline").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [os.fsdecode(part) for part in raw.rstrip(b"\0").split(b"\0") if part]
    shown = run(["ps", "-p", str(pid), "-o", "args="], timeout_seconds=_PS_TIMEOUT_SECONDS)
    return shown.stdout.split()
