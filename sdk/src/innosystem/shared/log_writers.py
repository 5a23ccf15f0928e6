"""What writes to `LogLines`: structlog, the standard library's logging, and `print`."""

import io
import logging
import sys
from typing import Any, Final, TypeVar

from innosystem.shared.log_lines import LogLines

_SHOWN_LENGTH_MAX: Final = 10_000

Kind = TypeVar("Kind", bound=type[Any])


class LineLogger:
    """What structlog hands rendered lines to: bytes, with the line feed at their end.

    Args:
        lines: Where they go.
    """

    def __init__(self, lines: LogLines) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = lines.write


class LineHandler(logging.Handler):
    """Hands the records of the standard library's logging to `LogLines`.

    Args:
        lines: Where they go.
    """

    def __init__(self, lines: LogLines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that can't be formatted is described instead."""
        try:
            text = self.format(record)
        except Exception as exc:  # noqa: BLE001 - arguments that do not fit, a __str__ that raises
            problem = f"a line can't be written ({type(exc).__name__}): {plain(record.msg)}"
            text = self.format(logging.LogRecord(record.name, record.levelno, "", 0, problem, None, None))
        self._lines.write(f"{text}\n".encode(errors="backslashreplace"))


def replace_standard_streams(lines: LogLines) -> None:
    """Have what is printed written like log lines, so that printing does not fail or wait, either.

    Args:
        lines: What stands for standard output. Standard error gets a thread of its own.
    """
    sys.stdout = _text(lines)
    sys.stderr = _text(LogLines(sys.stderr))


def never_raising(logger: Kind, lines: LogLines) -> Kind:
    """Make a kind of structlog's loggers whose lines are described where a processor fails on them.

    Args:
        logger: The kind.
        lines: Where the description goes.
    """

    class NeverRaising(logger):  # type: ignore[misc,valid-type] # a class that is chosen at run time
        def _proxy_to_logger(self, method_name: str, event: str | None = None, **more: Any) -> Any:
            try:
                return super()._proxy_to_logger(method_name, event, **more)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the work that is logged goes on
                problem = f"a line can't be written ({type(exc).__name__}): {plain(event)}"
                lines.write(f"{problem}\n".encode(errors="backslashreplace"))

    return NeverRaising  # type: ignore[return-value]


def plain(value: object) -> str:
    """Describe a value in ASCII, whatever it is, for what an encoder does not take; ASCII text stays as it is."""
    try:
        return (value if isinstance(value, str) and value.isascii() else ascii(value))[:_SHOWN_LENGTH_MAX]
    except Exception as exc:  # noqa: BLE001 - anybody's __repr__ may raise anything
        return f"<{type(value).__name__} that can't be shown: {type(exc).__name__}>"


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
