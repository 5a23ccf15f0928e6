"""Terminals and pipes."""

import sys
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

# Wide enough for every row, where no terminal limits the width.
_PIPE_WIDTH: Final = 2000


def console(file: IO[str] | None = None) -> "Console":
    """Return a console: as wide as the terminal, or without limit in a pipe; without colours there and by NO_COLOR."""
    from rich.console import Console

    target = file or sys.stdout
    return Console(file=target, width=None if target.isatty() else _PIPE_WIDTH, highlight=False, soft_wrap=False)


@contextmanager
def logs_on_stderr() -> Iterator[None]:
    """Send the logs of the services' code in this process to standard error, away from the output of the command."""
    import logging

    import structlog

    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[_without_said, *before["processors"]],
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _without_said(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop the line about a database that can't be reached: the error that ends the command says the same."""
    import structlog

    if event.get("event") == "database_unreachable":
        raise structlog.DropEvent
    return event


def print_progress(text: str) -> None:
    """Print a line with the time of day to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
