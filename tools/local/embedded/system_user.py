"""The system user that PostgreSQL runs as when this process is root: PostgreSQL refuses to run as root."""

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
class SystemUser:
    """A user and a group of the operating system, by number."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give a file or an empty folder to this user."""
        os.chown(path, self.uid, self.gid)

    def command(self, command: Sequence[str]) -> list[str]:
        """Make the command that gives up root's rights and becomes a program of this user.

        Args:
            command: The program, by its path, and its arguments.
        """
        # With its own argument user=, subprocess forks instead of spawning, and gRPC's fork handlers kill the
        # forked child of a process in which gRPC's threads are at work.
        return [sys.executable, "-ISc", _BECOME, str(self.uid), str(self.gid), *command]

    def may_pass(self, status: os.stat_result) -> bool:
        """Return whether this user may search a folder with this status."""
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def server_user(data: Path) -> SystemUser | None:
    """Choose the system user that PostgreSQL runs as.

    Args:
        data: The data folder. PostgreSQL must own it, so the present owner is kept.

    Returns:
        The user, or None if this process is not root and needs no other user.

    Raises:
        EmbeddedServerError: The user does not exist and can't be created.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return SystemUser(data.stat().st_uid, data.stat().st_gid)
    return _find(_NAME) or _create(_NAME)


def grant_access(path: Path, user: SystemUser) -> None:
    """Grant a user access to a path: add the search permission, and no other, to the folders above it.

    Only folders that the user could not search are changed, such as root's own temporary folders. Their
    contents stay unlisted, and keep their own modes.
    """
    for folder in path.parents:
        status = folder.stat()
        if not user.may_pass(status):
            # Only the first of the three bits that applies counts: owner, group, others.
            if status.st_uid == user.uid:
                bit = stat.S_IXUSR
            elif status.st_gid == user.gid:
                bit = stat.S_IXGRP
            else:
                bit = stat.S_IXOTH
            folder.chmod(stat.S_IMODE(status.st_mode) | bit)


def _find(name: str) -> SystemUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return SystemUser(entry.pw_uid, entry.pw_gid)


def _create(name: str) -> SystemUser:
    useradd = shutil.which("useradd")
    if useradd is None:
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and there is neither a user {name!r} nor useradd "
            "to create one: create it, or start this as a normal user"
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
    # Looked up whatever the result of useradd: another process may have created the user concurrently.
    user = _find(name)
    if user is None:
        raise EmbeddedServerError(f"useradd {name} failed: {made.stderr.strip()}")
    return user
