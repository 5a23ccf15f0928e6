"""Stacks of real processes: on the servers of the run, or on servers that a test may stop."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from services import SERVICES
from tests.conftest import migrations
from tests.e2e.commands import children
from tests.e2e.processes import PROJECT
from tests.e2e.stack import Stack
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

BEFORE = "7b9354e"
"""0.1.0."""
_IMPORTED = ("services", "sdk", "runner", "protos", "tests", "pyproject.toml")


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


@pytest.fixture(scope="session")
def code_before(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where Python finds the code of the release before this one."""
    folder = tmp_path_factory.mktemp("before")
    archiving = ["git", "archive", "--format=zip", BEFORE, *_IMPORTED]
    told = subprocess.run(archiving, check=False, cwd=PROJECT, capture_output=True)
    if told.returncode:
        pytest.skip(f"the code of {BEFORE} is not in this checkout: {told.stderr.decode().strip()}")
    with zipfile.ZipFile(io.BytesIO(told.stdout)) as archive:
        archive.extractall(folder)
    subprocess.run([sys.executable, "sdk/hatch_build.py"], check=True, cwd=folder)
    path = os.pathsep.join(str(folder / part) for part in ("", "sdk/src", "runner/src"))
    shown = [sys.executable, "-c", "import services, innosystem.client as c; print(services.__file__, c.__file__)"]
    found = subprocess.run(shown, check=True, cwd=folder, env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert found.stdout.count(str(folder)) == 2, found.stdout
    return path


@pytest.fixture
def stacks(
    tmp_path: Path, fresh_database: Callable[[str], str], redis_url: str
) -> Iterator[tuple[Stack, Stack, Mapping[str, str]]]:
    """Two stacks on the same databases and lists, for services of either release, and the databases."""
    urls = {service: fresh_database(service) for service in SERVICES}
    prefix = f"{uuid4()}:"
    made = Stack(tmp_path, urls, redis_url, key_prefix=prefix), Stack(tmp_path, urls, redis_url, key_prefix=prefix)
    yield *made, urls
    for stack in made:
        stack.close()
