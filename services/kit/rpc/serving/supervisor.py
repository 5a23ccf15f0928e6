"""A supervisor of a service's processes on one port, for machines with more cores than one process can use.

The processes are fresh interpreters, never forks: gRPC's threads do not survive a fork. All listen on the port with
SO_REUSEPORT, and the kernel assigns each new connection to one of them. The supervisor itself serves nothing: it
forwards SIGTERM and SIGINT, waits until all processes have drained, and restarts processes that end by themselves. If
the supervisor dies, they drain.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from services.kit.rpc.serving.lifeline import Lifeline
from services.kit.rpc.serving.shared_port import shared_port
from services.kit.rpc.serving.supervision import (
    CRASH_EXIT_STATUS,
    GiveUp,
    Restarts,
    StartAgain,
    has_stopped_well,
    process_settings,
)
from services.kit.settings import ServerSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Ended:
    """The end of a process: its exit status, and how long it served, if it was ready."""

    status: int
    ready: bool
    served_seconds: float


@dataclass
class Supervisor:
    """The parent of a service's processes.

    Attributes:
        module: The module that `python -m` runs in each process.
        settings: The server's settings.
        prefix: The prefix of their environment variables, such as `JOBS_`.
        processes: The number of processes.
    """

    module: str
    settings: ServerSettings
    prefix: str
    processes: int
    _stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)
    _ready_at: dict[int, float] = field(default_factory=dict, init=False, repr=False)
    _complete: bool = field(default=False, init=False, repr=False)
    _status: int = field(default=0, init=False, repr=False)

    async def run(self) -> int:
        """Run the processes until a signal to stop, and return the exit status.

        Raises:
            StartupError: If the processes cannot share the address.
        """
        loop = asyncio.get_running_loop()
        for stop_signal in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop_signal, self._stopping.set)
        with shared_port(self.settings.listen_address, exclusive=not self.settings.reuse_port) as address:
            async with asyncio.TaskGroup() as tasks:
                for number in range(1, self.processes + 1):
                    tasks.create_task(self._keep(number, address))
        log.info("stopped")
        return self._status

    async def _keep(self, number: int, address: str) -> None:
        """Keep one process running until all stop."""
        restarts = Restarts()
        while not self._stopping.is_set():
            ended = await self._live(number, address)
            if self._stopping.is_set():
                if not has_stopped_well(ended.status, ready=ended.ready):
                    log.error("process_stop_failed", process=number, status=ended.status)
                    self._status = self._status or CRASH_EXIT_STATUS
                return
            match restarts.after(ended.status, served_seconds=ended.served_seconds, complete=self._complete):
                case GiveUp(status):
                    log.error("process_ended_stopping_all", process=number, status=ended.status)
                    self._status = status
                    self._stopping.set()
                case StartAgain(pause_seconds):
                    log.error("process_ended", process=number, status=ended.status, pause_seconds=pause_seconds)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), pause_seconds)

    async def _live(self, number: int, address: str) -> _Ended:
        """Start a process, and wait until it has ended, by itself or because all stop."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = await self._start(number, address, theirs)
            listening = asyncio.create_task(self._until_ready(number, address, ours))
            ended = asyncio.create_task(process.wait())
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    with suppress(ProcessLookupError):
                        process.terminate()
                status = await ended
            finally:
                for task in (listening, ended, stopping):
                    task.cancel()
                await asyncio.wait([listening, ended, stopping])
        ready_at = self._ready_at.pop(number, None)
        served_seconds = 0.0 if ready_at is None else asyncio.get_running_loop().time() - ready_at
        return _Ended(status, ready_at is not None, served_seconds)

    async def _start(self, number: int, address: str, end: socket.socket) -> asyncio.subprocess.Process:
        environment = {
            **os.environ,
            **process_settings(self.settings, self.prefix, number, address),
            **Lifeline.environment(number, end),
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self.module,
            stdin=asyncio.subprocess.DEVNULL,
            env=environment,
            pass_fds=[end.fileno()],
            # Ctrl-C in a terminal reaches only the supervisor, which forwards it.
            start_new_session=True,
        )

    async def _until_ready(self, number: int, address: str, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ours.setblocking(False)
        if not await loop.sock_recv(ours, 1):
            # The process has ended before it served.
            return
        self._ready_at[number] = loop.time()
        if not self._complete and len(self._ready_at) == self.processes:
            self._complete = True
            log.info("serving", address=address, processes=self.processes)
