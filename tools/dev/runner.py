"""The runner with the handlers under development, which starts anew when their files change."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from tools.dev.sources import Sources, Stamps
from tools.local.child import Child, StackError
from tools.local.log_text import parse
from tools.local.stopping import run_to_completion

LOG: Final = "dev.log"

# What the runner has in hand when it is stopped may end in this time; the rest returns to the queue.
_DRAIN_SECONDS: Final = 2
_STOP_SECONDS_MAX: Final = 6.0
# How often files are compared, beside the events of the system.
_COMPARE_MILLISECONDS: Final = 1000


class Started(Enum):
    """Whether a runner has started."""

    YES = "yes"
    NO = "no"
    ELSEWHERE = "elsewhere"
    """It has, and jobs of its handlers wait in queues that it does not take from."""


class DevRunner:
    """Runs the handlers of a file, and runs them anew after each change.

    While the file can't be imported there is no runner: its jobs wait, and run with the mended code. So no job is done,
    and charged, by code that is no longer in the file.

    Args:
        file: The file with the handlers.
        logs: The folder for the runner's log.
        settings: The environment of the runner.
        show: Shows a line of the runner's output.
        queues: Called with the IDs of the handlers when a runner has started; returns the queues of their jobs.
        ready: Called with the IDs of the handlers when a runner has started that takes jobs from all these queues.
        ended: Called when a runner could not start, or has ended by itself; its argument says which.
    """

    def __init__(
        self,
        file: Path,
        *,
        logs: Path,
        settings: Mapping[str, str],
        show: Callable[[str], None],
        queues: Callable[[Sequence[str]], Awaitable[Collection[str]]],
        ready: Callable[[Sequence[str]], Awaitable[None]],
        ended: Callable[[str], None],
    ) -> None:
        self._sources = Sources(file)
        self._file = file
        self._log = logs / LOG
        self._settings = {**settings, "RUNNER_DRAIN_SECONDS": str(_DRAIN_SECONDS), "LOG_FORMAT": "json"}
        self._show = show
        self._queues_of = queues
        self._queues = ["default"]
        self._ready = ready
        self._ended = ended

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            changed = asyncio.create_task(self._changed(self._sources.read()))
            try:
                await self._run_until(changed)
            finally:
                changed.cancel()

    async def _run_until(self, changed: "asyncio.Task[None]") -> None:
        """Run one runner until the files change; one that could not start is not tried again before."""
        arguments = ["--handlers", str(self._file), "--queue", *self._queues]
        child = Child("runner", "innosystem.runner", arguments, self._settings, self._log)
        await child.start()
        # It ends with the runner.
        showing = asyncio.create_task(self._follow(child))
        starting = asyncio.create_task(self._wait_until_ready(child))
        try:
            await asyncio.wait({changed, showing, starting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and starting.result() is Started.ELSEWHERE:
                return
            await asyncio.wait({changed, showing}, return_when=asyncio.FIRST_COMPLETED)
            started = None if changed.done() else await starting
        finally:
            starting.cancel()
            await run_to_completion(child.stop(_STOP_SECONDS_MAX))
            await showing
        if started is None:
            changed.result()
            return
        self._ended(f"ended with exit status {child.status}" if started is Started.YES else "could not start")
        if started is Started.NO:
            await changed

    async def _wait_until_ready(self, child: Child) -> Started:
        """Announce the handlers once the runner has started, if it serves the queues of their jobs."""
        try:
            started = await child.wait_for_event("runner_ready")
        except StackError:
            return Started.NO
        # Known only now: importing the handlers is left to the runner. Queues of before stay, for jobs in them.
        if missing := sorted(set(await self._queues_of(started["handlers"])) - set(self._queues)):
            self._queues += missing
            return Started.ELSEWHERE
        await self._ready(started["handlers"])
        return Started.YES

    async def _follow(self, child: Child) -> None:
        starts = 0
        async for line in child.lines():
            self._show(line)
            if (fields := parse(line)) is not None and fields["event"] == "runner_ready":
                starts += 1
                # A runner that its handlers have made unusable starts anew in its process.
                if starts > 1:
                    await self._ready(fields["handlers"])

    async def _changed(self, read: Stamps) -> None:
        """Wait until a file differs from what was read."""
        from watchfiles import PythonFilter, awatch

        changes = awatch(
            *self._sources.folders,
            watch_filter=PythonFilter(),
            recursive=False,
            rust_timeout=_COMPARE_MILLISECONDS,
            yield_on_timeout=True,
        )
        async for _ in changes:
            if self._sources.stamps() != read:
                return
