"""The CPU time of all parts of a stack, and the counters of PostgreSQL and the services."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg
import redis.asyncio as redis

from tools.bench.platform.processes import children, cpu_seconds, machine_seconds
from tools.bench.platform.settling import APPLICATION
from tools.bench.platform.stack_under_test import StackUnderTest

_ACTIVITY = """
    SELECT pid, datname IS NOT NULL, backend_type, application_name FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND (datname IS NULL OR datname = current_database())
"""
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
# One line of the access log.
_CALL = re.compile(rb'"method":\s*"/[\w.]+/(\w+)"')


@dataclass(frozen=True)
class Snapshot:
    """All counters at one moment.

    Attributes:
        names: The part that each process belongs to, by process ID.
        total: The CPU seconds of each process.
        main: The CPU seconds of each process's first thread.
        busy: The CPU seconds of the whole machine.
        available: The CPU seconds that all cores had, busy or idle.
        commits: The committed transactions, by database.
        logged: The bytes that each service has logged.
    """

    names: Mapping[int, str]
    total: Mapping[int, float]
    main: Mapping[int, float]
    busy: float
    available: float
    commits: Mapping[str, int]
    logged: Mapping[str, int]


@dataclass(frozen=True)
class PartUsage:
    """The CPU time of a part of the stack.

    Attributes:
        name: The part, which may be several processes.
        seconds: Its CPU seconds.
        main_seconds: The share of these in the first thread of its processes.
    """

    name: str
    seconds: float
    main_seconds: float


def python_processes(stack: StackUnderTest) -> dict[str, int]:
    """Return the process IDs of the services, the runners and their children, by name."""
    found: dict[str, int] = {}
    for child in stack.processes.children:
        if child.pid is not None:
            found[child.name] = child.pid
            found.update({f"{child.name}/{number}": pid for number, pid in enumerate(sorted(children(child.pid)), 1)})
    return found


async def take_snapshot(stack: StackUnderTest) -> Snapshot:
    """Read all counters."""
    names = {pid: name.partition("/")[0] for name, pid in python_processes(stack).items()}
    names[os.getpid()] = "the bench"
    commits: dict[str, int] = {}
    for service, url in stack.databases.items():
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            [(commits[service],)] = await (await connection.execute(_COMMITS)).fetchall()
            for pid, own, kind, application in await (await connection.execute(_ACTIVITY)).fetchall():
                if _is(pid, "postgres"):
                    names[pid] = f"PostgreSQL: {_backend(service, own=own, kind=kind, application=application)}"
    async with redis.Redis.from_url(stack.settings["REDIS_URL"]) as client:
        server: Mapping[str, Any] = await client.info("server")
    if _is(int(server["process_id"]), "redis"):
        names[int(server["process_id"])] = "Redis"
    total, main = _times(names)
    busy, available = machine_seconds()
    logged = {service: _log(stack, service).stat().st_size for service in stack.processes.addresses}
    return Snapshot(names, total, main, busy, available, commits, logged)


def usage(before: Snapshot, after: Snapshot) -> list[PartUsage]:
    """Return the CPU time of each part between two snapshots, the largest first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    main: defaultdict[str, float] = defaultdict(float)
    for pid, name in after.names.items():
        # A process that is new in the second snapshot had used nothing in the first.
        seconds[name] += after.total.get(pid, 0.0) - before.total.get(pid, 0.0)
        main[name] += after.main.get(pid, 0.0) - before.main.get(pid, 0.0)
    return [
        PartUsage(name, taken, main[name]) for name, taken in sorted(seconds.items(), key=itemgetter(1), reverse=True)
    ]


def calls(stack: StackUnderTest, since: Snapshot) -> dict[str, dict[str, int]]:
    """Count the calls of each method of each service since a snapshot, from the services' logs."""
    return {service: _counted(_log(stack, service), offset) for service, offset in since.logged.items()}


def _counted(log: Path, offset: int) -> dict[str, int]:
    with log.open("rb") as file:
        file.seek(offset)
        found = Counter(match[1].decode() for line in file if (match := _a_call(line)))
    return dict(found.most_common())


def _a_call(line: bytes) -> re.Match[bytes] | None:
    return _CALL.search(line) if b'"duration_ms"' in line else None


def _log(stack: StackUnderTest, service: str) -> Path:
    return stack.folder / "logs" / f"{service}.log"


def _backend(service: str, *, own: bool, kind: str, application: str) -> str:
    if application == APPLICATION:
        return "the bench's queries"
    if "autovacuum" in kind:
        return "autovacuum"
    return service if own else "background"


def _is(pid: int, program: str) -> bool:
    """Return whether a process of this machine runs a program; a server may be on another machine."""
    try:
        return program in Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return False


def _times(names: Mapping[int, str]) -> tuple[dict[int, float], dict[int, float]]:
    found = list(_readable(names))
    return {pid: total for pid, total, _ in found}, {pid: main for pid, _, main in found}


def _readable(names: Mapping[int, str]) -> Iterator[tuple[int, float, float]]:
    for pid in names:
        try:
            yield pid, cpu_seconds(pid), cpu_seconds(pid, thread=pid)
        except (FileNotFoundError, ProcessLookupError):
            # The connection was closed meanwhile: its time counts as that of others.
            continue
