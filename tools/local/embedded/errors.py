"""The error of embedded servers, with a message that a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG_LINES = 20


class EmbeddedServerError(Exception):
    """An embedded server could not be found, started, used or stopped."""


@contextmanager
def named_failures(doing: str) -> Iterator[None]:
    """Turn errors of the operating system into an `EmbeddedServerError` that names the failed step.

    Args:
        doing: The step, as the beginning of the message.

    Raises:
        EmbeddedServerError: The block met an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise EmbeddedServerError(f"{doing} failed: {error}") from error


def with_log(message: str, log: Path) -> EmbeddedServerError:
    """Return an error that ends with the last lines of the server's own log.

    Args:
        message: The failure.
        log: The log file; a missing one counts as empty.
    """
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    last_lines = "\n".join(text.splitlines()[-_LOG_LINES:]) or "(empty)"
    return EmbeddedServerError(f"{message.strip()}\nThe last lines of {log}:\n{last_lines}")
