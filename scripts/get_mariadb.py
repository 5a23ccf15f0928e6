"""Sees to it that there is a MariaDB server for tests/dialects, and needs no rights for that.

Where apt-get is, the server's packages and those that it needs are unpacked into .innosystem/mariadb, which
`make clean` removes; nothing is installed on the machine. Where it is not, or has no answer, it says what else to do.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.dialects import mariadb_server  # noqa: E402 - the path has to be set first

PACKAGE = "mariadb-server-core"
LIMIT_SECONDS = 600
HELP = """
There is no MariaDB server for the tests of the dialects. Any of these will do:
- install one: `apt-get install mariadb-server-core`, `dnf install mariadb-server`, `apk add mariadb` or
  `brew install mariadb`. It need not run: the tests start one of their own, without network and without rights;
- set MARIADB_URL to the address of a server whose user may create databases:
  mariadb://user:password@host:port/
PostgreSQL and SQLite are tested by `make test` as well."""


def main() -> int:
    """Finds or gets a server and answers the exit status."""
    if os.environ.get("MARIADB_URL"):
        return 0
    if mariadb_server.find() is None and shutil.which("apt-get") and shutil.which("dpkg"):
        print(f"getting {PACKAGE} ...", flush=True)
        _unpack_packages(mariadb_server.INSTALLED)
    found = mariadb_server.find()
    print(f"MariaDB: {found}" if found else HELP, file=sys.stdout if found else sys.stderr)
    return 0 if found else 1


def _unpack_packages(folder: Path) -> None:
    """Unpacks the server and what it needs and the machine lacks; says what goes wrong, and leaves nothing then."""
    shutil.rmtree(folder, ignore_errors=True)
    # Lists and caches of our own: those of the machine belong to root, and may never have been fetched.
    for part in ("state/lists/partial", "cache/archives/partial", "packages"):
        (folder / part).mkdir(parents=True)
    apt = ["apt-get", "-qq", "-o", f"Dir::State={folder / 'state'}", "-o", f"Dir::Cache={folder / 'cache'}"]
    apt += ["-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1"]
    try:
        _run([*apt, "update"], folder)
        planned = _run([*apt, "--simulate", "--no-install-recommends", "install", PACKAGE], folder)
        _run([*apt, "download", *re.findall(r"^Inst (\S+)", planned, re.MULTILINE)], folder / "packages")
        for package in sorted((folder / "packages").glob("*.deb")):
            _run(["dpkg", "--extract", str(package), str(folder)], folder)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"it could not be had: {error}", getattr(error, "stderr", None) or "", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return
    for part in ("state", "cache", "packages"):
        shutil.rmtree(folder / part)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
