"""What goes wrong with an embedded server, as one error with a message a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG_LINES = 20


class EmbeddedServerError(Exception):
    """An embedded server could not be found, started, used or stopped."""


@contextmanager
def named_failures(doing: str) -> Iterator[None]:
    """Turn errors of the operating system into an `EmbeddedServerError` that says what was tried.

    Args:
        doing: What the block does, as the beginning of the message.

    Raises:
        EmbeddedServerError: The block met an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise EmbeddedServerError(f"{doing} failed: {error}") from error


def with_log(message: str, log: Path) -> EmbeddedServerError:
    """Make an error that ends with the last lines of the server's own log.

    Args:
        message: What happened, as seen from here.
        log: The log file; one that is missing or empty is said to be so.
    """
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    last_lines = "\n".join(text.splitlines()[-_LOG_LINES:]) or "(empty)"
    return EmbeddedServerError(f"{message.strip()}\nThe last lines of {log}:\n{last_lines}")
