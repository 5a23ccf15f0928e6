"""Long work in the event loop, in pieces: other calls, renewals and timers wait during each piece."""

from asyncio import sleep
from time import monotonic

_SECONDS = 0.01


class TimeSlice:
    """A slice of the event loop's time. Created where the work begins; yields when the slice is used up."""

    def __init__(self) -> None:
        self._until = monotonic() + _SECONDS

    async def rest(self) -> None:
        """Yield to other tasks if the slice is used up; called between two pieces of work."""
        if monotonic() >= self._until:
            await sleep(0)
            self._until = monotonic() + _SECONDS
