"""The account that PostgreSQL runs under when this process is root: it refuses to run as root."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.local.embedded.errors import EmbeddedServerError

_NAME = "postgres"
_USERADD_TIMEOUT_SECONDS = 30.0
_BECOME = """
import os, sys
uid, gid, *command = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
os.execv(command[0], command)
"""


@dataclass(frozen=True, slots=True)
class Account:
    """A user and a group of the operating system, by number."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give a file or an empty folder to this account."""
        os.chown(path, self.uid, self.gid)

    def command(self, command: Sequence[str]) -> list[str]:
        """Make the command that gives up root's rights and becomes a program of this account.

        Args:
            command: The program, by its path, and its arguments.
        """
        # subprocess could do it with user=, but then it forks where it spawns otherwise, and gRPC's
        # fork handlers kill the forked child of a process in which gRPC's threads are at work.
        return [sys.executable, "-ISc", _BECOME, str(self.uid), str(self.gid), *command]

    def may_pass(self, status: os.stat_result) -> bool:
        """Tell whether this account may go through a folder with this status."""
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def server_account(data: Path) -> Account | None:
    """Choose whose rights PostgreSQL runs with.

    Args:
        data: The data folder. PostgreSQL demands that its account owns it, so it keeps the owner
            it has.

    Returns:
        None when this process is not root, and its own rights do.

    Raises:
        EmbeddedServerError: There is no account for it, and none can be made.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    return _find(_NAME) or _create(_NAME)


def open_the_way(path: Path, account: Account) -> None:
    """Let an account reach a path: add the right to pass, and no more, to the folders above it.

    Only folders that it could not pass are changed, such as root's own temporary folders. Their
    contents stay unlisted, and keep their own modes.
    """
    for folder in path.parents:
        status = folder.stat()
        if not account.may_pass(status):
            # Owner and group come before the others: only one of the three bits counts.
            if status.st_uid == account.uid:
                bit = stat.S_IXUSR
            elif status.st_gid == account.gid:
                bit = stat.S_IXGRP
            else:
                bit = stat.S_IXOTH
            folder.chmod(stat.S_IMODE(status.st_mode) | bit)


def _find(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def _create(name: str) -> Account:
    useradd = shutil.which("useradd")
    if useradd is None:
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and there is neither a user {name!r} nor useradd "
            "to make one: create it, or start this as a normal user"
        )
    command = [useradd, "--system", "--no-create-home", "--shell", "/bin/false", name]
    try:
        made = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_USERADD_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(f"useradd {name} took too long") from error
    # Looked up whatever useradd says: somebody else may have made the user at the same moment.
    account = _find(name)
    if account is None:
        raise EmbeddedServerError(f"useradd {name} failed: {made.stderr.strip()}")
    return account
