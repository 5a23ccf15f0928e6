"""Long work in the event loop, in pieces: everybody else's calls, renewals and timers wait while it goes on."""

from asyncio import sleep
from time import monotonic

_SECONDS = 0.01


class TimeSlice:
    """Gives the event loop away when its owner has had it for a while. Made where the work begins."""

    def __init__(self) -> None:
        self._until = monotonic() + _SECONDS

    async def rest(self) -> None:
        """Lets others go on if it is their turn; to be called between two pieces."""
        if monotonic() >= self._until:
            await sleep(0)
            self._until = monotonic() + _SECONDS
