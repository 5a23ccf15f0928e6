"""What credentials are checked with: read again from files and addresses, while the last good value remains in use."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from socket import SHUT_RDWR, socket
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import structlog
from prometheus_client import Gauge

log = structlog.get_logger(__name__)

T = TypeVar("T")

UP = Gauge("innosystem_auth_source_up", "Whether keys or a mapping could be read at the last attempt.", ["source"])

_BYTES_MAX: Final = 1 << 20
_FETCH_SECONDS: Final = 3.0
# At each call of `Sources.round`.
_FILE_SECONDS: Final = 0.5
# How soon they are read again for a key that is unknown, and addresses after a failure.
_FILE_SOON_SECONDS: Final = 0.1
_ADDRESS_SOON_SECONDS: Final = 10.0
# How long a call waits for that moment.
_PATIENCE_SECONDS: Final = 0.5


class SourceError(Exception):
    """It can't be read now; the message says why."""


class Source(Generic[T]):
    """A value that is read again from time to time. If that fails, the last good one remains in use for a bounded time.

    Args:
        name: The file or address, for logs and metrics.
        read: Reads it, in a thread; bounded in time.
        parse: Returns the value.
        every_seconds: How often it is read.
        soon_seconds: How soon it may be read again for a key that is unknown.
        kept_seconds: How long a value remains in use that can't be read again.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], bytes],
        parse: Callable[[bytes], T],
        *,
        every_seconds: float,
        soon_seconds: float,
        kept_seconds: float,
    ) -> None:
        self.name = name
        self.on_change: Callable[[], None] = lambda: None
        self._read_now = read
        self._parse = parse
        self._every_seconds = every_seconds
        self._soon_seconds = soon_seconds
        self._kept_seconds = kept_seconds
        self._value: T | None = None
        self._data: bytes | None = None
        self._read_at = self._tried_at = float("-inf")
        self._error = ""
        self._reading: asyncio.Task[None] | None = None

    @property
    def value(self) -> T | None:
        """The last good value; None if there is none, or if it is too old."""
        return self._value if time.monotonic() - self._read_at < self._kept_seconds else None

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return bool(self._error)

    def load(self) -> None:
        """Read it now and wait: for the start of a process.

        Raises:
            SourceError: If that fails.
        """
        self._tried_at = time.monotonic()
        try:
            self._take(*self._read_and_parse())
        except (OSError, ValueError, SourceError) as error:
            self._fail(error)
            raise SourceError(f"{self.name}: {self._error}") from None

    def poll(self) -> None:
        """Begin to read it again if it is time."""
        wait = min(self._every_seconds, _ADDRESS_SOON_SECONDS) if self._error else self._every_seconds
        if time.monotonic() - self._tried_at >= wait:
            self._begin()

    async def newer(self, is_wanted: Callable[[T], bool]) -> T | None:
        """Return the value, read again after this call unless that would be too soon or it has what is wanted.

        Args:
            is_wanted: Whether a value needs no further attempt.
        """
        if self._reading is not None and not self._reading.done():
            # It may have begun before the change.
            await asyncio.shield(self._reading)
            if self.value is not None and is_wanted(self.value):
                return self.value
        called_at = time.monotonic()
        wait = self._tried_at + self._soon_seconds - called_at
        if wait > _PATIENCE_SECONDS:
            return self.value
        await asyncio.sleep(max(0, wait))
        if self._tried_at <= called_at or not self._is_read():
            await asyncio.shield(self._begin())
        return self.value

    def close(self) -> None:
        """Forget it: nothing reads it any more."""
        with suppress(KeyError):
            UP.remove(self.name)

    def _is_read(self) -> bool:
        return self._reading is None or self._reading.done()

    def _begin(self) -> "asyncio.Task[None]":
        """Begin to read it, or join those who wait for it already."""
        if self._reading is None or self._is_read():
            self._tried_at = time.monotonic()
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        try:
            self._take(*await asyncio.to_thread(self._read_and_parse))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the last good value remains in use
            self._fail(error)

    def _read_and_parse(self) -> tuple[bytes, T]:
        data = self._read_now()
        if len(data) > _BYTES_MAX:
            raise SourceError(f"it is larger than {_BYTES_MAX} bytes")
        if data == self._data and self._value is not None:
            return data, self._value
        return data, self._parse(data)

    def _take(self, data: bytes, value: T) -> None:
        is_new = value is not self._value
        self._data, self._value, self._read_at = data, value, time.monotonic()
        if self._error:
            log.info("auth_source_recovered", source=self.name)
        self._error = ""
        UP.labels(self.name).set(1)
        if is_new:
            self.on_change()

    def _fail(self, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        UP.labels(self.name).set(0)
        if reason != self._error:
            self._error = reason
            log.warning("auth_source_failing", source=self.name, error=reason, last_good=self.value is not None)


class Sources:
    """All sources of a process."""

    def __init__(self) -> None:
        self._all: list[Source[Any]] = []

    def add(self, source: "Source[Any]") -> None:
        """Read a source again from now on."""
        self._all.append(source)

    def remove(self, source: "Source[Any]") -> None:
        """Read a source no more."""
        self._all.remove(source)
        source.close()

    async def round(self) -> None:
        """Begin to read what is due. A slow address holds up no other source."""
        for source in self._all:
            source.poll()


def source_of(
    where: str,
    parse: Callable[[bytes], T],
    *,
    address_seconds: float = 0,
    kept_seconds: float,
    ca_file: str = "",
    token_file: str = "",
) -> Source[T]:
    """Return a source that reads a file or an address.

    Args:
        where: The file or the address.
        parse: Returns the value; raises a ValueError if there is none.
        address_seconds: How often an address is read. A file is read every second.
        kept_seconds: How long a value remains in use that can't be read again.
        ca_file: The certificates to trust at the address; by default those of the system.
        token_file: A file with a bearer token for the address.
    """
    is_remote = is_address(where)
    read = partial(fetch, where, ca_file, token_file) if is_remote else partial(read_file, Path(where))
    return Source(
        where,
        read,
        parse,
        every_seconds=address_seconds if is_remote else _FILE_SECONDS,
        soon_seconds=min(address_seconds, _ADDRESS_SOON_SECONDS) if is_remote else _FILE_SOON_SECONDS,
        kept_seconds=kept_seconds,
    )


def is_address(where: str) -> bool:
    """Whether something is an address, and no file."""
    return "://" in where


def check_address(url: str) -> None:
    """Check that keys from an address can't be replaced on their way.

    Raises:
        ValueError: If they could.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.password:
        raise ValueError("must be a URL such as https://issuer.example/keys, without a user")
    if parts.scheme == "https":
        return
    try:
        is_loopback = parts.hostname == "localhost" or ip_address(parts.hostname).is_loopback
    except ValueError:
        is_loopback = False
    if parts.scheme != "http" or not is_loopback:
        raise ValueError("must begin with https://, or with http:// on this machine")


def read_file(path: Path) -> bytes:
    """Read a file, as far as it may be long."""
    with path.open("rb") as file:
        return file.read(_BYTES_MAX + 1)


def fetch(url: str, ca_file: str = "", token_file: str = "") -> bytes:
    """Read from an address, within seconds, without following it to another one.

    Args:
        url: The address.
        ca_file: The certificates to trust; by default those of the system.
        token_file: A file with a bearer token for the address, as that of a Kubernetes API server needs one.

    Raises:
        SourceError: If the response holds nothing.
        OSError: If there is no response.
        ValueError: If a file holds nothing of its kind.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file or None)
        connection: HTTPConnection = HTTPSConnection(host, parts.port, timeout=_FETCH_SECONDS, context=context)
    else:
        connection = HTTPConnection(host, parts.port, timeout=_FETCH_SECONDS)
    headers = {"accept": "application/json", "connection": "close"}
    if token_file:
        headers["authorization"] = f"Bearer {Path(token_file).read_text('ascii').strip()}"
    connection.connect()
    # The time limit of a socket is for each piece, and pieces may come for ever.
    is_cut = threading.Event()
    limit = threading.Timer(_FETCH_SECONDS, _cut, (connection.sock, is_cut))
    limit.daemon = True
    limit.start()
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=headers)
        response = connection.getresponse()
        if response.status != HTTPStatus.OK:
            raise SourceError(f"the response is {response.status} {response.reason}")
        data = response.read(_BYTES_MAX + 1)
    except HTTPException as error:
        raise SourceError(f"the response breaks off, or is no HTTP: {type(error).__name__}") from None
    finally:
        limit.cancel()
        connection.close()
    # What has been cut off looks like a response that has ended.
    if is_cut.is_set() or (response.length and len(data) <= _BYTES_MAX):
        raise SourceError(f"the response breaks off, or takes longer than {_FETCH_SECONDS:g} s")
    return data


def _cut(sock: socket, is_cut: threading.Event) -> None:
    is_cut.set()
    with suppress(OSError):
        # Not `SSLSocket.shutdown`, which would let the other thread read on without decryption.
        socket.shutdown(sock, SHUT_RDWR)
