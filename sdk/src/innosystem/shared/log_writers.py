"""Adapters that write to `LogLines`: for structlog, the standard library's logging, and `print`."""

import io
import logging
import sys
from typing import Any, Final, TypeVar

from innosystem.shared.log_lines import LogLines

_SHOWN_LENGTH_MAX: Final = 10_000

Kind = TypeVar("Kind", bound=type[Any])


class LineLogger:
    """A logger for structlog that takes rendered lines: bytes with a line feed at the end.

    Args:
        lines: The destination.
    """

    def __init__(self, lines: LogLines) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = lines.write


class LineHandler(logging.Handler):
    """A handler that passes the records of the standard library's logging to `LogLines`.

    Args:
        lines: The destination.
    """

    def __init__(self, lines: LogLines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or a description of one that cannot be formatted."""
        try:
            text = self.format(record)
        except Exception as exc:  # noqa: BLE001 - arguments that do not fit, a __str__ that raises
            problem = f"a line cannot be written ({type(exc).__name__}): {plain(record.msg)}"
            text = self.format(logging.LogRecord(record.name, record.levelno, "", 0, problem, None, None))
        self._lines.write(f"{text}\n".encode(errors="backslashreplace"))


def replace_standard_streams(lines: LogLines) -> None:
    """Write printed text like log lines, so that printing does not fail or block either.

    Args:
        lines: The replacement of standard output. Standard error gets a separate thread.
    """
    sys.stdout = _text(lines)
    sys.stderr = _text(LogLines(sys.stderr))


def never_raising(logger: Kind, lines: LogLines) -> Kind:
    """Derive a class of structlog's loggers that writes a description of a line on which a processor fails.

    Args:
        logger: The base class.
        lines: The destination of the description.
    """

    class NeverRaising(logger):  # type: ignore[misc,valid-type] # a base class chosen at run time
        def _proxy_to_logger(self, method_name: str, event: str | None = None, **more: Any) -> Any:
            try:
                return super()._proxy_to_logger(method_name, event, **more)
            except Exception as exc:  # noqa: BLE001 - a failure to log must not stop the work
                problem = f"a line cannot be written ({type(exc).__name__}): {plain(event)}"
                lines.write(f"{problem}\n".encode(errors="backslashreplace"))

    return NeverRaising  # type: ignore[return-value]


def plain(value: object) -> str:
    """Describe any value in ASCII, for values that an encoder refuses; ASCII text remains unchanged."""
    try:
        return (value if isinstance(value, str) and value.isascii() else ascii(value))[:_SHOWN_LENGTH_MAX]
    except Exception as exc:  # noqa: BLE001 - any __repr__ may raise anything
        return f"<{type(value).__name__} that cannot be shown: {type(exc).__name__}>"


class _Raw(io.RawIOBase):
    """`LogLines` as a file."""

    def __init__(self, lines: LogLines) -> None:
        self._lines = lines

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        line = bytes(data)
        self._lines.write(line)
        return len(line)

    def fileno(self) -> int:
        return self._lines.fileno()

    def isatty(self) -> bool:
        return self._lines.is_terminal()


def _text(lines: LogLines) -> io.TextIOWrapper:
    buffered = io.BufferedWriter(_Raw(lines))
    return io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)
