"""Measures the peers: each with a worker, a database and a broker's keys of its own, on the stack's own servers."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from redis import asyncio as redis

from tools.bench.load.load_process import Talker
from tools.bench.peers.environment import versions
from tools.bench.peers.peerwork.work import SCHEMA
from tools.bench.platform.databases import new_database
from tools.bench.platform.stack_under_test import Arena
from tools.bench.report.figures import Figures
from tools.errors import CommandError
from tools.local import die_with_parent as attached

_HERE = Path(__file__).parent
_REDIS_DATABASE = "15"
_LOOK_SECONDS = 0.02
_DONE_SECONDS_MAX = 300.0
_STOP_SECONDS_MAX = 15.0
_WALLETS = "INSERT INTO wallets (id, balance) SELECT id, 1000000000 FROM unnest(%s::uuid[]) AS new(id)"


@dataclass(frozen=True)
class Peer:
    """A task queue and the best settings that were found for it on two cores.

    Attributes:
        name: Of the library.
        worker: What `python -m` runs as the worker.
        callers: How many callers submit at once.
        prepare: What `python -m` runs once in a new database.
    """

    name: str
    worker: Sequence[str]
    callers: int
    prepare: Sequence[str] = ()


PEERS: Final = (
    Peer("dramatiq", ("dramatiq", "peerwork.dramatiq_tasks", "--processes", "2", "--threads", "16"), 16),
    Peer(
        "taskiq",
        ("taskiq", "worker", "peerwork.taskiq_tasks:broker", "--workers", "2", "--max-async-tasks", "16"),
        16,
    ),
    Peer(
        "celery",
        (
            *("celery", "--app", "peerwork.celery_tasks", "worker", "--pool", "threads", "--concurrency", "16"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"),
        ),
        8,
    ),
    Peer(
        "procrastinate",
        ("procrastinate", "--app", "peerwork.procrastinate_tasks.app", "worker", "--concurrency", "32"),
        16,
        ("procrastinate", "--app", "peerwork.procrastinate_tasks.app", "schema", "--apply"),
    ),
)


def settings() -> dict[str, Any]:
    """Which versions of the peers are measured, and how they are set, to be written beside the figures."""
    locked = versions()
    return {
        peer.name: {"version": locked[peer.name], "worker": " ".join(peer.worker), "callers": peer.callers}
        for peer in PEERS
    }


async def measure(arena: Arena, python: Path) -> tuple[Figures, dict[str, Any]]:
    """Measures all peers, one after the other.

    Args:
        arena: Where PostgreSQL and Redis are; its services have nothing to do meanwhile.
        python: The interpreter of the peers' environment.

    Returns:
        The figures (medians), and the jobs a second of each run.
    """
    figures: Figures = {}
    runs: dict[str, Any] = {}
    for peer in PEERS:
        arena.say(f"{peer.name}: {arena.plan.unary_jobs} jobs, {arena.plan.runs} times")
        key = f"{peer.name}_jobs_per_second"
        runs[key] = await measure_peer(arena, python, peer)
        figures[key] = median(runs[key])
    return figures, runs


async def measure_peer(arena: Arena, python: Path, peer: Peer) -> list[float]:
    """Measures one of them: the jobs a second of each run, end to end."""
    async with new_database(arena.databases["jobs"]) as url, _broker(arena.settings["REDIS_URL"]) as redis_url:
        contest = Contest(arena, python, peer, _environment(url, redis_url), url)
        await contest.prepare()
        async with contest.worker():
            await contest.run(arena.plan.warm_up)
            return [await contest.run(arena.plan.unary_jobs) for _ in range(arena.plan.runs)]


class Contest:
    """One peer at work.

    Args:
        arena: For the sizes, and for logs.
        python: The peers' interpreter.
        peer: Which one.
        environment: All of its processes' environment.
        url: Its database.
    """

    def __init__(self, arena: Arena, python: Path, peer: Peer, environment: Mapping[str, str], url: str) -> None:
        self._arena = arena
        self._python = str(python)
        self._peer = peer
        self._environment = environment
        self._url = url
        self._wallets = [str(uuid4()) for _ in range(arena.plan.wallets)]
        self._log = arena.folder / f"{peer.name}.log"
        self._done = 0

    async def prepare(self) -> None:
        """Makes tables and wallets."""
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            for statement in SCHEMA:
                await connection.execute(statement)
            await connection.execute(_WALLETS, (self._wallets,))
        if self._peer.prepare:
            process = await self._start(self._peer.prepare)
            if await process.wait():
                raise self._failed()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """Runs its worker for the time of the block."""
        process = await self._start(self._peer.worker)
        try:
            yield
            if process.returncode is not None:
                raise self._failed()
        finally:
            await _stop(process)

    async def run(self, jobs: int) -> float:
        """Submits jobs and waits for all of them: how many a second were done, end to end."""
        task = {"jobs": jobs, "callers": self._peer.callers, "wallets": self._wallets}
        command = [self._python, "-m", "peerwork.submit", self._peer.name]
        log = self._log.with_name(f"{self._peer.name}-submit.log")
        async with Talker(command, task, self._environment, log) as submitter:
            began = float((await submitter.go())["began"])
        self._done += jobs
        return jobs / (await self._until_done() - began)

    async def _until_done(self) -> float:
        limit = time.monotonic() + _DONE_SECONDS_MAX
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            while time.monotonic() < limit:
                found = await (await connection.execute("SELECT count(*) FROM ledger")).fetchone()
                if found is not None and found[0] >= self._done:
                    return time.monotonic()
                await asyncio.sleep(_LOOK_SECONDS)
        raise self._failed()

    async def _start(self, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                # It ends with this process; -P, because the folder of that script is no place to import from.
                *(self._python, "-P", attached.__file__, str(os.getpid()), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                cwd=self._arena.folder,
                start_new_session=True,
            )

    def _failed(self) -> CommandError:
        tail = "\n".join(f"  {line}" for line in self._log.read_text(errors="replace").splitlines()[-15:])
        return CommandError(f"{self._peer.name} did not do its jobs; the end of its log:\n{tail}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ends a worker and, if that takes too long, all that it has started: its session is a group of its own."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _environment(database_url: str, redis_url: str) -> dict[str, str]:
    # Nothing of the platform's own environment is on their path.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PG"))}
    return {**own, "PYTHONPATH": str(_HERE), "PEER_DATABASE_URL": database_url, "PEER_REDIS_URL": redis_url}


@asynccontextmanager
async def _broker(redis_url: str) -> AsyncIterator[str]:
    """A database of Redis that has to be empty, and is empty again afterwards."""
    address = urlsplit(redis_url)
    if address.scheme == "unix":
        query = urlencode({**dict(parse_qsl(address.query)), "db": _REDIS_DATABASE})
        url = f"unix://{address.path}?{query}"
    else:
        url = urlunsplit(address._replace(path=f"/{_REDIS_DATABASE}"))
    async with redis.Redis.from_url(url) as client:
        if await client.dbsize():
            raise CommandError(f"database {_REDIS_DATABASE} of Redis holds keys: the peers need it for themselves")
        try:
            yield url
        finally:
            await client.flushdb()
