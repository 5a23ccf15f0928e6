"""Room for the work that unknown credentials cause, shared by the addresses that send them.

Of a caller that is not known yet, only the address is. One that sends wrong credentials without end takes room from
itself: each address may take as much as is left to all others.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import unquote

from services.kit.errors import Overloaded

# What one subscriber has of IPv6: it can send from each address of it.
_IPV6_PREFIX: Final = 64


class Room:
    """A number of places. A peer may have as many as it leaves free, so that one peer alone gets half of them.

    Args:
        places: How many there are. As many peers are remembered at most.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken: Counter[str] = Counter()
        self._all = 0

    def has_place(self, peer: str) -> bool:
        """Whether a peer may have one more."""
        return self._taken[peer] < self._places - self._all

    def take(self, peer: str) -> None:
        """Take a place, even if there is none: for what has happened already."""
        self._taken[peer] += 1
        self._all += 1

    def leave(self, peer: str) -> None:
        """Give a place back."""
        self._taken[peer] -= 1
        self._all -= 1
        if not self._taken[peer]:
            del self._taken[peer]

    @contextmanager
    def place(self, peer: str) -> Iterator[None]:
        """Have a place for the time of a block.

        Raises:
            Overloaded: If there is none for this peer.
        """
        if not self.has_place(peer):
            raise Overloaded
        self.take(peer)
        try:
            yield
        finally:
            self.leave(peer)


class Expenses:
    """What has cost something a moment ago, each at the expense of the peer that has caused it first.

    Args:
        places: The size of the room that peers share.
        seconds: How long each is remembered.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(self, places: int, seconds: float, clock: Callable[[], float]) -> None:
        self._room = Room(places)
        self._seconds = seconds
        self._clock = clock
        # In the order of their ends.
        self._entries: dict[str, tuple[float, str]] = {}

    def __contains__(self, entry: str) -> bool:
        self._forget_ended()
        return entry in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def has_place(self, peer: str) -> bool:
        """Whether a peer may cause one more."""
        self._forget_ended()
        return self._room.has_place(peer)

    def add(self, entry: str, peer: str) -> None:
        """Remember what a peer has caused."""
        if entry not in self:
            self._entries[entry] = self._clock() + self._seconds, peer
            self._room.take(peer)

    def _forget_ended(self) -> None:
        now = self._clock()
        while self._entries:
            oldest, (until, peer) = next(iter(self._entries.items()))
            if now < until:
                return
            del self._entries[oldest]
            self._room.leave(peer)


def address_of(peer: str) -> str:
    """Return the address of a peer, as gRPC names it, without its port; of IPv6 the network of its subscriber.

    All callers on unix sockets are one, and so are all behind one proxy.
    """
    scheme, _, place = peer.partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return scheme
    host = unquote(place).rpartition(":")[0].strip("[]")
    try:
        found = ip_address(host)
    except ValueError:
        return host
    if not isinstance(found, IPv6Address):
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found.packed, _IPV6_PREFIX), strict=False))
