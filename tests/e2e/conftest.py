"""Stacks of real processes: on the servers of the run, or on servers that a test may stop."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from services import SERVICES
from tests.conftest import migrations
from tests.e2e.commands import children
from tests.e2e.stack import Stack
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis


@pytest.fixture
def stack(tmp_path: Path, fresh_database: Callable[[str], str], redis_url: str) -> Iterator[Stack]:
    """A stack on fresh databases; nothing is started yet."""
    urls = {service: fresh_database(service) for service in SERVICES}
    made = Stack(tmp_path, urls, redis_url, key_prefix=f"{uuid4()}:")
    yield made
    made.close()


@dataclass(frozen=True)
class Servers:
    """PostgreSQL and Redis that a test may stop."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Servers of the test's own, with all the durability, and with migrated databases."""
    # Not in pytest's folder: another pytest that starts takes away PostgreSQL's right to pass through what is above it.
    folder = Path(tempfile.mkdtemp(prefix="innosystem-e2e-"))
    made = Servers(EmbeddedPostgres(folder), EmbeddedRedis(folder))
    try:
        made.redis.start()
        made.postgres.start()
        for service in SERVICES:
            made.postgres.create_database(service)
            migrations(service, made.postgres.url(service)).up()
        yield made
    finally:
        made.postgres.stop(mode="immediate")
        made.redis.stop()
        shutil.rmtree(folder)


@pytest.fixture
def own_stack(tmp_path: Path, servers: Servers) -> Iterator[Stack]:
    """A stack on servers that may be stopped; nothing is started yet."""
    urls = {service: servers.postgres.url(service) for service in SERVICES}
    made = Stack(tmp_path, urls, servers.redis.url)
    yield made
    made.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of a local stack, in which nothing runs afterwards."""
    # Not in pytest's folder, as above.
    around = Path(tempfile.mkdtemp(prefix="innosystem-e2e-"))
    made = around / "data"
    try:
        yield made
    finally:
        for process in children(made):
            process.kill()
        EmbeddedPostgres(made).stop(mode="immediate")
        EmbeddedRedis(made).stop()
        shutil.rmtree(around)
