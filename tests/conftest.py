"""Fixtures for all tests: real servers, started once a run, and a database of its own for who asks for one."""

import atexit
import importlib
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from innosystem.shared.settings_names import CREDENTIALS
from services.kit.data.engine.database import Database
from services.kit.migrations.tree import Migrations
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

# Tests commit to databases that are thrown away; the end-to-end tests run servers of their own with all the durability.
_POSTGRES_SETTINGS = {"fsync": "off", "max_connections": "300"}

# How long an example takes says something about the machine, and nothing about the product.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_numbers = itertools.count()

# No test reads or changes the contexts of the user who runs it. Each test has a file of its own (`_own_contexts`); this
# one is for what runs longer than a test.
_contexts = Path(tempfile.mkdtemp(prefix="innosystem-contexts-"))
atexit.register(shutil.rmtree, _contexts, ignore_errors=True)
os.environ["INNOSYSTEM_CONFIG"] = str(_contexts / "of-the-run.json")
os.environ.pop("INNOSYSTEM_CONTEXT", None)

# Services that a test starts by themselves know no caller, unless the test gives them keys.
os.environ["INNOSYSTEM_AUTH"] = "off"
for _name in CREDENTIALS:
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def _own_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test contexts of its own: none at first."""
    monkeypatch.setenv("INNOSYSTEM_CONFIG", str(_contexts / f"{next(_numbers)}.json"))


def _servers_folder(basetemp: Path) -> Path:
    # Workers of pytest-xdist have folders inside the one of the run; all share the same servers.
    run = basetemp.parent if "PYTEST_XDIST_WORKER" in os.environ else basetemp
    # Not inside of it: whenever pytest starts it takes the right to pass away from what is above its folders, and
    # PostgreSQL needs it where it runs under an account of its own.
    name = blake2b(os.fsencode(run), digest_size=6).hexdigest()
    return Path(tempfile.gettempdir()) / f"innosystem-tests-{name}"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what the fixtures started, when the last worker is done."""
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is None or "PYTEST_XDIST_WORKER" in os.environ:
        return
    folder = _servers_folder(factory.getbasetemp())
    if folder.exists():
        EmbeddedPostgres(folder).stop(mode="immediate")
        EmbeddedRedis(folder).stop()
        shutil.rmtree(folder)


class PostgresServer(Protocol):
    """A server on which tests make databases of their own."""

    def url(self, database: str) -> str:
        """The address of a database."""
        ...

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database if it is not there."""
        ...

    def drop_database(self, name: str) -> None:
        """Remove a database, even while sessions are connected."""
        ...


class ExternalPostgres:
    """The server that CUSTOMERS_DATABASE_URL names. Its databases are left alone."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    def url(self, database: str) -> str:
        """The address of a database, with the user and password of the given one."""
        return self._url.set(database=database).render_as_string(hide_password=False)

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database, without what an interrupted run left under its name."""
        self.drop_database(name)
        clone = sql.SQL("TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        self._execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), clone))

    def drop_database(self, name: str) -> None:
        """Remove a database, even while sessions are connected."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        address = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> PostgresServer:
    """The PostgreSQL server of this run: the one that CUSTOMERS_DATABASE_URL names, else an embedded one."""
    if external := os.environ.get("CUSTOMERS_DATABASE_URL"):
        return ExternalPostgres(external)
    server = EmbeddedPostgres(_servers_folder(tmp_path_factory.getbasetemp()), _POSTGRES_SETTINGS)
    server.start()
    return server


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Redis server of this run: the one that REDIS_URL names, else an embedded one, with a database a worker."""
    if external := os.environ.get("REDIS_URL"):
        return external
    server = EmbeddedRedis(_servers_folder(tmp_path_factory.getbasetemp()))
    server.start()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return server.url.replace("db=0", f"db={int(worker) % 16}")


def service_role(service: str) -> str:
    """What a service connects as in tests."""
    return f"test_{service}"


def as_service(service: str, url: str) -> str:
    """The address of a database for the service itself, which owns nothing there."""
    role = service_role(service)
    return make_url(url).set(username=role, password=role).render_as_string(hide_password=False)


def migrations(service: str, url: str) -> Migrations:
    """The migrations of a service on a database, by its owner, with the grants for the service's role."""
    role = service_role(service)
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
            # Another worker may be faster.
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), role)
                connection.execute(create)
    metadata = importlib.import_module(f"services.{service}.store.tables").metadata
    return Migrations(service, url, metadata, service_role=role)


@pytest.fixture(scope="session")
def fresh_database(postgres: PostgresServer) -> Iterator[Callable[[str], str]]:
    """Create an empty, migrated database of a service and return its owner's address: `fresh_database("jobs")`."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    templates: dict[str, str] = {}
    made: list[str] = []

    def fresh(service: str) -> str:
        if service not in templates:
            template = f"template_{service}_{worker}"
            postgres.create_database(template)
            migrations(service, postgres.url(template)).up()
            templates[service] = template
        name = f"{service}_{worker}_{next(_numbers)}"
        postgres.create_database(name, template=templates[service])
        made.append(name)
        return postgres.url(name)

    yield fresh
    for name in made:
        postgres.drop_database(name)


@pytest.fixture(scope="session")
def shared_database(fresh_database: Callable[[str], str]) -> Callable[[str], str]:
    """Return the address of a database of a service in which no test commits anything."""
    urls: dict[str, str] = {}

    def shared(service: str) -> str:
        if service not in urls:
            urls[service] = fresh_database(service)
        return urls[service]

    return shared


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    """Return the address of a database with nothing in it."""
    name = f"empty_{uuid4().hex}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.drop_database(name)


OpenDatabase = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def rolled_back(shared_database: Callable[[str], str]) -> AsyncIterator[OpenDatabase]:
    """Open a service's database on one connection, in a transaction that is rolled back after the test (D2)."""
    async with AsyncExitStack() as opened:

        async def open_database(service: str) -> Database:
            url = shared_database(service).replace("postgresql:", "postgresql+psycopg:")
            engine = create_async_engine(url, poolclass=NullPool)
            connection = await opened.enter_async_context(engine.connect())
            transaction = await connection.begin()
            opened.push_async_callback(transaction.rollback)
            return Database.on_connection(connection)

        yield open_database
