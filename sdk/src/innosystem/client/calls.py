"""Prepare calls before they are sent: add a deadline, a request ID, a token, and IDs for new resources.

The classes wrap the callables that stubs consist of. Interceptors of grpc.aio could do the same, but
run each call in a task of its own, which costs more than all of this.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import aio

from innosystem.client.credentials import NO_TOKEN, Token
from innosystem.client.id_assignment import assign_ids
from innosystem.client.identity import REQUEST_ID_KEY, new_id, request_id
from innosystem.client.patience import PatientCall

AUTHORIZATION_KEY: Final = "authorization"

Request = TypeVar("Request")
Response = TypeVar("Response")
Metadata: TypeAlias = aio.Metadata | Sequence[tuple[str, str | bytes]]
Requests: TypeAlias = AsyncIterator[Request] | Iterator[Request]


def prepared(metadata: Metadata | None, token: Token) -> tuple[tuple[str, str | bytes], ...]:
    """Add the ID of the current request, or a new one, and the token, unless the caller set them.

    Args:
        metadata: The metadata that the caller passed to the stub, which remains unchanged.
        token: The token.
    """
    entries = tuple(metadata or ())
    given = {key for key, _ in entries}
    if REQUEST_ID_KEY not in given:
        entries = (*entries, (REQUEST_ID_KEY, request_id.get() or str(new_id())))
    if AUTHORIZATION_KEY not in given and (text := token()):
        entries = (*entries, (AUTHORIZATION_KEY, f"Bearer {text}"))
    return entries


class UnaryCalls(aio.UnaryUnaryMultiCallable[Request, Response], Generic[Request, Response]):
    """Calls with one request and one response, and always with a deadline.

    Args:
        inner: Sends the calls.
        deadline_seconds: The deadline of calls that set none.
        token: Returns the token of the calls.
        patient: Whether the calls may be repeated, so that they wait when a limit is used up.
    """

    def __init__(
        self,
        inner: aio.UnaryUnaryMultiCallable[Request, Response],
        deadline_seconds: float,
        token: Token = NO_TOKEN,
        *,
        patient: bool = False,
    ) -> None:
        self._inner = inner
        self._token = token
        self._deadline_seconds = deadline_seconds
        self._patient = patient

    def __call__(
        self,
        request: Request,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> aio.UnaryUnaryCall[Request, Response]:
        """Start a call, to be awaited."""
        if isinstance(request, Message):
            assign_ids(request)
        seconds = self._deadline_seconds if timeout is None else timeout
        given = prepared(metadata, self._token)

        def start(seconds: float) -> aio.UnaryUnaryCall[Request, Response]:
            return self._inner(
                request,
                timeout=seconds,
                metadata=given,
                credentials=credentials,
                wait_for_ready=wait_for_ready,
                compression=compression,
            )

        return PatientCall(start, seconds) if self._patient else start(seconds)


class ResponseStreams(aio.UnaryStreamMultiCallable[Request, Response], Generic[Request, Response]):
    """Calls with one request and many responses; without a deadline unless the caller sets one.

    A stream lasts as long as its reader wants.
    """

    def __init__(self, inner: aio.UnaryStreamMultiCallable[Request, Response], token: Token = NO_TOKEN) -> None:
        self._inner = inner
        self._token = token

    def __call__(
        self,
        request: Request,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> aio.UnaryStreamCall[Request, Response]:
        """Start a call, to be iterated over."""
        return self._inner(
            request,
            timeout=timeout,
            metadata=prepared(metadata, self._token),
            credentials=credentials,
            wait_for_ready=wait_for_ready,
            compression=compression,
        )
