"""Programs of this environment, as a person has to type them."""

import shlex
import shutil
import sys
from pathlib import Path


def typed(program: str) -> str | None:
    """Return how to call a program: by its name if the PATH leads to it, else by its path; None if it is missing."""
    here = Path(sys.executable).with_name(program)
    found = shutil.which(program)
    if not here.exists():
        return program if found else None
    if found and Path(found).samefile(here):
        return program
    return shlex.quote(str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here))


def innosystem() -> str:
    """Return how to call this command."""
    return typed("innosystem") or "innosystem"
