"""The proxy does what the faults say it does: a proxy that lets everything pass proves nothing."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.support.proxy import Link

LIMIT_SECONDS = 5.0


class Echo:
    """A server that returns each line in capital letters, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.got_line = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.got.append(line)
                self.got_line.set()
                writer.write(line.upper())
                await writer.drain()
        except ConnectionError:
            self.got_line.set()
        writer.close()


class Client:
    """One connection through the link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, link: Link) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", link.port))

    def say(self, line: bytes) -> None:
        self.writer.write(line)

    async def hear(self, *, limit_seconds: float = LIMIT_SECONDS) -> bytes:
        async with asyncio.timeout(limit_seconds):
            return await self.reader.readline()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def link(echo: Echo) -> AsyncIterator[Link]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    link = Link("echo", lambda: address)
    await link.start()
    yield link
    await link.stop()
    server.close()


@pytest.fixture
async def client(link: Link) -> AsyncIterator[Client]:
    client = await Client.connect(link)
    yield client
    client.writer.close()


async def test_left_alone_it_passes_everything_both_ways(client: Client, link: Link) -> None:
    client.say(b"hello\n")

    assert await client.hear() == b"HELLO\n"
    assert link.open == 1


async def test_an_end_is_passed_on(client: Client, echo: Echo) -> None:
    client.say(b"last\n")
    client.writer.write_eof()

    assert await client.hear() == b"LAST\n"
    assert await client.hear() == b""


async def test_a_delay_makes_both_ways_late(client: Client, link: Link) -> None:
    link.delay(0.1)
    began = time.monotonic()
    client.say(b"hello\n")

    assert await client.hear() == b"HELLO\n"
    assert time.monotonic() - began >= 0.2


async def test_a_reset_breaks_every_connection_off_and_new_ones_are_taken(client: Client, link: Link) -> None:
    client.say(b"hello\n")
    assert await client.hear() == b"HELLO\n"
    link.reset()

    with pytest.raises(ConnectionResetError):
        await client.hear()
    again = await Client.connect(link)
    again.say(b"again\n")
    assert await again.hear() == b"AGAIN\n"
    again.writer.close()


async def test_in_a_black_hole_nothing_passes_until_it_is_healed_and_then_it_arrives_late(
    client: Client, link: Link, echo: Echo
) -> None:
    link.black_hole()
    client.say(b"hello\n")
    new = await Client.connect(link)
    new.say(b"new\n")

    with pytest.raises(TimeoutError):
        await client.hear(limit_seconds=0.2)
    assert echo.got == []
    link.heal()

    assert await client.hear() == b"HELLO\n"
    assert await new.hear() == b"NEW\n"
    new.writer.close()


async def test_a_reset_ends_what_stands_in_a_black_hole(client: Client, link: Link, echo: Echo) -> None:
    link.black_hole()
    client.say(b"hello\n")
    with pytest.raises(TimeoutError):
        await client.hear(limit_seconds=0.1)
    link.reset()
    link.heal()

    with pytest.raises(ConnectionResetError):
        await client.hear()
    assert echo.got == []


async def test_swallowed_replies_are_of_requests_that_arrived(client: Client, link: Link, echo: Echo) -> None:
    link.swallow_replies()
    client.say(b"pay\n")
    async with asyncio.timeout(LIMIT_SECONDS):
        await echo.got_line.wait()
    with pytest.raises(TimeoutError):
        await client.hear(limit_seconds=0.1)
    link.reset()
    link.heal()

    with pytest.raises(ConnectionResetError):
        await client.hear()
    assert echo.got == [b"pay\n"]
    assert link.bytes_swallowed == len(b"PAY\n")


async def test_without_a_server_the_connection_is_broken_off(echo: Echo) -> None:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    server.close()
    link = Link("nobody", lambda: address)
    await link.start()
    client = await Client.connect(link)

    with pytest.raises(ConnectionResetError):
        await client.hear()
    await link.stop()
