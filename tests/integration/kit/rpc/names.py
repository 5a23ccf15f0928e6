"""A name server whose one name leads to the addresses that a test says."""

import asyncio
import socket
import struct

_HEADER = struct.Struct(">HHHHHH")
_TYPE_A = 1
_RESPONSE = 0x8580
_POINTER_TO_NAME = 0xC00C


class NameServer(asyncio.DatagramProtocol):
    """Resolves every name to the same IPv4 addresses, and has no records of any other kind.

    Attributes:
        addresses: The addresses of every name.
        asked: How often it was asked for them.
        asked_again: Set when it was asked for them more than once.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0
        self.asked_again = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> int:
        """Listens; returns the port."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        number = _HEADER.unpack_from(data)[0]
        end = data.index(b"\0", _HEADER.size) + 5
        question = data[_HEADER.size : end]
        wanted = struct.unpack_from(">H", data, end - 4)[0]
        found = self.addresses if wanted == _TYPE_A else []
        self.asked += wanted == _TYPE_A
        if self.asked > 1:
            self.asked_again.set()
        reply = _HEADER.pack(number, _RESPONSE, 1, len(found), 0, 0) + question
        for address in found:
            # A name, type A, class IN, no time to keep it, four bytes.
            reply += struct.pack(">HHHIH", _POINTER_TO_NAME, _TYPE_A, 1, 0, 4) + socket.inet_aton(address)
        assert self._transport is not None
        self._transport.sendto(reply, addr)
