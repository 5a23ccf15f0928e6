"""The file postmaster.pid of a PostgreSQL data folder, and whether its process is alive."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.local.embedded.errors import named_failures
from tools.local.embedded.processes import command_line

_NAME = "postmaster.pid"
_LINES = 8
# Beyond what any system gives to a process, and still a PID to PostgreSQL.
_NOBODYS_PID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PostmasterFile:
    """What a postmaster that is alive says about itself."""

    pid: int
    socket_folder: Path
    status: str

    @classmethod
    def read_live(cls, data: Path) -> Self | None:
        """Read the file, if it is complete and its process is the postmaster of this data folder.

        A process with that PID is not enough: after a restart of the machine or the container the
        PID may be somebody else's.
        """
        lines = _lines(data)
        if len(lines) < _LINES or not _is_postmaster_of(int(lines[0]), data):
            return None
        return cls(pid=int(lines[0]), socket_folder=Path(lines[4]), status=lines[7].strip())


def is_alive(data: Path) -> bool:
    """Tell whether a postmaster runs for this data folder, even one that has just begun."""
    lines = _lines(data)
    return bool(lines) and _is_postmaster_of(int(lines[0]), data)


def disown(data: Path) -> None:
    """Make a file that a dead postmaster left be known as such to PostgreSQL.

    PostgreSQL refuses to start while its file has the PID of any process, even a stranger's or that
    of a zombie which nobody collects. The file is not removed, because PostgreSQL also learns from
    it whether the dead postmaster has left backends at work.
    """
    lines = _lines(data)
    if lines and not _is_postmaster_of(int(lines[0]), data):
        lines[0] = str(_NOBODYS_PID)
        (data / _NAME).write_text("\n".join([*lines, ""]), encoding="utf-8")


def _lines(data: Path) -> list[str]:
    """Read the lines of the file; none if it is missing, or not one of a postmaster."""
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
