"""A throw-away MariaDB server, where the program is installed; needs no rights and no set-up."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import stopping
from tests.support.until import until_sync

#: Where `make test-dialects` puts a server if there is none.
INSTALLED = Path(__file__).resolve().parents[2] / ".innosystem" / "mariadb"

_NAMES = ("mariadbd", "mysqld")
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/mysql/bin", "/opt/homebrew/opt/mariadb/bin")
_START_SECONDS = 60
_STOP_SECONDS = 30


def find() -> Path | None:
    """The server's program: on the PATH or in the usual places, else the one that was installed for these tests."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *_FOLDERS, str(INSTALLED / "usr" / "sbin")))
    for name in _NAMES:
        found = shutil.which(name, path=path)
        # MySQL's server may have the same name, and needs another dialect.
        if found is not None and "MariaDB" in _version(Path(found)):
            return Path(found)
    return None


@contextmanager
def running(program: Path) -> Iterator[str]:
    """Yields the address of a server without a database, which listens on nothing but a unix socket."""
    # Not in pytest's folder: the path of a unix socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="innosystem-mariadb-") as name:
        folder = Path(name)
        data, socket, log = folder / "data", folder / "socket", folder / "log"
        data.mkdir()
        _make_system_tables(program, data)
        with log.open("wb") as output:
            server = subprocess.Popen(
                [*_command(program, data), f"--socket={socket}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(program),
            )
        with stopping(server, _STOP_SECONDS):
            _wait_until_ready(server, log)
            yield f"mariadb://root@localhost/?unix_socket={socket}"


def _make_system_tables(program: Path, data: Path) -> None:
    """Makes what the server keeps about itself, as `mariadb-install-db` does; without, it starts, but is not sound."""
    share = program.parent.parent / "share"
    scripts = [
        found
        for part in ("system_tables", "performance_tables", "system_tables_data")
        for found in sorted(share.glob(f"*/m*_{part}.sql"))[:1]
    ]
    statements = b"CREATE DATABASE mysql;\nUSE mysql;\n" + b"\n".join(one.read_bytes() for one in scripts)
    made = subprocess.run(
        [*_command(program, data), "--bootstrap"],
        input=statements,
        check=False,
        capture_output=True,
        timeout=_START_SECONDS,
        env=_environment(program),
    )
    if made.returncode != 0:
        raise RuntimeError(f"MariaDB's own tables can't be made:\n{made.stderr.decode(errors='replace')[-3000:]}")


def _command(program: Path, data: Path) -> list[str]:
    options = {
        "datadir": data,
        "innodb-buffer-pool-size": "16M",
        "innodb-log-file-size": "16M",
        "innodb-flush-log-at-trx-commit": 0,
    }
    if _is_installed_here(program):
        options["basedir"] = INSTALLED / "usr"
        options["lc-messages-dir"] = INSTALLED / "usr" / "share" / "mysql"
    # Without tables of rights the folder needs no initialization, and every client of the socket may do everything.
    command = [str(program), "--no-defaults", "--skip-grant-tables", "--skip-networking", "--skip-log-bin"]
    if os.geteuid() == 0:
        command.append("--user=root")
    return command + [f"--{name}={value}" for name, value in options.items()]


def _wait_until_ready(server: "subprocess.Popen[bytes]", log: Path) -> None:
    def end_of_log() -> str:
        return log.read_text(errors="replace")[-3000:]

    def is_ready() -> bool:
        assert server.poll() is None, f"MariaDB does not start:\n{end_of_log()}"
        return b"ready for connections" in log.read_bytes()

    until_sync(is_ready, _START_SECONDS, context=end_of_log)


def _version(program: Path) -> str:
    asked = subprocess.run(
        [program, "--version"], check=False, capture_output=True, text=True, timeout=30, env=_environment(program)
    )
    return asked.stdout


def _environment(program: Path) -> Mapping[str, str]:
    if not _is_installed_here(program):
        return os.environ
    libraries = sorted({str(one.parent) for one in (INSTALLED / "usr" / "lib").rglob("*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def _is_installed_here(program: Path) -> bool:
    return program.is_relative_to(INSTALLED)
