"""Measure the peers, each with its own worker, database and Redis database, on the servers of the stack."""

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

from tools.bench.load.load_process import LoadProcess
from tools.bench.peers.environment import versions
from tools.bench.peers.peerwork.work import SCHEMA
from tools.bench.platform.databases import new_database
from tools.bench.platform.stack_under_test import StackUnderTest
from tools.bench.report.figures import Figures
from tools.errors import CommandError
from tools.local import die_with_parent
from tools.local.private_files import open_private

_HERE = Path(__file__).parent
_REDIS_DATABASE = "15"
_POLL_SECONDS = 0.02
_DONE_SECONDS_MAX = 300.0
_STOP_SECONDS_MAX = 15.0
_WALLETS = "INSERT INTO wallets (id, balance) SELECT id, 1000000000 FROM unnest(%s::uuid[]) AS new(id)"


@dataclass(frozen=True)
class Peer:
    """A task queue with the best settings that were found for it on two cores.

    Attributes:
        name: The library.
        worker: The arguments of `python -m` for the worker.
        callers: How many concurrent callers submit.
        prepare: The arguments of `python -m` that prepare a new database.
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
    """Return the versions and settings of the peers, for the report."""
    locked = versions()
    return {
        peer.name: {"version": locked[peer.name], "worker": " ".join(peer.worker), "callers": peer.callers}
        for peer in PEERS
    }


async def measure(stack: StackUnderTest, python: Path) -> tuple[Figures, dict[str, Any]]:
    """Measure all peers, one after the other.

    Args:
        stack: The stack with PostgreSQL and Redis; its services are idle meanwhile.
        python: The interpreter of the peers' environment.

    Returns:
        The figures (medians), and the jobs a second of each run.
    """
    figures: Figures = {}
    runs: dict[str, Any] = {}
    for peer in PEERS:
        stack.say(f"{peer.name}: {stack.plan.unary_jobs} jobs, {stack.plan.runs} times")
        key = f"{peer.name}_jobs_per_second"
        runs[key] = await measure_peer(stack, python, peer)
        figures[key] = median(runs[key])
    return figures, runs


async def measure_peer(stack: StackUnderTest, python: Path, peer: Peer) -> list[float]:
    """Measure one peer: the jobs a second of each run, end to end."""
    async with new_database(stack.databases["jobs"]) as url, _broker(stack.settings["REDIS_URL"]) as redis_url:
        peer_run = PeerRun(stack, python, peer, _environment(url, redis_url), url)
        await peer_run.prepare()
        async with peer_run.worker():
            await peer_run.run(stack.plan.warm_up)
            return [await peer_run.run(stack.plan.unary_jobs) for _ in range(stack.plan.runs)]


class PeerRun:
    """The runs of one peer.

    Args:
        stack: The stack, for the sizes and the folder of logs.
        python: The peers' interpreter.
        peer: The peer.
        environment: The complete environment of its processes.
        url: The address of its database.
    """

    def __init__(
        self, stack: StackUnderTest, python: Path, peer: Peer, environment: Mapping[str, str], url: str
    ) -> None:
        self._stack = stack
        self._python = str(python)
        self._peer = peer
        self._environment = environment
        self._url = url
        self._wallets = [str(uuid4()) for _ in range(stack.plan.wallets)]
        self._log = stack.folder / f"{peer.name}.log"
        self._done = 0

    async def prepare(self) -> None:
        """Create the tables and wallets."""
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
        """Run the worker for the time of the block."""
        process = await self._start(self._peer.worker)
        try:
            yield
            if process.returncode is not None:
                raise self._failed()
        finally:
            await _stop(process)

    async def run(self, jobs: int) -> float:
        """Submit jobs, wait for all of them, and return the jobs a second end to end."""
        task = {"jobs": jobs, "callers": self._peer.callers, "wallets": self._wallets}
        command = [self._python, "-m", "peerwork.submit", self._peer.name]
        log = self._log.with_name(f"{self._peer.name}-submit.log")
        async with LoadProcess(command, task, self._environment, log) as submitter:
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
                await asyncio.sleep(_POLL_SECONDS)
        raise self._failed()

    async def _start(self, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        with open_private(self._log, "ab") as log:
            return await asyncio.create_subprocess_exec(
                # The script ends with this process; -P, so that nothing is imported from its folder.
                *(self._python, "-P", die_with_parent.__file__, str(os.getpid()), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                cwd=self._stack.folder,
                start_new_session=True,
            )

    def _failed(self) -> CommandError:
        tail = "\n".join(f"  {line}" for line in self._log.read_text(errors="replace").splitlines()[-15:])
        return CommandError(f"{self._peer.name} did not do its jobs; the end of its log:\n{tail}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End a worker and, if that takes too long, its whole session with all processes that it has started."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _environment(database_url: str, redis_url: str) -> dict[str, str]:
    # Without the platform's own environment on the path.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PG"))}
    return {**own, "PYTHONPATH": str(_HERE), "PEER_DATABASE_URL": database_url, "PEER_REDIS_URL": redis_url}


@asynccontextmanager
async def _broker(redis_url: str) -> AsyncIterator[str]:
    """Yield the address of a Redis database that must be empty, and empty it afterwards."""
    address = urlsplit(redis_url)
    if address.scheme == "unix":
        query = urlencode({**dict(parse_qsl(address.query)), "db": _REDIS_DATABASE})
        url = f"unix://{address.path}?{query}"
    else:
        url = urlunsplit(address._replace(path=f"/{_REDIS_DATABASE}"))
    async with redis.Redis.from_url(url) as client:
        if await client.dbsize():
            raise CommandError(f"database {_REDIS_DATABASE} of Redis holds keys: the peers need an empty one")
        try:
            yield url
        finally:
            await client.flushdb()
