"""A throw-away PgBouncer, where the program is: PGBOUNCER, on the PATH, or got by `scripts/get_pgbouncer.py`."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.support.servers import stopping
from tests.support.until import until_sync
from tools.local.embedded.system_user import server_user

#: Where `scripts/get_pgbouncer.py` puts it.
INSTALLED = Path(__file__).resolve().parents[2] / ".innosystem" / "pgbouncer"
#: The first release that keeps the statements that its clients have prepared.
VERSION_MIN = (1, 21)

_PORT = 6432
_START_SECONDS = 20
_STOP_SECONDS = 10


def find() -> Sequence[str] | None:
    """The command of a PgBouncer that is new enough, without arguments; None if there is none."""
    named = os.environ.get("PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    for command in ([named] if named else [], _installed()):
        if command and _version(command) >= VERSION_MIN:
            return command
    return None


@contextmanager
def running(command: Sequence[str], postgres_folder: str, mode: str, **settings: object) -> Iterator[str]:
    """Run one in front of the server whose socket is in a folder.

    Args:
        command: The program.
        postgres_folder: Where the server's socket is.
        mode: `session` or `transaction`.
        settings: Others of PgBouncer.

    Yields:
        What stands after the database's name in an address, and the user before it: `host=...&port=...`.
    """
    with tempfile.TemporaryDirectory(prefix="innosystem-pgbouncer-") as name:
        folder = Path(name)
        # PgBouncer refuses to run as root, as PostgreSQL does.
        account = server_user(folder)
        users, configuration, log = folder / "users", folder / "pgbouncer.ini", folder / "log"
        users.write_text('"postgres" ""\n')
        chosen = {
            "unix_socket_dir": folder,
            "listen_port": _PORT,
            "auth_type": "trust",
            "auth_file": users,
            "pool_mode": mode,
            "default_pool_size": 20 if mode == "session" else 3,
            "query_wait_timeout": 10,
            "max_client_conn": 200,
            "max_prepared_statements": 200,
            "logfile": log,
            **settings,
        }
        lines = ["[databases]", f"* = host={postgres_folder}", "[pgbouncer]"]
        configuration.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in chosen.items()), ""]))
        started = [*command, "-q", str(configuration)]
        if account is not None:
            for path in (folder, users, configuration):
                account.own(path)
            started = account.command(started)
        server = subprocess.Popen(started, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with stopping(server, _STOP_SECONDS):
            _wait_until_ready(server, folder, log)
            yield f"host={quote(str(folder), safe='')}&port={_PORT}"


def _wait_until_ready(server: "subprocess.Popen[bytes]", folder: Path, log: Path) -> None:
    def end_of_log() -> str:
        return log.read_text(errors="replace")[-3000:] if log.exists() else ""

    def is_ready() -> bool:
        assert server.poll() is None, f"PgBouncer does not start:\n{end_of_log()}"
        try:
            psycopg.connect(host=str(folder), port=_PORT, user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    until_sync(is_ready, _START_SECONDS, context=end_of_log)


def _installed() -> Sequence[str]:
    """It runs on the C library that it was made for, which may be newer than the machine's."""
    program = INSTALLED / "usr" / "sbin" / "pgbouncer"
    loaders = sorted((INSTALLED / "usr" / "lib").glob("*/ld-linux*.so.*"))
    if not program.exists() or not loaders:
        return []
    return [str(loaders[0]), "--library-path", str(loaders[0].parent), str(program)]


def _version(command: Sequence[str]) -> tuple[int, int]:
    asked = subprocess.run([*command, "--version"], check=False, capture_output=True, text=True, timeout=30)
    found = re.search(r"PgBouncer (\d+)\.(\d+)", asked.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
