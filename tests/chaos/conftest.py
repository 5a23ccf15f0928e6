"""A platform for the crash-point tests: started once, put right after each test."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services import SERVICES
from tests.chaos.support.arena import Arena
from tests.conftest import migrations
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis


@pytest.fixture(scope="module")
def whole_arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The services, on servers with all the durability that tests may stop."""
    # Not in pytest's folder: another pytest that starts takes away PostgreSQL's right to pass through what is above it.
    folder = Path(tempfile.mkdtemp(prefix="innosystem-crash-points-"))
    postgres, redis = EmbeddedPostgres(folder), EmbeddedRedis(folder)
    arena: Arena | None = None
    try:
        redis.start()
        postgres.start()
        for service in SERVICES:
            postgres.create_database(service)
            migrations(service, postgres.url(service)).up()
        arena = Arena(tmp_path_factory.mktemp("arena"), postgres, redis)
        for service in SERVICES:
            arena.start(service)
        yield arena
    finally:
        if arena is not None:
            arena.stack.close()
        postgres.stop(mode="immediate")
        redis.stop()
        shutil.rmtree(folder)


@pytest.fixture
def arena(whole_arena: Arena) -> Iterator[Arena]:
    """The services; runners are the test's to start."""
    yield whole_arena
    whole_arena.restore()
