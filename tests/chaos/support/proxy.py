"""A TCP proxy between two processes that misbehaves on command: late, dead, deaf, or broken off."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TypeAlias

Upstream: TypeAlias = Path | tuple[str, int]
"""A unix socket, or a host and a port."""

_CHUNK_BYTES = 64 * 1024
# Closing with this sends RST: the other side sees a broken connection, not the end of a conversation.
_LINGER_RESET = struct.pack("ii", 1, 0)


class Flow(Enum):
    """What becomes of the bytes."""

    PASSES = "passes"
    STANDS = "stands"
    """Nothing passes, either way, and nobody is notified. What stands continues, late, when the link is healed."""
    SWALLOWS_REPLIES = "swallows replies"
    """What the client sends arrives; what the server returns is thrown away."""


class Link:
    """One way to one server: listens on a port of its own and hands connections on."""

    def __init__(self, name: str, upstream: Callable[[], Upstream]) -> None:
        """Describe it; nothing is opened before `start`.

        Args:
            name: In reports.
            upstream: Where the server is. Asked with each connection, because it may move when it is started again.
        """
        self.name = name
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flow = Flow.PASSES
        self._delay_seconds = 0.0
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0
        self.accepted = 0
        self.bytes_swallowed = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and breaks off what is open."""
        if self._server is not None:
            self._server.close()
        self.reset()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def delay(self, seconds: float) -> None:
        """Has every chunk of bytes, either way, wait this long."""
        self._delay_seconds = seconds

    def black_hole(self) -> None:
        """Lets nothing pass any more, and says nothing. New connections are taken, and stand as well."""
        self._flow = Flow.STANDS
        self._flows.clear()

    def swallow_replies(self) -> None:
        """Throws away what the server returns."""
        self._flow = Flow.SWALLOWS_REPLIES

    def heal(self) -> None:
        """Lets everything pass again without delay."""
        self._flow = Flow.PASSES
        self._delay_seconds = 0.0
        self._flows.set()

    def reset(self) -> None:
        """Break off every open connection, on both sides."""
        for connection in self._connections:
            connection.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            # Whichever side ended it, the client finds its connection broken.
            _break_off(writer)
        finally:
            self._connections.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = self._upstream()
        if isinstance(upstream, Path):
            server_reader, server_writer = await asyncio.open_unix_connection(upstream)
        else:
            server_reader, server_writer = await asyncio.open_connection(*upstream)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, server_writer, replies=False))
                both.create_task(self._pump(server_reader, writer, replies=True))
        except* OSError:
            _break_off(writer)
        finally:
            _break_off(server_writer)
        writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await source.read(_CHUNK_BYTES):
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            await self._flows.wait()
            if replies and self._flow is Flow.SWALLOWS_REPLIES:
                self.bytes_swallowed += len(data)
                continue
            sink.write(data)
            await sink.drain()
        await self._flows.wait()
        if sink.can_write_eof():
            with suppress(OSError):
                sink.write_eof()


def _break_off(writer: asyncio.StreamWriter) -> None:
    connected = writer.get_extra_info("socket")
    if connected is not None and connected.family != socket.AF_UNIX:
        with suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()
