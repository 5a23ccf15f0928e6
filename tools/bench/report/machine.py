"""The machine and the software of a run, for the report."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import redis.asyncio as redis

from innosystem.runner.settings import RunnerSettings
from services import SERVICES
from services.kit.settings import DatabaseSettings

_LIBRARIES = ("grpcio", "protobuf", "psycopg", "sqlalchemy", "redis", "uvloop")
_POSTGRESQL = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")


def machine() -> dict[str, Any]:
    """Return the hardware and the system."""
    return {"cpus": os.cpu_count(), "processor": _processor(), "system": platform.system()}


async def versions(database_url: str, redis_url: str) -> dict[str, Any]:
    """Return the versions of the software, and the settings of PostgreSQL.

    Args:
        database_url: The address of any database of the server.
        redis_url: The address of Redis.
    """
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute("SELECT name, setting || coalesce(unit, '') FROM pg_settings")
        settings: dict[str, str] = dict(await found.fetchall())
    async with redis.Redis.from_url(redis_url) as client:
        server: Mapping[str, Any] = await client.info("server")
    return {
        "python": platform.python_version(),
        "postgresql": {name: settings[name] for name in _POSTGRESQL},
        "redis": server["redis_version"],
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def tuned(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of services and runners that affect speed.

    Args:
        settings: Their environment.
    """
    default = DatabaseSettings.model_fields["pool_size"].default
    pools = {name: int(settings.get(f"{name.upper()}_DATABASE_POOL_SIZE", default)) for name in SERVICES}
    return {
        "pool_sizes": pools,
        "runner_concurrency": int(
            settings.get("RUNNER_CONCURRENCY", RunnerSettings.model_fields["runner_concurrency"].default)
        ),
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
