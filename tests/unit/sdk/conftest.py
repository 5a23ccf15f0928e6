import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from innosystem.client import connect
from innosystem.client.contract import services


@dataclass
class Seen:
    """One attempt of a call, as the server received it."""

    request: Message
    metadata: dict[str, str | bytes]
    time_remaining: float | None


Response = Callable[[Any, "aio.ServicerContext[Any, Any]"], Awaitable[Message]]


@dataclass
class RecordingServer:
    """A server of all unary methods of the contract; returns empty messages unless a response is set."""

    target: str
    seen: list[Seen] = field(default_factory=list)
    responses: dict[str, Response] = field(default_factory=dict)

    def handlers(self) -> Iterator[grpc.GenericRpcHandler]:
        for service in services():
            yield grpc.method_handlers_generic_handler(
                service.full_name,
                {
                    method.name: grpc.unary_unary_rpc_method_handler(
                        self._behaviour(method.name, GetMessageClass(method.output_type)),
                        request_deserializer=GetMessageClass(method.input_type).FromString,
                        response_serializer=lambda reply: reply.SerializeToString(),
                    )
                    for method in service.methods
                    if not method.server_streaming
                },
            )
        yield grpc.method_handlers_generic_handler(
            "test.Streams", {"Watch": grpc.unary_stream_rpc_method_handler(self._watch)}
        )

    def _behaviour(self, method: str, reply: Callable[[], Message]) -> Any:
        async def behave(request: Message, context: "aio.ServicerContext[Any, Any]") -> Message:
            self._record(request, context)
            respond = self.responses.get(method)
            return await respond(request, context) if respond else reply()

        return behave

    async def _watch(self, request: bytes, context: "aio.ServicerContext[Any, Any]") -> AsyncIterator[bytes]:
        self._record(request, context)
        yield b"one"
        yield b"two"

    def _record(self, request: Any, context: "aio.ServicerContext[Any, Any]") -> None:
        metadata = dict(context.invocation_metadata() or ())
        self.seen.append(Seen(request, metadata, context.time_remaining()))


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    # Not tmp_path: the path of a socket is limited to 107 characters.
    with tempfile.TemporaryDirectory() as folder:
        recording = RecordingServer(f"unix:{Path(folder, 'server.sock')}")
        running = aio.server()
        running.add_generic_rpc_handlers(tuple(recording.handlers()))
        running.add_insecure_port(recording.target)
        await running.start()
        yield recording
        await running.stop(None)


@pytest.fixture
async def channel(server: RecordingServer) -> AsyncIterator[aio.Channel]:
    async with connect(server.target) as channel:
        yield channel
