"""Secrets that a command reads: from standard input, never from its arguments, which all users of the machine see."""

import sys
from typing import Final

from tools.cli.interrupts import interruptible

STANDARD_INPUT: Final = "-"
"""The argument that stands for a line of standard input."""


def read_secret(what: str) -> str:
    """Read a line from standard input; a terminal asks for it and does not show it.

    Args:
        what: What is asked for, such as `API key`.
    """
    import getpass

    with interruptible():
        return (getpass.getpass(f"{what}: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
