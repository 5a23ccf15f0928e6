"""The three services as processes, on servers of their own; what they log, and how large they are."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from services import SERVICES
from services.kit.limits.settings import LimitSettings
from tests.chaos.support.verifying import verify
from tests.conftest import migrations
from tests.e2e.stack import Stack
from tests.fuzz.support.callers import Tokens
from tools.local.credentials import create_credentials
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

_ACCIDENTS = {"unexpected_error", "unexpected_cancellation", "data_corrupt", "crashed"}
_MISHAPS_SHOWN = 5
# No test of durability.
_POSTGRES_SETTINGS = {"fsync": "off"}
# A run would be over its limits most of the time.
_NO_LIMITS = {f"INNOSYSTEM_LIMITS_{name.upper()}": "0" for name in LimitSettings.model_fields}
# Such that clients are refused now and then. What exists is created by an operator and a runner.
_LIMITS = _NO_LIMITS | {
    "INNOSYSTEM_LIMITS_CLIENT_REQUESTS": "20/20",
    "INNOSYSTEM_LIMITS_CLIENT_SUBMISSIONS": "2/2",
    "INNOSYSTEM_LIMITS_CLIENT_CALLS": "2",
    "INNOSYSTEM_LIMITS_CLIENT_WATCHES": "1",
    "INNOSYSTEM_LIMITS_CUSTOMER_REQUESTS": "10/10",
    "INNOSYSTEM_LIMITS_CUSTOMER_SUBMISSIONS": "1/1",
    "INNOSYSTEM_LIMITS_CUSTOMER_INPUT_BYTES_PER_DAY": "10000",
    "INNOSYSTEM_LIMITS_CUSTOMER_JOBS_WAITING": "20",
}
MEBIBYTE = 1 << 20


class Platform:
    """What runs. Use it in `async with Platform.open(folder)`.

    Attributes:
        stack: The processes.
        tokens: What callers of them send.
    """

    def __init__(self, folder: Path) -> None:
        self._issued = create_credentials(folder / "credentials")
        self.tokens = Tokens(folder / "credentials", self._issued)
        self._postgres = EmbeddedPostgres(folder, _POSTGRES_SETTINGS)
        self._redis = EmbeddedRedis(folder)
        work = folder / "services"
        work.mkdir()
        self._folder = work
        self.stack = Stack(work, {}, "")

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, *, limited: bool = False) -> AsyncIterator["Platform"]:
        """Start everything, and end it after the block. The folder stays.

        Args:
            folder: Where everything works.
            limited: Whether clients and customers have low limits; otherwise nobody has any.
        """
        platform = cls(folder)
        try:
            await asyncio.to_thread(platform._start, _LIMITS if limited else _NO_LIMITS)
            yield platform
        finally:
            platform.stack.close()
            platform._postgres.stop(mode="immediate")
            platform._redis.stop()

    def _start(self, settings: Mapping[str, str]) -> None:
        self._redis.start()
        self._postgres.start()
        for service in SERVICES:
            self._postgres.create_database(service)
            migrations(service, self._postgres.url(service)).up()
        urls = {service: self._postgres.url(service) for service in SERVICES}
        self.stack = Stack(self._folder, urls, self._redis.url, issued=self._issued)
        # First those that the jobs service calls.
        self.stack.start("customers", "wallets", "jobs", LOG_LEVEL="DEBUG", **settings)

    def sizes(self) -> Mapping[str, float]:
        """The memory of each service in MiB, with what it has started."""
        return {name: _rss(process.pid) / MEBIBYTE for name, process in self.stack.processes.items()}

    def ended(self) -> list[str]:
        """The services whose process has ended."""
        return [
            f"the process of {name} has ended" for name, process in self.stack.processes.items() if not process.running
        ]

    def mishaps(self) -> Iterator[str]:
        """What the logs have of errors that nobody foresaw."""
        for name, process in self.stack.processes.items():
            lines = [
                line
                for line in process.output.splitlines()
                if '"level":"error"' in line or '"level":"critical"' in line
            ]
            found = [line for line in lines if _is_accident(line)]
            for line in found[:_MISHAPS_SHOWN]:
                yield f"the log of {name} has {len(found)} such lines: {line[-3000:]}"
            if "Traceback" in process.errors:
                yield f"{name} wrote to standard error: {process.errors[-3000:]}"

    def books(self) -> list[str]:
        """What `innosystem verify` finds."""
        return verify(self.stack.database_urls)


def _rss(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(int(one.memory_info().rss) for one in (process, *process.children(recursive=True)))


def _is_accident(line: str) -> bool:
    entry = json.loads(line)
    return entry["event"] in _ACCIDENTS or "exception" in entry or "Traceback" in line
