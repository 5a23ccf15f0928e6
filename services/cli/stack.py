"""The platform on this machine: databases, Redis, the three services and runners, each a process of its own.

Used by `innosystem up`, `innosystem demo` and tests. PostgreSQL and Redis are embedded in the stack's folder, unless
the environment names others (`*_DATABASE_URL`, `REDIS_URL`).
"""

import asyncio
import fcntl
import importlib
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from services.cli.child import Child, StackError
from services.cli.connect import environment

if TYPE_CHECKING:
    from types import TracebackType

SERVICES = ("customers", "wallets", "jobs")
HANDLERS = ("innosystem.runner.examples.source_stats",)

_STOP_SECONDS_MAX = 30.0


class Stack:
    """The local stack. As an async context manager it is started and stopped with the block; the data stays.

    Args:
        folder: Where data and logs are kept; made if it is missing.
        ports: The ports of the services, by name; a free one for those that are not named.
        runners: How many runners to start.
        handlers: The modules with the runners' handlers.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Mapping[str, int] | None = None,
        runners: int = 1,
        handlers: Sequence[str] = HANDLERS,
    ) -> None:
        self.addresses: dict[str, str] = {}
        self.children: list[Child] = []
        self._folder = folder.resolve()
        self.settings_file = self._folder / "stack.env"
        self._ports = ports or {}
        self._runners = runners
        self._handlers = handlers
        self._given = environment()
        self._opened = AsyncExitStack()
        # PGHOST and its like would lead the services astray: their addresses are complete.
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._opened.aclose()
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        await self._opened.aclose()

    async def watch(self) -> None:
        """Waits until one of the processes ends.

        Raises:
            StackError: Naming it, with its exit status and the end of its log.
        """
        waiting = {asyncio.create_task(child.wait()): child for child in self.children}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        raise waiting[done.pop()].ended()

    async def _start(self) -> None:
        (self._folder / "logs").mkdir(parents=True, exist_ok=True)
        self._lock()
        await asyncio.to_thread(self._start_databases)
        if "REDIS_URL" not in self._given:
            await asyncio.to_thread(self._start_redis)
        await asyncio.to_thread(self._migrate)
        for service in SERVICES:
            self._environment[f"{service.upper()}_LISTEN_ADDRESS"] = f"127.0.0.1:{self._ports.get(service, 0)}"
            child = await self._start_child(service, f"services.{service}")
            address = str((await child.logged("serving"))["address"])
            self.addresses[service] = self._environment[f"{service.upper()}_ADDRESS"] = address
        for number in range(1, self._runners + 1):
            child = await self._start_child(f"runner-{number}", "innosystem.runner", "--handlers", *self._handlers)
            await child.logged("runner_ready")
        self._write_settings()

    def _write_settings(self) -> None:
        """Writes down what other processes need to work with this stack, such as a runner in another terminal."""
        names = [f"{service.upper()}_{what}" for what in ("ADDRESS", "DATABASE_URL") for service in SERVICES]
        known = {**self._given, **self._environment}
        lines = [f"{name}={shlex.quote(known[name])}\n" for name in (*names, "REDIS_URL")]
        self.settings_file.touch(mode=0o600)
        self.settings_file.write_text("".join(lines))

    def _lock(self) -> None:
        """Keeps a second stack out of the folder. The lock is the kernel's, so none is left by a process that died."""
        file = self._opened.enter_context((self._folder / "stack.lock").open("a+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(f"a stack is running in {self._folder} (process {file.read().strip()})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()

    def _start_databases(self) -> None:
        missing = [service for service in SERVICES if f"{service.upper()}_DATABASE_URL" not in self._given]
        if not missing:
            return
        from services.cli.embedded import EmbeddedPostgres

        postgres = EmbeddedPostgres(self._folder)
        self._opened.callback(postgres.stop)
        postgres.start()
        for service in missing:
            postgres.create_database(f"innosystem_{service}")
            self._environment[f"{service.upper()}_DATABASE_URL"] = postgres.url(f"innosystem_{service}")

    def _start_redis(self) -> None:
        from services.cli.embedded import EmbeddedRedis

        redis = EmbeddedRedis(self._folder)
        self._opened.callback(redis.stop)
        redis.start()
        self._environment["REDIS_URL"] = redis.url

    def _migrate(self) -> None:
        from services.kit.migrations import Migrations

        for service in SERVICES:
            name = f"{service.upper()}_DATABASE_URL"
            models = importlib.import_module(f"services.{service}.models")
            Migrations(service, self._environment.get(name) or self._given[name], models.metadata).up()

    async def _start_child(self, name: str, module: str, *arguments: str) -> Child:
        log = self._folder / "logs" / f"{name}.log"
        settings = {**self._given, **self._environment, "LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
        child = Child(name, module, arguments, settings, log)
        # Stopped in the reverse order: runners first, then who takes their results, then the databases.
        self._opened.push_async_callback(child.stop, _STOP_SECONDS_MAX)
        await child.start()
        self.children.append(child)
        return child
