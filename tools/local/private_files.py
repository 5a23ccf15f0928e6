"""Files and folders that only this user may read: logs and settings hold data of jobs, and secrets.

The folder of a stack is no protection by itself. It may be one that was there before, and as root it must be open to
the system user of PostgreSQL.
"""

import os
from pathlib import Path
from typing import IO, Any


def private_folder(path: Path) -> Path:
    """Create a folder with its parents, or close an existing one to other users, and return it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file; create it for this user only, or close an existing one to other users.

    Args:
        path: The file.
        mode: As for `open`, such as `ab`.
    """

    def opener(name: str, flags: int) -> int:
        descriptor = os.open(name, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor

    return open(path, mode, opener=opener)
