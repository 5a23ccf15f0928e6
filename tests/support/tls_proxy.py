"""TLS in front of servers that have none: PostgreSQL with its own way to begin it, and Redis."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

# What a client of PostgreSQL sends before it begins TLS: the length of the message, and a number that stands for it.
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@asynccontextmanager
async def tls_in_front_of(server: Path, context: ssl.SSLContext, *, postgres: bool = False) -> AsyncIterator[int]:
    """Yield the port on 127.0.0.1 where a server is reached by TLS.

    Args:
        server: The socket of the server.
        context: The server's side of TLS.
        postgres: Whether clients ask for TLS as those of PostgreSQL do. One that does not ask is disconnected.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if postgres:
                if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
                    writer.close()
                    return
                writer.write(b"S")
                await writer.start_tls(context)
            upstream_reader, upstream_writer = await asyncio.open_unix_connection(server)
            await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", ssl=None if postgres else context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()
