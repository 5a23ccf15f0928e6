"""The file postmaster.pid of a PostgreSQL data folder, and whether its process is alive."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.local.embedded.errors import named_failures
from tools.local.embedded.processes import command_line

_NAME = "postmaster.pid"
_LINES = 8
# Above the largest PID of any system, and still a valid PID to PostgreSQL.
_UNUSED_PID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PostmasterFile:
    """The entries of a live postmaster's file."""

    pid: int
    socket_folder: Path
    status: str

    @classmethod
    def read_live(cls, data: Path) -> Self | None:
        """Read the file; return None unless it is complete and its process is the postmaster of this data folder.

        A process with that PID is not enough: after a restart of the machine or the container the PID
        may belong to another process.
        """
        lines = _lines(data)
        if len(lines) < _LINES or not _is_postmaster_of(int(lines[0]), data):
            return None
        return cls(pid=int(lines[0]), socket_folder=Path(lines[4]), status=lines[7].strip())


def is_alive(data: Path) -> bool:
    """Return whether a postmaster runs for this data folder, even one that has just begun."""
    lines = _lines(data)
    return bool(lines) and _is_postmaster_of(int(lines[0]), data)


def disown(data: Path) -> None:
    """Replace the PID in the file of a dead postmaster by an unused one.

    PostgreSQL refuses to start while its file contains the PID of any process, even an unrelated one or
    a zombie. The file is not removed, because PostgreSQL also reads from it whether the dead postmaster
    has left backends at work.
    """
    lines = _lines(data)
    if lines and not _is_postmaster_of(int(lines[0]), data):
        lines[0] = str(_UNUSED_PID)
        (data / _NAME).write_text("\n".join([*lines, ""]), encoding="utf-8")


def _lines(data: Path) -> list[str]:
    """Read the lines of the file; return none if it is missing or has no PID."""
    path = data / _NAME
    with named_failures(f"Reading {path}"):
        try:
            lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return []
    return lines if lines and lines[0].strip().isdigit() else []


def _is_postmaster_of(pid: int, data: Path) -> bool:
    program, *arguments = command_line(pid) or [""]
    if Path(program).name != "postgres" or "-D" not in arguments[:-1]:
        return False
    with contextlib.suppress(FileNotFoundError, PermissionError):
        return data.samefile(arguments[arguments.index("-D") + 1])
    return False
