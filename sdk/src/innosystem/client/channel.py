"""Channels to the services."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import grpc
from grpc import aio

from innosystem.client.calls import ResponseStreams, UnaryCalls
from innosystem.client.contract import repeatable_methods
from innosystem.client.credentials import Token, token_of
from innosystem.client.renewal import client_files, renewed_channel, transport_options
from innosystem.client.service_config import service_config
from innosystem.shared.transport import Transport

Request = TypeVar("Request")
Response = TypeVar("Response")
Serializer: TypeAlias = Callable[[Request], bytes]
Deserializer: TypeAlias = Callable[[bytes], Response]

# Batches have at most 8 MiB; the rest is headroom for their framing. gRPC's default of 4 MiB is too small.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
_KEEPALIVE_MILLISECONDS = 30_000
_KEEPALIVE_TIMEOUT_MILLISECONDS = 10_000
_RECONNECT_MILLISECONDS = 100
_RESOLVE_MILLISECONDS = 1_000
_RECONNECT_MILLISECONDS_MAX = 2_000


def connect(
    target: str,
    *,
    deadline_seconds: float = 10.0,
    transport: Transport | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    token: Token | None = None,
    interceptors: Sequence[aio.ClientInterceptor] = (),
    options: Sequence[tuple[str, Any]] = (),
) -> aio.Channel:
    """Create a channel to one service, which connects on first use and reconnects as needed.

    Calls rotate among all servers that the target resolves to, over one connection each, which is not
    shared with other channels. Calls that are safe to repeat are retried while no server is available,
    and wait when a limit of the caller is used up, as long as the service says, within their deadline.
    Every call carries an `x-request-id`, and new resources have an ID before the call is sent.

    Args:
        target: The target: `host:port`, `dns:///host:port`, `unix:/path` or any other that gRPC
            supports.
        deadline_seconds: The time limit of a unary call, including retries, if it is called without
            a `timeout`.
        transport: How the connection is protected, with files that are read again when they change. By
            default INNOSYSTEM_TLS_CA_FILE and so on of the environment.
        credentials: Credentials of your own, in place of `transport`.
        token: Returns the bearer token of a call, such as `TokenFile(path)`. By default INNOSYSTEM_TOKEN, or
            the content of INNOSYSTEM_TOKEN_FILE, of the environment; without those, calls carry none.
        interceptors: Additional interceptors. They see calls as they are sent.
        options: gRPC channel arguments, which override the defaults of this function.

    Returns:
        A channel for the generated stubs. Close it, or use it as an async context manager.

    Raises:
        TransportError: If the connection would leave this machine without TLS, or the TLS files can't
            be used.
        ValueError: INNOSYSTEM_TOKEN and INNOSYSTEM_TOKEN_FILE are both set, or the file can't be read.
    """
    if transport is None:
        transport = Transport.of(os.environ)
    if token is None:
        token = token_of()
    arguments = [
        *{
            "grpc.service_config": service_config(),
            "grpc.primary_user_agent": _user_agent(),
            "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
            "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
            # Detects within 40 seconds that a peer has vanished silently. Only during calls: servers
            # treat pings on idle connections as abuse.
            "grpc.keepalive_time_ms": _KEEPALIVE_MILLISECONDS,
            "grpc.keepalive_timeout_ms": _KEEPALIVE_TIMEOUT_MILLISECONDS,
            "grpc.keepalive_permit_without_calls": 0,
            # By default all channels of a process to one address share a connection. If several processes share a
            # port, a connection ends at one of them, and further channels would not reach the others.
            "grpc.use_local_subchannel_pool": 1,
            # By default gRPC resolves a name again after half a minute at the earliest. Servers ask for a new
            # connection every minute, and there may be additional servers by then.
            "grpc.dns_min_time_between_resolutions_ms": _RESOLVE_MILLISECONDS,
            # By default gRPC waits for up to two minutes before it reconnects.
            "grpc.initial_reconnect_backoff_ms": _RECONNECT_MILLISECONDS,
            "grpc.max_reconnect_backoff_ms": _RECONNECT_MILLISECONDS_MAX,
            **transport_options(target, transport),
            **dict(options),
        }.items()
    ]

    def secure(with_credentials: grpc.ChannelCredentials) -> aio.Channel:
        return aio.secure_channel(target, with_credentials, arguments, interceptors=interceptors)

    inner: aio.Channel
    if credentials is not None:
        inner = secure(credentials)
    elif (files := client_files(target, transport)) is not None:
        inner = renewed_channel(files, secure)
    else:
        inner = aio.insecure_channel(target, arguments, interceptors=interceptors)
    return _ClientChannel(inner, deadline_seconds, token)


@cache
def _user_agent() -> str:
    try:
        return f"innosystem-python/{version('innosystem')}"
    except PackageNotFoundError:
        # Imported from a checkout that is not installed.
        return "innosystem-python/source"


class _ClientChannel(aio.Channel):
    """A channel whose calls are prepared by `calls`; everything else is delegated to the inner channel.

    Stubs pass undocumented arguments (`_registered_method`), which are passed on unchanged.
    """

    def __init__(self, inner: aio.Channel, deadline_seconds: float, token: Token) -> None:
        self._inner = inner
        self._token = token
        self._deadline_seconds = deadline_seconds

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer[Request] | None = None,
        response_deserializer: Deserializer[Response] | None = None,
        **more: Any,
    ) -> aio.UnaryUnaryMultiCallable[Request, Response]:
        inner = self._inner.unary_unary(method, request_serializer, response_deserializer, **more)
        return UnaryCalls(inner, self._deadline_seconds, self._token, patient=method in repeatable_methods())

    def unary_stream(
        self,
        method: str,
        request_serializer: Serializer[Request] | None = None,
        response_deserializer: Deserializer[Response] | None = None,
        **more: Any,
    ) -> aio.UnaryStreamMultiCallable[Request, Response]:
        inner = self._inner.unary_stream(method, request_serializer, response_deserializer, **more)
        return ResponseStreams(inner, self._token)

    # The contract has no methods with request streams; those of reflection and other general services
    # need no preparation.
    def stream_unary(
        self,
        method: str,
        request_serializer: Serializer[Request] | None = None,
        response_deserializer: Deserializer[Response] | None = None,
        **more: Any,
    ) -> aio.StreamUnaryMultiCallable[Request, Response]:
        return self._inner.stream_unary(method, request_serializer, response_deserializer, **more)

    def stream_stream(
        self,
        method: str,
        request_serializer: Serializer[Request] | None = None,
        response_deserializer: Deserializer[Response] | None = None,
        **more: Any,
    ) -> aio.StreamStreamMultiCallable[Request, Response]:
        return self._inner.stream_stream(method, request_serializer, response_deserializer, **more)

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()
