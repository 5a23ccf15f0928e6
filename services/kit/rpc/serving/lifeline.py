"""A pair of sockets between a server process and its supervisor, which signals "ready" and the death of either.

The process writes a byte when it serves. Neither closes its end, so a process that reads the end of the stream detects
that its supervisor has died, by any signal, and drains.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import Self

_SOCKET = "INNOSYSTEM_SUPERVISOR_SOCKET"
_NUMBER = "INNOSYSTEM_SUPERVISOR_NUMBER"


def process_number() -> int | None:
    """Return the number of this process among its supervisor's, from 1 on; None without a supervisor."""
    number = os.environ.get(_NUMBER)
    return int(number) if number else None


class Lifeline:
    """A process's end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)

    @staticmethod
    def environment(number: int, end: socket.socket) -> Mapping[str, str]:
        """Return the environment variables for a process; the socket must be inherited as well."""
        return {_NUMBER: str(number), _SOCKET: str(end.fileno())}

    @classmethod
    def inherited(cls) -> Self | None:
        """Return the end that this process inherited; None without a supervisor, or if it is in use already."""
        number = os.environ.pop(_SOCKET, "")
        return cls(socket.socket(fileno=int(number))) if number else None

    def hold(self, on_end: Callable[[], None]) -> None:
        """Call back once when the supervisor has died. Requires a running event loop."""
        loop = asyncio.get_running_loop()

        def readable() -> None:
            # The supervisor never writes, so this is the end of the stream.
            loop.remove_reader(self._end)
            on_end()

        loop.add_reader(self._end, readable)

    def say_ready(self) -> None:
        """Notify the supervisor that this process serves."""
        try:
            self._end.send(b"\n")
        except (BrokenPipeError, ConnectionResetError):
            # The supervisor has died, which `hold` detects as well to end this process.
            return

    def close(self) -> None:
        """Close this end, after the drain."""
        asyncio.get_running_loop().remove_reader(self._end)
        self._end.close()
