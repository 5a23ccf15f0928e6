"""The demo's input: the source files of the running Python's standard library."""

import json
import sysconfig
import tokenize
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

_INPUT_BYTES_MAX = 1024 * 1024
_NOT_OF_THE_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}


class SourceFile(NamedTuple):
    """A source file: its path below the library, and the input of its job."""

    name: str
    job_input: str


def source_files(limit: int | None, library: Path | None = None) -> list[SourceFile]:
    """Read source files in the order of their names.

    Args:
        limit: How many at most; None for all.
        library: The folder of the files; the standard library by default.
    """
    return list(islice(_read(library or Path(sysconfig.get_path("stdlib"))), limit))


def _read(library: Path) -> Iterator[SourceFile]:
    for path in sorted(library.rglob("*.py")):
        relative = path.relative_to(library)
        if _NOT_OF_THE_LIBRARY.isdisjoint(relative.parts) and path.is_file():
            source = _decoded(path)
            job_input = json.dumps({"path": relative.as_posix(), "source": source})
            if source is not None and "\0" not in source and len(job_input) <= _INPUT_BYTES_MAX:
                yield SourceFile(relative.as_posix(), job_input)


def _decoded(path: Path) -> str | None:
    """Read a file by its encoding cookie, as Python does; return None if the cookie is bad, as in some of its tests."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (SyntaxError, UnicodeDecodeError):
        return None
