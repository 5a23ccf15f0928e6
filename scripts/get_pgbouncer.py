"""Provide PgBouncer for the tests that need it, without root.

With apt-get, the program and its libraries are unpacked into .innosystem/pgbouncer, which `make clean` removes; nothing
is installed on the machine. They come from the Debian release `SUITE`, because the PgBouncer of earlier releases is too
old, and the program runs on the libraries of that release.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import pgbouncer_server  # noqa: E402 - found by the path above

PACKAGE = "pgbouncer"
# The first release of Debian whose PgBouncer keeps prepared statements.
SUITE = "trixie"
# The program and its libraries. The scripts of the package, and their dependencies, are left out.
LIBRARIES = re.compile(r"(lib(?!.*perl).*|zlib1g|pgbouncer)")
LIMIT_SECONDS = 600
HELP = f"""
No PgBouncer was found, so the tests of pooled connections are skipped. Any of these will do:
- install one of at least {".".join(map(str, pgbouncer_server.VERSION_MIN))}; the tests start their own;
- set PGBOUNCER to the path of its program."""


def main() -> int:
    """Find or download PgBouncer and return the exit status."""
    if pgbouncer_server.find() is None and shutil.which("apt-get") and shutil.which("dpkg"):
        print(f"getting {PACKAGE} ...", flush=True)
        _unpack_packages(pgbouncer_server.INSTALLED)
    found = pgbouncer_server.find()
    print(f"PgBouncer: {found[-1]}" if found else HELP, file=sys.stdout if found else sys.stderr)
    return 0 if found else 1


def _unpack_packages(folder: Path) -> None:
    """Unpack the program and all its libraries; on failure print the reason and remove the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("state/lists/partial", "cache/archives/partial", "packages"):
        (folder / part).mkdir(parents=True)
    # An empty status has apt-get download all libraries, so that all are of that release.
    (folder / "status").touch()
    try:
        sites = _run(["apt-get", "indextargets", "--format", "$(SITE)", "Origin: Debian"], folder).split()
        if not sites:
            raise OSError("apt-get has no source of Debian packages")
        (folder / "sources.list").write_text(f"deb {sites[0]} {SUITE} main\n")
        apt = ["apt-get", "-qq", "-o", f"Dir::State={folder / 'state'}", "-o", f"Dir::Cache={folder / 'cache'}"]
        apt += [
            "-o",
            f"Dir::State::status={folder / 'status'}",
            "-o",
            f"Dir::Etc::sourcelist={folder / 'sources.list'}",
        ]
        apt += ["-o", "Dir::Etc::sourceparts=-", "-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1"]
        _run([*apt, "update"], folder)
        planned = _run([*apt, "--simulate", "--no-install-recommends", "install", PACKAGE], folder)
        wanted = [name for name in re.findall(r"^Inst (\S+)", planned, re.MULTILINE) if LIBRARIES.fullmatch(name)]
        _run([*apt, "download", *wanted], folder / "packages")
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
