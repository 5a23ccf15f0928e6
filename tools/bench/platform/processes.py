"""CPU time and memory of processes, as Linux reports them."""

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
    """Require /proc.

    Raises:
        CommandError: This system is not Linux.
    """
    if not (_PROC / "self/statm").exists():
        raise CommandError("P7, P8 and the profile read /proc, which only Linux has: leave P7 and P8 out by --only")


def cpu_seconds(pid: int, *, thread: int | None = None) -> float:
    """Return the CPU seconds of a process, or of one of its threads, in its own code and in the kernel's.

    Raises:
        ProcessLookupError: The process does not exist.
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
    """Return the busy and the available seconds of all cores since the machine started.

    Neither contains the time that a hypervisor gave to other machines.
    """
    user, nice, system, idle, waiting, irq, soft_irq = map(int, (_PROC / "stat").read_text().split()[1:8])
    busy = user + nice + system + irq + soft_irq
    return busy / _TICKS_A_SECOND, (busy + idle + waiting) / _TICKS_A_SECOND


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in millions of bytes, shared memory included."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE / _MB


def children(pid: int) -> Iterator[int]:
    """Yield the descendants of a process."""
    for child in _started_by(pid):
        yield child
        yield from children(child)


def _started_by(pid: int) -> list[int]:
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        # A thread or the whole process ended meanwhile; the next sample has the rest.
        return []


class Memory:
    """The memory of a stack's processes, sample by sample.

    Args:
        pids: The processes, by name; their descendants are sampled as well.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._points: dict[str, list[tuple[float, float]]] = {}

    def sample(self) -> None:
        """Record the memory that each process has now."""
        now = time.monotonic()
        for name, pid in self._pids.items():
            self._note(name, pid, now)
            for number, child in enumerate(sorted(children(pid)), 1):
                self._note(f"{name}/{number}", child, now)

    def largest(self) -> dict[str, float]:
        """Return the maximum of each process."""
        return {name: max(value for _, value in points) for name, points in self._points.items()}

    def slopes(self, skip_seconds: float) -> dict[str, float]:
        """Return the growth of each process in MB a minute, without the first seconds, which fill pools and caches."""
        begin = min(points[0][0] for points in self._points.values()) + skip_seconds
        late = {name: [point for point in points if point[0] >= begin] for name, points in self._points.items()}
        return {name: slope_per_minute(points) for name, points in late.items() if len(points) > 1}

    def _note(self, name: str, pid: int, now: float) -> None:
        try:
            memory = memory_mb(pid)
        except (FileNotFoundError, ProcessLookupError):
            # The process ended between two samples; the stack watches for unexpected ends.
            return
        self._points.setdefault(name, []).append((now, memory))
