"""What processes use, as Linux tells it."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.bench.report.figures import slope_per_minute
from tools.errors import CommandError

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_MB = 1_000_000
# Fields of /proc/PID/stat, counted from the one after the name, which may hold anything.
_UTIME, _STIME = 11, 12
# CPUCLOCK_SCHED: what the scheduler counts, of all threads.
_WHOLE_PROCESS = 2


def require_proc() -> None:
    """Checks that there is anything to read.

    Raises:
        CommandError: If this is not Linux.
    """
    if not (_PROC / "self/statm").exists():
        raise CommandError("P7, P8 and the profile read /proc, which only Linux has: leave P7 and P8 out by --only")


def cpu_seconds(pid: int, *, thread: int | None = None) -> float:
    """How long a process, or one of its threads, has been on a CPU, in its own code and in the kernel's.

    Raises:
        ProcessLookupError: If there is none.
    """
    if thread is None:
        # The clock that clock_getcpuclockid(3) names, as Linux numbers it: /proc has the same in steps of 10 ms.
        try:
            return time.clock_gettime(~pid << 3 | _WHOLE_PROCESS)
        except OSError as error:
            raise ProcessLookupError(pid) from error
    fields = (_PROC / str(pid) / "task" / str(thread) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS_A_SECOND


def machine_seconds() -> tuple[float, float]:
    """How long the machine's cores have been busy since it started, and how long they could have been.

    What a hypervisor gave to others meanwhile is in neither.
    """
    user, nice, system, idle, waiting, irq, soft_irq = map(int, (_PROC / "stat").read_text().split()[1:8])
    busy = user + nice + system + irq + soft_irq
    return busy / _TICKS_A_SECOND, (busy + idle + waiting) / _TICKS_A_SECOND


def memory_mb(pid: int) -> float:
    """How much of a process is in memory, in millions of bytes; what it shares with others is counted as well."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE / _MB


def children(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that they have."""
    for child in _started_by(pid):
        yield child
        yield from children(child)


def _started_by(pid: int) -> list[int]:
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        # A thread or all of it ended meanwhile; the next look has what is left.
        return []


class Memory:
    """What the processes of a stack had in memory, look by look.

    Args:
        pids: The processes, by name. Those that they start are theirs.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._points: dict[str, list[tuple[float, float]]] = {}

    def look(self) -> None:
        """Notes what each process has now."""
        now = time.monotonic()
        for name, pid in self._pids.items():
            self._note(name, pid, now)
            for number, child in enumerate(sorted(children(pid)), 1):
                self._note(f"{name}/{number}", child, now)

    def largest(self) -> dict[str, float]:
        """The most that each process had."""
        return {name: max(value for _, value in points) for name, points in self._points.items()}

    def slopes(self, skip_seconds: float) -> dict[str, float]:
        """How many MB a minute each process grew, without the time in which it filled its pools and caches."""
        begin = min(points[0][0] for points in self._points.values()) + skip_seconds
        late = {name: [point for point in points if point[0] >= begin] for name, points in self._points.items()}
        return {name: slope_per_minute(points) for name, points in late.items() if len(points) > 1}

    def _note(self, name: str, pid: int, now: float) -> None:
        try:
            memory = memory_mb(pid)
        except (FileNotFoundError, ProcessLookupError):
            # It ended between two looks; whether it should have is watched by the stack.
            return
        self._points.setdefault(name, []).append((now, memory))
