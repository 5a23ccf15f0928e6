"""Runs `innosystem verify`."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.processes import PROJECT


def verified(urls: Mapping[str, str], folder: Path, *options: str, **settings: str) -> tuple[int, str]:
    """Run it on databases, by service, and return its exit status and what it said."""
    environment = {f"{service.upper()}_DATABASE_URL": url for service, url in urls.items()} | settings
    told = subprocess.run(
        [sys.executable, "-m", "tools.cli", "verify", "--grace-seconds", "1", *options],
        check=False,
        capture_output=True,
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT), "PATH": "", **environment},
        text=True,
        timeout=60,
    )
    return told.returncode, told.stdout + told.stderr
