"""The socket folder of an embedded server, and the lock that makes its start exclusive."""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.local.embedded.errors import EmbeddedServerError, named_failures
from tools.local.embedded.processes import wait_until
from tools.local.embedded.system_user import SystemUser

# The capacity of the smallest sun_path (macOS: 104 bytes with the final zero).
_SOCKET_PATH_BYTES_MAX = 103
_LOCK_LIMIT_SECONDS = 120.0


def socket_folder_name(folder: Path, kind: str, uid: int) -> str:
    """Return the name of the folder of a server's socket, which is short and always the same for the same folder.

    Args:
        folder: The resolved folder of the server; its path may be of any length.
        kind: The kind of server, because two kinds may share a folder.
        uid: The user that the server runs as.
    """
    digest = hashlib.sha256(f"{kind}:{folder}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"innosystem-{uid}-{digest[:16]}"


def socket_folder(name: str, socket_name: str) -> Path:
    """Return the path of a socket's folder in the temporary folder, and check that it is short enough.

    Raises:
        EmbeddedServerError: The path of the socket would be longer than the system allows.
    """
    path = Path(tempfile.gettempdir()).resolve() / name
    if len(os.fsencode(path / socket_name)) > _SOCKET_PATH_BYTES_MAX:
        raise EmbeddedServerError(f"{path / socket_name} is too long for a unix socket: set TMPDIR to a shorter path")
    return path


def make_private(path: Path, user: SystemUser | None) -> None:
    """Create an empty folder that only its owner can enter.

    Leftovers of a dead server are removed: a lock file of its socket may name a PID that belongs to
    another process by now.

    Args:
        path: The folder, whose parent other users can write to.
        user: The owner of the folder; None for the user of this process.

    Raises:
        EmbeddedServerError: The path exists and belongs to another user.
    """
    owners = {os.geteuid(), user.uid if user else os.geteuid()}
    if os.path.lexists(path):
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
            raise EmbeddedServerError(
                f"{path} exists and belongs to another user: remove it, or set TMPDIR to another folder"
            )
        shutil.rmtree(path)
    path.mkdir(mode=0o700)
    if user:
        user.own(path)


@contextmanager
def exclusive(lock: Path, doing: str) -> Iterator[None]:
    """Run a block while no other process or thread starts or stops the server.

    Args:
        lock: The lock file; its folder is created if it is missing. The lock ends with its holder.
        doing: The step, for the message of a failure.

    Raises:
        EmbeddedServerError: The lock was not free in time, or the block met an `OSError`.
    """
    with named_failures(doing):
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not wait_until(lambda: _try_lock(descriptor), limit_seconds=_LOCK_LIMIT_SECONDS):
                raise EmbeddedServerError(
                    f"{doing} failed: another process holds {lock}: wait until it has ended, or end it"
                )
            yield
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
