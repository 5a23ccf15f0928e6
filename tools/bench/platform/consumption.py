"""What CPU time all parts of a stack take, and what PostgreSQL and the services count meanwhile."""

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
from tools.bench.platform.stack_under_test import Arena

_ACTIVITY = """
    SELECT pid, datname IS NOT NULL, backend_type, application_name FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND (datname IS NULL OR datname = current_database())
"""
_COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
# A line a call, as the access log has it.
_CALL = re.compile(rb'"method":\s*"/[\w.]+/(\w+)"')


@dataclass(frozen=True)
class Look:
    """How much was used until a moment.

    Attributes:
        names: The part that each process belongs to, by process ID.
        total: CPU seconds of each process.
        main: CPU seconds of each process's first thread.
        busy: CPU seconds of the whole machine.
        available: The same if no core had ever rested.
        commits: Transactions committed, by database.
        logged: Bytes that each service has logged.
    """

    names: Mapping[int, str]
    total: Mapping[int, float]
    main: Mapping[int, float]
    busy: float
    available: float
    commits: Mapping[str, int]
    logged: Mapping[str, int]


@dataclass(frozen=True)
class Used:
    """What a part of the stack took.

    Attributes:
        name: Of the part; a part may be several processes.
        seconds: On a CPU.
        main_seconds: Of that, in the first thread of its processes.
    """

    name: str
    seconds: float
    main_seconds: float


def python_processes(arena: Arena) -> dict[str, int]:
    """The services, the runners and the processes that those have started, by name."""
    found: dict[str, int] = {}
    for child in arena.stack.children:
        if child.pid is not None:
            found[child.name] = child.pid
            found.update({f"{child.name}/{number}": pid for number, pid in enumerate(sorted(children(child.pid)), 1)})
    return found


async def look(arena: Arena) -> Look:
    """Looks once."""
    names = {pid: name.partition("/")[0] for name, pid in python_processes(arena).items()}
    names[os.getpid()] = "the bench"
    commits: dict[str, int] = {}
    for service, url in arena.databases.items():
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            [(commits[service],)] = await (await connection.execute(_COMMITS)).fetchall()
            for pid, own, kind, application in await (await connection.execute(_ACTIVITY)).fetchall():
                if _is(pid, "postgres"):
                    names[pid] = f"PostgreSQL: {_backend(service, own=own, kind=kind, application=application)}"
    async with redis.Redis.from_url(arena.settings["REDIS_URL"]) as client:
        server: Mapping[str, Any] = await client.info("server")
    if _is(int(server["process_id"]), "redis"):
        names[int(server["process_id"])] = "Redis"
    total, main = _times(names)
    busy, available = machine_seconds()
    logged = {service: _log(arena, service).stat().st_size for service in arena.stack.addresses}
    return Look(names, total, main, busy, available, commits, logged)


def used(before: Look, after: Look) -> list[Used]:
    """What each part took between two looks, most first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    main: defaultdict[str, float] = defaultdict(float)
    for pid, name in after.names.items():
        # One that is new has had nothing before.
        seconds[name] += after.total.get(pid, 0.0) - before.total.get(pid, 0.0)
        main[name] += after.main.get(pid, 0.0) - before.main.get(pid, 0.0)
    return [Used(name, taken, main[name]) for name, taken in sorted(seconds.items(), key=itemgetter(1), reverse=True)]


def calls(arena: Arena, since: Look) -> dict[str, dict[str, int]]:
    """How often each method of each service was called since a look, by the services' logs."""
    return {service: _counted(_log(arena, service), offset) for service, offset in since.logged.items()}


def _counted(log: Path, offset: int) -> dict[str, int]:
    with log.open("rb") as file:
        file.seek(offset)
        found = Counter(match[1].decode() for line in file if (match := _a_call(line)))
    return dict(found.most_common())


def _a_call(line: bytes) -> re.Match[bytes] | None:
    return _CALL.search(line) if b'"duration_ms"' in line else None


def _log(arena: Arena, service: str) -> Path:
    return arena.folder / "logs" / f"{service}.log"


def _backend(service: str, *, own: bool, kind: str, application: str) -> str:
    if application == APPLICATION:
        return "the bench's looks"
    if "autovacuum" in kind:
        return "autovacuum"
    return service if own else "background"


def _is(pid: int, program: str) -> bool:
    """Whether a process is here and of that kind; a server may be on another machine."""
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
            # A connection that was closed meanwhile: its time is in the rest.
            continue
