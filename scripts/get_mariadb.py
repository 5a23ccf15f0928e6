"""Provide a MariaDB server for tests/dialects, without root.

With apt-get, the server's packages and their dependencies are unpacked into .innosystem/mariadb, which `make clean`
removes; nothing is installed on the machine. Without apt-get, or if it fails, the script prints the alternatives.
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
No MariaDB server was found for the tests of the dialects. Any of these will do:
- install one: `apt-get install mariadb-server-core`, `dnf install mariadb-server`, `apk add mariadb` or
  `brew install mariadb`. It need not run: the tests start their own, without network and without root;
- set MARIADB_URL to the address of a server whose user may create databases:
  mariadb://user:password@host:port/
PostgreSQL and SQLite are tested by `make test` as well."""


def main() -> int:
    """Find or download a server and return the exit status."""
    if os.environ.get("MARIADB_URL"):
        return 0
    if mariadb_server.find() is None and shutil.which("apt-get") and shutil.which("dpkg"):
        print(f"getting {PACKAGE} ...", flush=True)
        _unpack_packages(mariadb_server.INSTALLED)
    found = mariadb_server.find()
    print(f"MariaDB: {found}" if found else HELP, file=sys.stdout if found else sys.stderr)
    return 0 if found else 1


def _unpack_packages(folder: Path) -> None:
    """Unpack the server and its missing dependencies; on failure print the reason and remove the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    # Lists and caches of our own: those of the machine belong to root, and may be empty.
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
        print(f"download failed: {error}", getattr(error, "stderr", None) or "", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return
    for part in ("state", "cache", "packages"):
        shutil.rmtree(folder / part)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
