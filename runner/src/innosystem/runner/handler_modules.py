"""Import the modules that hold handlers, and explain to their author why one cannot be imported."""

import contextlib
import importlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

from innosystem.runner.errors import HandlerRegistrationError

_OURS: Final = f"{Path(__file__).parent}{os.sep}"
# What calls the author's modules and functions.
_BETWEEN: Final = ("<frozen importlib", f"{Path(importlib.__file__).parent}{os.sep}", contextlib.__file__)


def import_handlers(given: str) -> str:
    """Import a module with handlers, whose decorators register them, and return its name.

    A file is imported under the name that it has from the working directory: `pkg/mod.py` is `pkg.mod`. For a file
    elsewhere, the folder that holds it, or its outermost package, is put on the path.

    Args:
        given: The name of a module, or the path of a Python file.

    Raises:
        HandlerRegistrationError: The module cannot be found or imported. The message has the traceback, from the first
            line of the module on.
    """
    is_file = given.endswith(".py") or os.sep in given
    name = _module_of(given) if is_file else given
    try:
        module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        # A user's module may raise anything, SystemExit included.
        raise HandlerRegistrationError(_explanation(given, name, exc)) from exc
    if is_file and not _is_file_of(module, given):
        raise HandlerRegistrationError(
            f"{given!r} cannot be imported: Python has another module {name!r} ({_file_of(module)}). Rename the file"
        )
    return name


def _module_of(given: str) -> str:
    """Return the name of the module in a file, and make sure that the name can be imported."""
    file = Path(given).resolve()
    here = Path.cwd()
    if file.suffix != ".py" or not file.is_file():
        raise HandlerRegistrationError(
            f"There is no Python file {given!r} in {here}: give the path of a file or the name of a module"
        )
    root = here if file.is_relative_to(here) else _outside_of_packages(file.parent)
    parts = file.relative_to(root).with_suffix("").parts
    if any("." in part for part in parts):
        raise HandlerRegistrationError(f"{given!r} cannot be imported: rename it so that '.py' has its only dot")
    if root != here and str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"


def _is_file_of(module: ModuleType, given: str) -> bool:
    return Path(_file_of(module)).resolve() == Path(given).resolve()


def _outside_of_packages(folder: Path) -> Path:
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _explanation(given: str, name: str, exc: BaseException) -> str:
    if _is_missing(name, exc):
        if Path(given).is_file():
            return f"{given!r} is not a Python file: give a file whose name ends in .py, or the name of a module"
        return f"There is no module {name!r} in {Path.cwd()} or on the path of Python"
    return f"The handlers in {given!r} cannot be loaded:\n{authors_traceback(exc)}"


def _is_missing(name: str, exc: BaseException) -> bool:
    """Return whether it is the given module that is missing, and not one that it imports."""
    if not isinstance(exc, ModuleNotFoundError) or exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
        return False
    return _frames(traceback.TracebackException.from_exception(exc)) == []


def authors_traceback(exc: BaseException) -> str:
    """Return the traceback of an exception without the frames of the runner and of what it calls with."""
    described = traceback.TracebackException.from_exception(exc)
    pending, seen = [described], set[int]()
    while pending:
        each = pending.pop()
        if id(each) not in seen:
            seen.add(id(each))
            each.stack = traceback.StackSummary.from_list(_frames(each))
            pending += [other for other in (each.__cause__, each.__context__) if other is not None]
    return "".join(described.format()).rstrip()


def _frames(described: traceback.TracebackException) -> list[traceback.FrameSummary]:
    return [frame for frame in described.stack if not frame.filename.startswith((_OURS, *_BETWEEN))]
