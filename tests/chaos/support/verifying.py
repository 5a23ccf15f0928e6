"""Runs `innosystem verify` as an operator does, and reads what it found."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from services import SERVICES
from tests.e2e.processes import PROJECT

_LIMIT_SECONDS = 120
_ATTENTION = frozenset({"declined", "blocked"})


def verify(database_urls: Mapping[str, str]) -> list[str]:
    """Check the books; return what is wrong, and of paid work that there is none left unpaid.

    Args:
        database_urls: The databases, by service.
    """
    settings = {f"{service.upper()}_DATABASE_URL": database_urls[service] for service in SERVICES}
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "verify", "--json", "--grace-seconds", "1"],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **settings},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
    )
    if done.returncode not in (0, 1) or not done.stdout.startswith("{"):
        return [f"innosystem verify ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}"]
    return findings(json.loads(done.stdout), done.returncode)


def findings(report: Mapping[str, Any], status: int) -> list[str]:
    """What a report says is wrong. Its verdict, its exit status and what it names have to agree.

    Args:
        report: What `innosystem verify --json` printed.
        status: The exit status.
    """
    named = [f"verify: {one['kind']}: {one['subject']} {one['id']} {one['description']}" for one in report["offenders"]]
    broken = any(one["kind"] not in _ATTENTION for one in report["offenders"])
    if (status == 0) != report["ok"] or broken == report["ok"]:
        named.append(f"verify: ok is {report['ok']}, the exit status {status}, and {len(named)} offenders are named")
    return named
