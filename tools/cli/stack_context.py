"""The context of a local stack, by which commands in other terminals find it."""

import shlex
from pathlib import Path

from tools.errors import CommandError
from tools.local.contexts import changed_contexts


def stack_context(folder: Path) -> str:
    """Create the context of a stack that serves, and return what its user has to know.

    Args:
        folder: The folder of the stack, which has its `stack.env`.
    """
    try:
        with changed_contexts() as contexts:
            name = contexts.add_stack(folder)
            current = contexts.current
    except CommandError as error:
        file = shlex.quote(str(folder / "stack.env"))
        return f"No context: {error}.\nCommands in other terminals take --env-file {file}"
    if current == name:
        return f"Commands in other terminals use this platform, the context {name}."
    return (
        f"Commands in other terminals use the context {current}. They use this platform\n"
        f"with --context {name}, or after `innosystem context use {name}`."
    )
