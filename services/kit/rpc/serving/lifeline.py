"""What a server process and the supervisor that started it tell one another: "ready", and that one of them is gone.

It is a pair of sockets. The process writes a byte when it serves. Neither closes its end, so the process that reads the
end of the stream knows that its supervisor has died, by whatever signal, and drains.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import Self

_SOCKET = "INNOSYSTEM_SUPERVISOR_SOCKET"
_NUMBER = "INNOSYSTEM_SUPERVISOR_NUMBER"


def process_number() -> int | None:
    """Which of a supervisor's processes this one is, from 1 on; None if it has no supervisor."""
    number = os.environ.get(_NUMBER)
    return int(number) if number else None


class Lifeline:
    """A process's end of the pair."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)

    @staticmethod
    def environment(number: int, end: socket.socket) -> Mapping[str, str]:
        """What a supervisor tells a process in its environment; the socket has to be handed on as well."""
        return {_NUMBER: str(number), _SOCKET: str(end.fileno())}

    @classmethod
    def inherited(cls) -> Self | None:
        """The end that this process was started with; None if it has no supervisor, or if it is in use already."""
        number = os.environ.pop(_SOCKET, "")
        return cls(socket.socket(fileno=int(number))) if number else None

    def hold(self, on_end: Callable[[], None]) -> None:
        """Calls back once when the supervisor is gone. To be called where an event loop runs."""
        loop = asyncio.get_running_loop()

        def readable() -> None:
            # It never writes: what there is to read is the end.
            loop.remove_reader(self._end)
            on_end()

        loop.add_reader(self._end, readable)

    def say_ready(self) -> None:
        """Tells the supervisor that calls are answered from now on."""
        try:
            self._end.send(b"\n")
        except (BrokenPipeError, ConnectionResetError):
            # It is gone. `hold` finds that out as well, and ends this process.
            return

    def close(self) -> None:
        """Lets go of it, when the server has drained."""
        asyncio.get_running_loop().remove_reader(self._end)
        self._end.close()
