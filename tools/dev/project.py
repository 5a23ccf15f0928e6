"""Write a project of handlers: a module, its test, and what its deployment needs."""

import re
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import Final

from tools.dev.templates import PROJECT
from tools.errors import CommandError, UsageError

# A queue and a Deployment get it as well.
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,48}[a-z0-9])?")


def write_project(folder: Path) -> Path:
    """Write a project into a new folder, whose name is that of the project.

    Args:
        folder: The folder.

    Returns:
        The module with the handlers.

    Raises:
        UsageError: The name can't be that of a queue or a module.
        CommandError: The folder exists, or can't be made.
    """
    name = folder.name
    module = _module(name)
    try:
        folder.mkdir()
    except FileExistsError:
        raise CommandError(f"{folder} exists already: choose another name, or remove it") from None
    except FileNotFoundError:
        raise CommandError(f"there is no folder {folder.parent}") from None
    for file, text in PROJECT.items():
        path = folder / _named(file, name, module)
        path.write_text(_named(text, name, module), encoding="utf-8")
    return folder / f"{module}.py"


def _module(name: str) -> str:
    """Return the name of the module of a project.

    Raises:
        UsageError: There is none.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is no name for a project: it has 1 to 50 lower-case letters, digits and dashes, the first of "
            "them a letter and the last no dash, such as my-handlers"
        )
    module = name.replace("-", "_")
    if iskeyword(module) or _is_module(module):
        raise UsageError(f"{name!r} is no name for a project: Python has another {module}")
    return module


def _is_module(name: str) -> bool:
    found = find_spec(name)
    # A folder in the working directory has no origin: it may be a project that was written before.
    return found is not None and found.origin is not None


def _named(text: str, name: str, module: str) -> str:
    return text.replace("my-handlers", name).replace("my_handlers", module)
