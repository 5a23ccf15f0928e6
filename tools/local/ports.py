"""Ports of this machine that others use."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTENING: Final = "0A"  # include/net/tcp_states.h: TCP_LISTEN


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of the loopback interface."""
    with socket.socket() as tried:
        # Otherwise connections that have just ended keep the port for a minute.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listener(port: int) -> str:
    """Describe the process that listens on a port, as far as this user may know: `process 42 (python -m mine)`."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        # A process may end meanwhile, or belong to another user.
        with suppress(OSError):
            if any(str(file.readlink()) in sockets for file in (process / "fd").iterdir()):
                words = (process / "cmdline").read_text(errors="replace").split("\0")
                return f"process {process.name} ({' '.join(words).strip()[:60]})"
    return "another process"


def _inodes(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port; none on systems other than Linux."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                    found.add(inode)
    return found
