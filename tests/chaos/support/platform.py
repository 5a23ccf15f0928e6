"""The whole platform of a run: two replicas of each service, runners, PostgreSQL, Redis, and a link to each server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import psutil
import redis

from services import SERVICES
from tests.chaos.support.kinds import DEATHS_MAX
from tests.chaos.support.members import LISTENS, READY, Member
from tests.chaos.support.notes import PLACE, Notes
from tests.chaos.support.proxy import Link, Upstream
from tests.chaos.support.row_faults import allow_later_value, connect
from tests.conftest import migrations, service_role
from tools.local.credentials import create_credentials
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

REPLICAS = 2
RUNNERS = 3
LEASE_SECONDS = 3
WINDOW = 20
"""How many IDs a list of Redis has: few, so that jobs are withheld all the time."""
HANDLERS = "tests.chaos.support.handlers"

_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
_WATCH_SECONDS = 0.5
_POSTGRES_SOCKET = ".s.PGSQL.5432"

# Small windows, short waits and short leases: what takes minutes in production happens all the time here.
_JOBS_SETTINGS = {
    "JOBS_SETTLE_AFTER_SECONDS": "1",
    "JOBS_RESCUE_GRACE_SECONDS": "2",
    "JOBS_RECONCILE_SECONDS": "1",
    "JOBS_RESCUES_MAX": str(DEATHS_MAX),
    "JOBS_RESCUE_WAIT_SECONDS": "0.3",
    # As by default longer than a run is short: killers that nobody has found yet come apart from each other, and from
    # those that they took along. With two seconds they did not where other work had most of the machine.
    "JOBS_RESCUE_SHORT_SECONDS": "20",
    "JOBS_RESCUE_WAIT_MAX_SECONDS": "30",
    # A submission has a twentieth of it to store its job, also where everything shares two cores. What is under way at
    # half of it must be over by then, through links that stand still for six seconds.
    "JOBS_HOLD_ORPHAN_SECONDS": "60",
}
_RUNNER_SETTINGS = {
    "RUNNER_LEASE_SECONDS": str(LEASE_SECONDS),
    "RUNNER_CONCURRENCY": "16",
    "RUNNER_PROCESSES": "2",
    "RUNNER_DRAIN_SECONDS": "4",
    "LOG_LEVEL": "DEBUG",
}


@dataclass(frozen=True)
class RedisServer:
    """A Redis server, and the folder of its data."""

    server: EmbeddedRedis
    data: Path

    @classmethod
    def of(cls, folder: Path) -> "RedisServer":
        """Describe the server of a folder."""
        return cls(EmbeddedRedis(folder), folder / "redis")

    def start(self) -> None:
        """Start the server."""
        self.data.parent.mkdir(exist_ok=True)
        self.server.start()


def redis_client(server: EmbeddedRedis) -> "redis.Redis":
    """Connect to a server directly."""
    return redis.Redis.from_url(server.url, socket_timeout=5)


class Platform:
    """All that runs. Use it in `async with Platform.open(folder)`.

    Attributes:
        folder: Where everything works and logs.
        members: The processes, by name.
        links: The ways to the servers, by name: `redis`, `postgres-jobs`, `jobs-0` and so on.
    """

    def __init__(self, folder: Path, *, window: int = WINDOW) -> None:
        self.folder = folder
        self._window = window
        self.postgres = EmbeddedPostgres(folder)
        # The primary, and one that takes over when the address is moved to it.
        self._redis_servers = [RedisServer.of(folder), RedisServer.of(folder / "redis-standby")]
        self.notes = folder / "notes.jsonl"
        self.links: dict[str, Link] = {}
        self.members: dict[str, Member] = {}
        self._listen: dict[str, str] = {}
        self._credentials = create_credentials(folder / "credentials")

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, *, window: int = WINDOW) -> AsyncIterator["Platform"]:
        """Start everything, and end it after the block. The folder stays.

        Args:
            folder: Where everything works and logs.
            window: How many IDs a list of Redis has.
        """
        platform = cls(folder, window=window)
        try:
            await platform._start()
            yield platform
        finally:
            await platform._stop()

    @property
    def database_urls(self) -> Mapping[str, str]:
        """The databases, without a proxy in between."""
        return {service: self.postgres.url(service) for service in SERVICES}

    def token(self) -> str:
        """Return the token of the run's own calls."""
        return self._credentials.operator["INNOSYSTEM_TOKEN"]

    def runner_token(self) -> str:
        """Return the token of the runners."""
        return self._credentials.runner["RUNNER_TOKEN"]

    @property
    def redis(self) -> EmbeddedRedis:
        """The Redis that the address leads to."""
        return self._redis_servers[0].server

    @property
    def redis_data(self) -> Path:
        """The folder of its data."""
        return self._redis_servers[0].data

    def fail_redis_over(self) -> None:
        """Move the address to an empty primary; connections to the old one stay open, and it takes no writes."""
        old, new = self._redis_servers
        new.start()
        with redis_client(new.server) as client:
            client.replicaof("NO", "ONE")
            client.flushall()
        self._redis_servers = [new, old]
        if old.server.running:
            with redis_client(old.server) as client:
                # Nobody is there: it stays a replica without a primary.
                client.replicaof("127.0.0.1", "1")

    @property
    def runners(self) -> list[Member]:
        """The runners."""
        return [member for name, member in self.members.items() if name.startswith("runner")]

    def target(self, service: str) -> str:
        """Where clients of a service connect: to both replicas, through their links."""
        ports = [self.links[f"{service}-{index}"].port for index in range(REPLICAS)]
        return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)

    async def watch(self) -> None:
        """Start again what ends by itself, and remembers that it did, until it is cancelled."""
        while True:
            for member in self.members.values():
                member.look()
            await asyncio.sleep(_WATCH_SECONDS)

    def orphans(self) -> list[str]:
        """Process of runners that are gone, and that should have gone with them."""
        members = {member.process.pid for member in self.members.values()}
        folders = {str(self._member_folder(runner.name)) for runner in self.runners}
        found = psutil.process_iter(["pid", "ppid", "cwd", "cmdline"])
        return [
            f"process {one.info['pid']} has survived its runner: {str(one.info['cmdline'])[:200]}"
            for one in found
            if one.info["cwd"] in folders and not members & {one.info["pid"], one.info["ppid"]}
        ]

    async def mend(self) -> None:
        """Has everything run again, whatever the faults have left."""
        for link in self.links.values():
            link.heal()
        await asyncio.to_thread(self.postgres.start)
        await asyncio.to_thread(self.make_writable, *SERVICES)
        await asyncio.to_thread(self.redis.start)
        for member in self.members.values():
            member.thaw()
            if not member.process.running:
                member.start()

    def make_read_only(self, database: str) -> None:
        """Have the sessions of a database that begin from now on take no writes, and end all others.

        Those sessions stay so, also after `make_writable`: as with a standby that services have reconnected to.
        """
        with connect(self.postgres.url("postgres")) as connection:
            connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
            connection.commit()
            connection.execute(_END_SESSIONS, [database])

    def make_writable(self, *databases: str) -> None:
        """Have the sessions of databases that begin from now on take writes."""
        with connect(self.postgres.url("postgres")) as connection:
            for database in databases:
                connection.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only".encode())

    async def _start(self) -> None:
        await asyncio.to_thread(self._start_servers)
        self._add_link("redis", lambda: Path(unquote(urlsplit(self.redis.url).path)))
        for service in SERVICES:
            self._add_link(f"postgres-{service}", self._postgres_socket)
            for name in _replicas(service):
                self._add_link(name, partial(self._replica, name))
        for link in self.links.values():
            await link.start()
        for service in SERVICES:
            for name in _replicas(service):
                self._add_member(name, f"services.{service}")
        for name in [name for service in SERVICES for name in _replicas(service)]:
            self._listen[name] = (await self.members[name].started(LISTENS))["address"]
        for index in range(RUNNERS):
            self._add_member(f"runner-{index}", "innosystem.runner", "--handlers", HANDLERS)
        for runner in self.runners:
            await runner.started(READY)

    def _start_servers(self) -> None:
        self.redis.start()
        self.postgres.start()
        for service in SERVICES:
            self.postgres.create_database(service)
            migrations(service, self.postgres.url(service)).up()
        allow_later_value(self.postgres.url("jobs"))

    async def _stop(self) -> None:
        for member in self.members.values():
            if member.history:
                await member.kill()
        for link in self.links.values():
            await link.stop()
        await asyncio.to_thread(self.postgres.stop, "immediate")
        for one in self._redis_servers:
            await asyncio.to_thread(one.server.stop)

    def _replica(self, name: str) -> Upstream:
        if name not in self._listen:
            # The services ask one another from the beginning.
            raise ConnectionRefusedError(f"{name} has not started yet")
        host, _, port = self._listen[name].rpartition(":")
        return host, int(port)

    def _add_link(self, name: str, upstream: Callable[[], Upstream]) -> None:
        self.links[name] = Link(name, upstream)

    def _add_member(self, name: str, module: str, *arguments: str) -> None:
        member = Member(
            name,
            module,
            *arguments,
            environment=lambda: self._environment(name),
            folder=self._member_folder(name),
            killed=lambda: Notes.read(self.notes).killed,
        )
        self.members[name] = member
        member.start()

    def _member_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def _environment(self, name: str) -> dict[str, str]:
        service, _, _ = name.partition("-")
        if service == "runner":
            clients = {f"{each.upper()}_ADDRESS": self.target(each) for each in ("wallets", "jobs")}
            own = self._credentials.runner
            return {**self._queue(), **clients, **_RUNNER_SETTINGS, **own, PLACE: str(self.notes)}
        upper = service.upper()
        settings = {
            f"{upper}_DATABASE_URL": self._database_url(service),
            f"{upper}_DATABASE_POOL_SIZE": "8",
            f"{upper}_LISTEN_ADDRESS": self._listen.get(name, "127.0.0.1:0"),
            f"{upper}_DRAIN_SECONDS": "5",
            **self._credentials.shared,
            **self._credentials.services[service],
        }
        if service == "customers":
            settings |= self._queue()
        if service == "jobs":
            clients = {f"{each.upper()}_ADDRESS": self.target(each) for each in ("customers", "wallets")}
            settings |= {**self._queue(), **clients, **_JOBS_SETTINGS, "JOBS_WINDOW": str(self._window)}
        return settings

    def _queue(self) -> dict[str, str]:
        return {"REDIS_URL": f"redis://127.0.0.1:{self.links['redis'].port}/0"}

    def _database_url(self, service: str) -> str:
        return f"postgresql://{service_role(service)}@127.0.0.1:{self.links[f'postgres-{service}'].port}/{service}"

    def _postgres_socket(self) -> Path:
        [host] = parse_qs(urlsplit(self.postgres.url("postgres")).query)["host"]
        return Path(host) / _POSTGRES_SOCKET


def _replicas(service: str) -> list[str]:
    return [f"{service}-{index}" for index in range(REPLICAS)]
