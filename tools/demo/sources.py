"""The demo's real input: the source files of the running Python's standard library."""

import json
import sysconfig
import tokenize
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

_INPUT_BYTES_MAX = 1024 * 1024
_NOT_OF_THE_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}


def sources(limit: int | None, library: Path | None = None) -> list[tuple[str, str]]:
    """Reads source files: the name of each and the input of its job, in the order of the names.

    Args:
        limit: How many at most; None for all.
        library: Where they are; the standard library by default.
    """
    return list(islice(_inputs(library or Path(sysconfig.get_path("stdlib"))), limit))


def _inputs(library: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(library.rglob("*.py")):
        place = path.relative_to(library)
        if _NOT_OF_THE_LIBRARY.isdisjoint(place.parts) and path.is_file():
            source = _decoded(path)
            job_input = json.dumps({"path": place.as_posix(), "source": source})
            if source is not None and "\0" not in source and len(job_input) <= _INPUT_BYTES_MAX:
                yield place.as_posix(), job_input


def _decoded(path: Path) -> str | None:
    """Reads a file as Python does, by its encoding cookie; None for those of Python's own tests that have a bad one."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (SyntaxError, UnicodeDecodeError):
        return None
