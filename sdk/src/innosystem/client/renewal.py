"""A channel whose TLS files may be replaced while it is used: gRPC itself reads credentials only once."""

import asyncio
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakValueDictionary

import grpc
from grpc import aio

from innosystem.shared.tls_files import TlsContents, TlsFiles
from innosystem.shared.transport import Transport, is_local

_LOOK_SECONDS: Final = 1.0
# A call on the old channel may take as long as it likes, such as a stream without an end.
_DRAIN_SECONDS: Final = 365 * 24 * 3600.0
# Without a connection, or with an attempt that has failed, there is nothing to keep.
_WITHOUT_CONNECTION: Final = (
    grpc.ChannelConnectivity.IDLE,
    grpc.ChannelConnectivity.TRANSIENT_FAILURE,
    grpc.ChannelConnectivity.SHUTDOWN,
)

# Those in use, so that a change of files is read, reported and counted once, however many connections they are for.
_FILES: Final[WeakValueDictionary[tuple[object, ...], TlsFiles]] = WeakValueDictionary()


def credentials_of(contents: TlsContents) -> grpc.ChannelCredentials:
    """Return the credentials of a client with what its files hold."""
    return grpc.ssl_channel_credentials(contents.ca, contents.key, contents.certificate)


def client_files(target: str, transport: Transport) -> TlsFiles | None:
    """Return the TLS files of a connection, which it shares with others; None if it is not encrypted.

    Raises:
        TransportError: If it would leave this machine without TLS, or the files can't be used.
    """
    transport.check(target)
    if not transport.ca_file:
        return None
    files = transport.ca_file, transport.certificate_file, transport.key_file
    shared = _FILES.get((*files, transport.report))
    if shared is None:
        ca_file, certificate_file, key_file = files
        shared = TlsFiles(
            ca_file=ca_file, certificate_file=certificate_file, key_file=key_file, report=transport.report
        )
        _FILES[*files, transport.report] = shared
    return shared


def transport_options(target: str, transport: Transport) -> dict[str, Any]:
    """Return the channel arguments that go with the protection of a connection."""
    options: dict[str, Any] = {}
    if is_local(target):
        # By default calls to this machine, too, go to a proxy that the environment names.
        options["grpc.enable_http_proxy"] = 0
    if transport.server_name:
        options["grpc.ssl_target_name_override"] = transport.server_name
    return options


def renewed_channel(files: TlsFiles, create: Callable[[grpc.ChannelCredentials], aio.Channel]) -> aio.Channel:
    """Create a channel that is replaced by a new one after the files of its TLS have changed.

    The new channel is used once it is connected, so that a server which does not accept its certificate yet costs no
    call. Calls on the old one finish there.

    Args:
        files: The files, which are examined every second while there are calls.
        create: Creates a channel with credentials.
    """
    return _RenewedChannel(files, create)


class _RenewedChannel(aio.Channel):
    def __init__(self, files: TlsFiles, create: Callable[[grpc.ChannelCredentials], aio.Channel]) -> None:
        self._files = files
        self._create = create
        self._contents = files.current()
        self._channel = create(credentials_of(self._contents))
        self._next: aio.Channel | None = None
        self._look_at = monotonic() + _LOOK_SECONDS
        self._draining: dict[asyncio.Task[None], aio.Channel] = {}

    def _current(self) -> aio.Channel:
        """Return the channel for the next call."""
        now = monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            contents = self._files.current()
            if contents is not self._contents:
                self._contents = contents
                if self._next is not None:
                    self._drain(self._next)
                self._next = self._create(credentials_of(contents))
        if self._next is not None and (
            self._next.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY
            or self._channel.get_state() in _WITHOUT_CONNECTION
        ):
            self._drain(self._channel)
            self._channel, self._next = self._next, None
        return self._channel

    def _drain(self, channel: aio.Channel) -> None:
        task = asyncio.get_running_loop().create_task(channel.close(_DRAIN_SECONDS))
        self._draining[task] = channel
        task.add_done_callback(lambda done: self._draining.pop(done, None))

    def unary_unary(self, *arguments: Any, **more: Any) -> Any:
        return _Calls(self._current, lambda channel: channel.unary_unary(*arguments, **more))

    def unary_stream(self, *arguments: Any, **more: Any) -> Any:
        return _Calls(self._current, lambda channel: channel.unary_stream(*arguments, **more))

    def stream_unary(self, *arguments: Any, **more: Any) -> Any:
        return _Calls(self._current, lambda channel: channel.stream_unary(*arguments, **more))

    def stream_stream(self, *arguments: Any, **more: Any) -> Any:
        return _Calls(self._current, lambda channel: channel.stream_stream(*arguments, **more))

    async def close(self, grace: float | None = None) -> None:
        # A channel must not be closed by two tasks concurrently.
        draining = dict(self._draining)
        for task in draining:
            task.cancel()
        await asyncio.gather(*draining, return_exceptions=True)
        channels = [*draining.values(), self._channel, *([self._next] if self._next is not None else [])]
        await asyncio.gather(*(channel.close(grace) for channel in channels))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._current().channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()


class _Calls:
    """The calls of a method, each on the channel that is the current one."""

    def __init__(self, current: Callable[[], aio.Channel], create: Callable[[aio.Channel], Any]) -> None:
        self._current = current
        self._create = create
        self._channel: aio.Channel | None = None
        self._calls: Any = None

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        channel = self._current()
        if channel is not self._channel:
            self._channel, self._calls = channel, self._create(channel)
        return self._calls(*arguments, **more)
