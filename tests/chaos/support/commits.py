"""A way to PostgreSQL on which the response to one COMMIT is lost: it took effect, and its client can't know."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# CommandComplete with the tag COMMIT, as PostgreSQL sends it: the type, the length, the tag.
_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
_CHUNK_BYTES = 64 * 1024


class LossyWay:
    """Hands connections on, until the one that wrote something is returned that it is committed: it breaks off then.

    Attributes:
        port: Where it listens.
        lost: Set when an response was lost.
    """

    def __init__(self, upstream: Path) -> None:
        """Describe it; `open` opens it.

        Args:
            upstream: PostgreSQL's socket.
        """
        self._upstream = upstream
        self._wanted = b""
        self.port = 0
        self.lost = threading.Event()

    def lose_commit_of(self, text: str) -> None:
        """Loses the response to the next COMMIT on a connection that has sent this text."""
        self._wanted = text.encode()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Listen in a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="lossy-way")
        thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1"), loop).result()
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(_end(server), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._upstream)
        seen = asyncio.Event()
        ways = {
            asyncio.create_task(self._requests(reader, server_writer, seen)),
            asyncio.create_task(self._answers(server_reader, writer, seen)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            with suppress(OSError):
                await asyncio.gather(*ways, return_exceptions=True)
            server_writer.transport.abort()
            writer.transport.abort()

    async def _requests(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, seen: asyncio.Event) -> None:
        while data := await source.read(_CHUNK_BYTES):
            if self._wanted and self._wanted in data:
                seen.set()
            sink.write(data)
            await sink.drain()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, seen: asyncio.Event) -> None:
        while data := await source.read(_CHUNK_BYTES):
            if seen.is_set() and _COMMITTED in data:
                self.lost.set()
                return
            sink.write(data)
            await sink.drain()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
