"""The load of a server, shared by the server and the layers that refuse calls."""

import asyncio
from dataclasses import dataclass, field


@dataclass
class Load:
    """The load of a server.

    Attributes:
        calls_max: How many calls may be in flight.
        streams_max: How many streams may be open.
        calls: How many calls are in flight.
        streams: How many streams are open.
        draining: Whether the server refuses new calls, because it is stopping.
        ending: Set when streams must end that last as long as their clients want, such as those of health.
    """

    calls_max: int
    streams_max: int
    calls: int = 0
    streams: int = 0
    draining: bool = False
    ending: asyncio.Event = field(default_factory=asyncio.Event)
