"""The platform on this machine: databases, Redis, the three services and runners, each a separate process.

Used by `innosystem up`, `innosystem demo` and tests. PostgreSQL and Redis are embedded in the stack's folder, unless
the settings name others (`*_DATABASE_URL`, `REDIS_URL`).
"""

import asyncio
import fcntl
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from innosystem.shared.settings_names import CREDENTIALS, TOKENS
from innosystem.shared.transport import Transport
from services import SERVICES
from tools.local.child import Child, StackError
from tools.local.credentials import Credentials, create_credentials
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis
from tools.local.embedded.errors import with_log
from tools.local.environment import database_variable, drop_libpq_variables, environment, owner_variable
from tools.local.migrations import migrations
from tools.local.ports import is_free, listener
from tools.local.private_files import open_private, private_folder
from tools.local.readiness import until_serving
from tools.local.steps import ShowStep, no_steps
from tools.local.stopping import run_to_completion

if TYPE_CHECKING:
    from types import TracebackType

    from innosystem.client import Innosystem

HANDLERS = ("innosystem.runner.examples.source_stats",)

_FREE_PORT = "127.0.0.1:0"
_SERVING_SECONDS_MAX = 30.0
_STOP_SECONDS_MAX = 30.0
_WATCH_SECONDS = 0.5


class Stack:
    """The local stack. As an async context manager it is started and stopped with the block; the data stays.

    Args:
        folder: The folder of data and logs; created if it is missing. What it holds only this user may read.
        ports: The ports of the services, by name; a service that is not named gets a free port.
        runners: How many runners to start.
        handlers: The modules with the runners' handlers.
        settings: The environment of the processes; by default that of this one, and .env.
        step: Shows the steps of the start.

    Attributes:
        addresses: Where the services serve, by name, once the stack has started.
        metrics: Where services and runners serve their metrics, by name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Mapping[str, int] | None = None,
        runners: int = 1,
        handlers: Sequence[str] = HANDLERS,
        settings: Mapping[str, str] | None = None,
        step: ShowStep = no_steps,
    ) -> None:
        self.addresses: dict[str, str] = {}
        self.metrics: dict[str, str] = {}
        self.children: list[Child] = []
        self._folder = folder.resolve()
        self.settings_file = self._folder / "stack.env"
        self._ports = ports or {}
        self._runners = runners
        self._handlers = handlers
        self._settings = dict(environment() if settings is None else settings)
        self._step = step
        self._credentials = Credentials()
        self._servers: dict[str, EmbeddedPostgres | EmbeddedRedis] = {}
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await run_to_completion(self._opened.aclose())
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        await run_to_completion(self._opened.aclose())

    def client(self, **channel: Any) -> "Innosystem":
        """Return a client of the services, as the stack's operator.

        Args:
            channel: Passed on to `innosystem.client.Innosystem`.
        """
        from innosystem.client import Innosystem, token_of

        transport = Transport.of(self._settings)
        return Innosystem(**self.addresses, token=token_of(self._settings), transport=transport, **channel)

    async def watch(self) -> None:
        """Wait until one of the processes ends.

        Raises:
            StackError: A process has ended; the message shows its exit status and the end of its log.
            EmbeddedServerError: A server has ended; the message shows the end of its log.
        """
        waiting = [asyncio.create_task(self._watch_child(child)) for child in self.children]
        waiting.append(asyncio.create_task(self._watch_servers()))
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        done.pop().result()

    async def _watch_child(self, child: Child) -> None:
        await child.wait()
        raise child.ended()

    async def _watch_servers(self) -> None:
        """Poll PostgreSQL and Redis: they are no children of this process, so it receives no signal at their end."""
        while True:
            for child in self.children:
                child.bound_log()
            for name, server in self._servers.items():
                if not server.running:
                    raise with_log(f"{name} ended", self._folder / f"{name}.log")
            await asyncio.sleep(_WATCH_SECONDS)

    async def _start(self) -> None:
        # As root, PostgreSQL runs as a user of its own, and the folder must let it pass.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_folder(self._folder / "logs")
        self._lock()
        self._require_free_ports()
        self._create_credentials()
        for name, start, waits_for in (
            (
                "PostgreSQL",
                self._start_databases,
                f"for PostgreSQL to accept connections ({self._folder}/postgres.log)",
            ),
            ("Redis", self._start_redis, f"for Redis to respond ({self._folder}/redis.log)"),
            ("migrations", self._migrate, "for the databases' schemas"),
        ):
            with self._step(name, waits_for):
                await run_to_completion(asyncio.to_thread(start))
        for service in SERVICES:
            with self._step(service, f"for it to serve ({self._log(service)})"):
                await self._start_service(service)
        for name in [f"runner-{number}" for number in range(1, self._runners + 1)]:
            with self._step(name, f"for it to be ready ({self._log(name)})"):
                # Runners with one address could not start beside each other.
                self._settings["RUNNER_METRICS_LISTEN_ADDRESS"] = _FREE_PORT
                own = self._credentials.runner
                child = await self._start_child(name, "innosystem.runner", "--handlers", *self._handlers, own=own)
                await child.wait_for_event("runner_ready")
                self.metrics[name] = str((await child.wait_for_event("metrics"))["address"])
        self._write_settings()

    def _create_credentials(self) -> None:
        """Create credentials, unless INNOSYSTEM_AUTH is off. Tokens of the environment are of other platforms."""
        for name in TOKENS:
            self._settings.pop(name, None)
        if self._settings.get("INNOSYSTEM_AUTH", "").lower() != "off":
            self._credentials = create_credentials(self._folder / "credentials")
            self._settings.update({**self._credentials.runner, **self._credentials.operator})

    def _require_free_ports(self) -> None:
        """Refuse to start if a port is taken, before anything is started."""
        self._require_free_port(*self._ports)

    def _require_free_port(self, *services: str) -> None:
        ports = {service: self._ports.get(service, 0) for service in services}
        if taken := {service: port for service, port in ports.items() if port and not is_free(port)}:
            used = "; ".join(
                f"port {port}, meant for {name}, is used by {listener(port)}" for name, port in taken.items()
            )
            options = " ".join(f"--{name}-port 0" for name in taken)
            raise StackError(f"{used}: end it, or have a free port with `innosystem up {options}`")

    def _log(self, name: str) -> Path:
        return self._folder / "logs" / f"{name}.log"

    @property
    def caller_checks(self) -> dict[str, str]:
        """The settings by which services check their callers; empty without authentication."""
        return dict(self._credentials.shared)

    @property
    def program_settings(self) -> dict[str, str]:
        """The settings for other processes that work with this stack, such as a runner in another terminal."""
        names = [f"{service.upper()}_{what}" for what in ("ADDRESS", "DATABASE_URL") for service in SERVICES]
        names += [f"{service.upper()}_METRICS_ADDRESS" for service in SERVICES]
        optional = (*map(owner_variable, SERVICES), "REDIS_KEY_PREFIX", *CREDENTIALS)
        names += [name for name in optional if name in self._settings]
        found = {name: self._settings[name] for name in (*names, "REDIS_URL")}
        # These processes may run in other folders.
        whole = {name: str(Path(value).absolute()) for name, value in found.items() if value and name.endswith("_FILE")}
        return {**found, **whole}

    def _write_settings(self) -> None:
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in self.program_settings.items()]
        # Complete from the first moment, for commands that read it meanwhile.
        new = self.settings_file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text("".join(lines))
        new.replace(self.settings_file)

    def _lock(self) -> None:
        """Keep a second stack out of the folder. The kernel holds the lock, so it ends with this process."""
        file = self._opened.enter_context(open_private(self._folder / "stack.lock", "a+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(
                f"a stack is running in {self._folder} (process {file.read().strip()}): "
                "use that one, stop it by Ctrl-C, or give another --folder"
            ) from None
        # Its presence says that the stack has started. Until then the one before must not be taken for this one.
        self.settings_file.unlink(missing_ok=True)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()

    def _start_databases(self) -> None:
        missing = [service for service in SERVICES if database_variable(service) not in self._settings]
        if not missing:
            return
        drop_libpq_variables(os.environ, self._settings)
        self._servers["postgres"] = postgres = EmbeddedPostgres(self._folder)
        self._opened.callback(postgres.stop)
        postgres.start()
        for service in missing:
            name = f"innosystem_{service}"
            postgres.create_database(name)
            # The superuser owns the tables. The service owns nothing, so it can't change the ledger or the audit trail.
            postgres.create_role(name)
            self._settings[owner_variable(service)] = postgres.url(name)
            self._settings[database_variable(service)] = postgres.url(name, user=name)

    def _start_redis(self) -> None:
        if "REDIS_URL" in self._settings:
            return
        self._servers["redis"] = redis = EmbeddedRedis(self._folder)
        self._opened.callback(redis.stop)
        redis.start()
        self._settings["REDIS_URL"] = redis.url

    def _migrate(self) -> None:
        for service in SERVICES:
            url = self._settings.get(owner_variable(service)) or self._settings[database_variable(service)]
            migrations(service, url, self._settings).up()

    async def _start_service(self, service: str) -> None:
        prefix = service.upper()
        self._settings[f"{prefix}_LISTEN_ADDRESS"] = f"127.0.0.1:{self._ports.get(service, 0)}"
        self._settings.setdefault(f"{prefix}_METRICS_LISTEN_ADDRESS", _FREE_PORT)
        own = {**self._credentials.shared, **self._credentials.services.get(service, {})}
        child = await self._start_child(service, f"services.{service}", own=own)
        try:
            address = str((await child.wait_for_event("serving"))["address"])
        except StackError:
            if child.has_ended:
                # Perhaps because another process took the port after it was found free.
                self._require_free_port(service)
            raise
        await self._wait_until_serving(child, address)
        self.addresses[service] = self._settings[f"{prefix}_ADDRESS"] = address
        metrics = str((await child.wait_for_event("metrics"))["address"])
        self.metrics[service] = self._settings[f"{prefix}_METRICS_ADDRESS"] = metrics

    async def _wait_until_serving(self, child: Child, address: str) -> None:
        import grpc

        try:
            await until_serving(address, Transport.of(self._settings), seconds_max=_SERVING_SECONDS_MAX)
        except TimeoutError:
            raise StackError(f"{child.name} is not healthy after {_SERVING_SECONDS_MAX:g} s{child.tail()}") from None
        except grpc.RpcError as error:
            raise StackError(f"{child.name} ended while it was starting{child.tail()}") from error

    async def _start_child(self, name: str, module: str, *arguments: str, own: Mapping[str, str]) -> Child:
        # The stack reads the progress of a process from its log, which takes the level INFO.
        level = "DEBUG" if self._settings.get("LOG_LEVEL", "").upper() == "DEBUG" else "INFO"
        settings = {"LOG_LEVEL": level, "LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
        # Only migrations connect as the owners of the databases, and each process has a token of its own.
        others = {*map(owner_variable, SERVICES), *TOKENS}
        given = {key: value for key, value in self._settings.items() if key not in others}
        child = Child(name, module, arguments, {**given, **settings, **own}, self._log(name))
        # Stopped in reverse order: runners first, then the services that take their results, then the databases.
        self._opened.push_async_callback(child.stop, _STOP_SECONDS_MAX)
        await child.start()
        self.children.append(child)
        return child
