"""Running commands, and knowing processes again that somebody else has started."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.local.embedded.errors import EmbeddedServerError
from tools.local.embedded.system_user import Account

_POLL_SECONDS = 0.01
_PS_TIMEOUT_SECONDS = 5.0


def run(
    command: Sequence[str | Path],
    *,
    timeout_seconds: float,
    account: Account | None = None,
    cwd: Path = Path("/"),
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with captured output and almost no environment.

    PGDATA, PGOPTIONS and the like in the caller's environment would change what the tools do, and
    the servers have no business with the caller's secrets.

    Args:
        command: Program and arguments.
        timeout_seconds: The command is killed when it takes longer.
        account: Whose rights it runs with; None for those of this process.
        cwd: The folder it runs in; the default is one that every account may enter.
        pass_fds: File descriptors that it inherits.

    Raises:
        EmbeddedServerError: The command took too long.
    """
    arguments = [str(part) for part in command]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(
            account.command(arguments) if account else arguments,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            cwd=cwd,
            env=environment,
            pass_fds=pass_fds,
            # Ctrl-C in a terminal is for this process, which lets the tool finish before it stops what was started.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        name = Path(command[0]).name
        raise EmbeddedServerError(f"{name} took longer than {timeout_seconds:g} s") from error


def wait_until(condition: Callable[[], bool], *, limit_seconds: float) -> bool:
    """Wait for a condition that only looking can tell.

    Returns:
        Whether it came true within the limit.
    """
    deadline = time.monotonic() + limit_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def command_line(pid: int) -> list[str]:
    """Read the command line of a process, to tell a server from a stranger with a recycled PID.

    Returns:
        The arguments, program first; empty when there is no such process, or only its zombie. Where
        there is no /proc, arguments are split at spaces.
    """
    if Path("/proc/self/cmdline").exists():
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [os.fsdecode(part) for part in raw.rstrip(b"\0").split(b"\0") if part]
    shown = run(["ps", "-p", str(pid), "-o", "args="], timeout_seconds=_PS_TIMEOUT_SECONDS)
    return shown.stdout.split()
