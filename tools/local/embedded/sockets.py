"""Where an embedded server keeps its socket, and the lock that makes starting it exclusive."""

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
from tools.local.embedded.system_user import Account

# What the smallest sun_path (macOS: 104 bytes with the final zero) has room for.
_SOCKET_PATH_BYTES_MAX = 103
_LOCK_LIMIT_SECONDS = 120.0


def socket_folder_name(folder: Path, kind: str, uid: int) -> str:
    """Name the folder of a server's socket: short, and the same each time for the same folder.

    Args:
        folder: The resolved folder of the server; its path may be of any length.
        kind: What runs there: two kinds of server may share a folder.
        uid: The account that the server runs under.
    """
    digest = hashlib.sha256(f"{kind}:{folder}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"innosystem-{uid}-{digest[:16]}"


def socket_folder(name: str, socket_name: str) -> Path:
    """Place the folder of a socket in the temporary folder, and check that it is short enough.

    Raises:
        EmbeddedServerError: The path of the socket would be longer than the system allows.
    """
    path = Path(tempfile.gettempdir()).resolve() / name
    if len(os.fsencode(path / socket_name)) > _SOCKET_PATH_BYTES_MAX:
        raise EmbeddedServerError(f"{path / socket_name} is too long for a unix socket: set TMPDIR to a shorter path")
    return path


def make_private(path: Path, account: Account | None) -> None:
    """Make an empty folder that only its owner can enter.

    What a dead server left there goes: a lock file of its socket may name a PID that belongs to
    another process by now.

    Args:
        path: The folder, in a place where others may have made one of the same name.
        account: Whose it becomes; None for this process's own.

    Raises:
        EmbeddedServerError: There is something of that name which belongs to somebody else.
    """
    owners = {os.geteuid(), account.uid if account else os.geteuid()}
    if os.path.lexists(path):
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
            raise EmbeddedServerError(f"{path} is in the way, and belongs to somebody else")
        shutil.rmtree(path)
    path.mkdir(mode=0o700)
    if account:
        account.own(path)


@contextmanager
def exclusive(lock: Path, doing: str) -> Iterator[None]:
    """Do something with a server while no other process or thread starts or stops it.

    Args:
        lock: The lock file; its folder is made if it is missing. The lock ends with its holder.
        doing: What is done, for the message of a failure.

    Raises:
        EmbeddedServerError: The lock was not free in time, or the block met an `OSError`.
    """
    with named_failures(doing):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not wait_until(lambda: _try_lock(descriptor), limit_seconds=_LOCK_LIMIT_SECONDS):
                raise EmbeddedServerError(f"{doing} failed: another process holds {lock}")
            yield
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
