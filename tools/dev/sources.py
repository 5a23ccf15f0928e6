"""The file with the handlers under development, and the files that it imports from its folder."""

import ast
import os
from collections.abc import Mapping
from pathlib import Path

Stamps = Mapping[Path, tuple[int, int]]
"""Files with the time and size that change when they are saved."""


class Sources:
    """The file with the handlers and the files that it imports, as long as they lie where the runner imports it from.

    Args:
        file: The file with the handlers.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.resolve()
        self._root = _import_root(self._file)
        self._folders = {self._file.parent}

    @property
    def folders(self) -> set[Path]:
        """The folders to watch."""
        return self._folders

    def read(self) -> Stamps:
        """Find the files anew, and return the state of all Python files in their folders."""
        self._folders |= {file.parent for file in self._imported()}
        return self.stamps()

    def stamps(self) -> Stamps:
        """Return the state of all Python files in the folders. A module that was missing may be among them later."""
        found = {}
        for folder in self._folders:
            if folder.is_dir():
                for entry in os.scandir(folder):
                    if entry.name.endswith(".py") and entry.is_file():
                        stat = entry.stat()
                        found[Path(entry.path)] = (stat.st_mtime_ns, stat.st_size)
        return found

    def _imported(self) -> set[Path]:
        found: set[Path] = set()
        pending = [self._file]
        while pending:
            file = pending.pop()
            if file not in found:
                found.add(file)
                pending += self._imports_of(file)
        return found

    def _imports_of(self, file: Path) -> list[Path]:
        """Return the files that a file imports itself; none if it cannot be parsed: its author is still typing."""
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return []
        modules: list[Path] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules += [self._root.joinpath(*alias.name.split(".")) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else self._root
                module = base.joinpath(*(node.module or "").split("."))
                modules += [module, *(module / alias.name for alias in node.names)]
        candidates = [path for module in modules for path in (module.with_suffix(".py"), module / "__init__.py")]
        return [path for path in candidates if path.is_file()]


def _import_root(file: Path) -> Path:
    """Return the folder from which a runner imports a file: the working directory, or the folder of its package."""
    here = Path.cwd()
    if file.is_relative_to(here):
        return here
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder
