"""The gRPC server that every service runs in: starts, serves, drains."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import structlog
import uvloop
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from services.kit.logs import configure
from services.kit.rpc.health import Check, Health
from services.kit.rpc.layers import Layers, Load
from services.kit.rpc.policy import check_policies
from services.kit.settings import LogSettings, ServerSettings, StartupError, load

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

_EXEMPT = ("/grpc.health.", "/grpc.reflection.")
_STARTUP_ERROR_EXIT_STATUS = 2


@dataclass(frozen=True)
class Served:
    """A service of the contract and who answers its calls.

    Attributes:
        descriptor: The service.
        register: Adds the servicer to a server: `lambda server: add_XServicer_to_server(servicer, server)`.
    """

    descriptor: ServiceDescriptor
    register: Callable[[grpc.aio.Server], None]


@dataclass
class Server:
    """A gRPC server with health, reflection and the layers around every call.

    Attributes:
        settings: Address and limits.
        served: The services of the contract.
        required: Health checks without which the services are NOT_SERVING.
        optional: Health checks whose failure is only logged.
        background: What runs beside the server until it has drained, such as a dispatcher; its failure ends the process.
    """

    settings: ServerSettings
    served: Sequence[Served]
    required: Mapping[str, Check]
    optional: Mapping[str, Check] = field(default_factory=dict)
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then refuses new calls, finishes those in flight, and returns.

        Raises:
            StartupError: If the address can't be used, or a method of the contract has no policy.
        """
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        calls = Load(self.settings.concurrent_calls_max)
        health = Health([one.descriptor.full_name for one in self.served], self.required, self.optional)
        server = self._build(Layers(calls, self.settings.deadline_seconds_max), health)
        async with AsyncExitStack() as running:
            # A server that is not stopped complains when it is collected, also one that never started.
            running.push_async_callback(server.stop, None)
            address = self._bind(server)
            await health.start()
            await server.start()
            tasks = [asyncio.create_task(work()) for work in (health.watch, *self.background)]
            running.push_async_callback(_cancel, tasks)
            log.info("serving", address=address)
            await _first(asyncio.create_task(stopped.wait()), tasks)
            log.info("draining", calls=calls.calls)
            calls.draining = True
            await health.stop()
            await server.stop(self.settings.drain_seconds)
        log.info("stopped")

    def _build(self, layers: Layers, health: Health) -> grpc.aio.Server:
        bytes_max = self.settings.message_bytes_max
        server = grpc.aio.server(
            interceptors=[_Interceptor(layers)],
            options=[
                ("grpc.max_receive_message_length", bytes_max),
                ("grpc.max_send_message_length", bytes_max),
                ("grpc.so_reuseport", 0),
                # Clients ping every 30 s while calls are open; without this the server takes that for abuse.
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        for one in self.served:
            check_policies(one.descriptor)
            one.register(server)
            for method in one.descriptor.methods:
                layers.validator.warm_up(method.input_type.full_name)
        add_HealthServicer_to_server(health.servicer, server)
        if self.settings.reflection:
            names = [one.descriptor.full_name for one in self.served]
            reflection.enable_server_reflection([*names, "grpc.health.v1.Health", reflection.SERVICE_NAME], server)
        return server

    def _bind(self, server: grpc.aio.Server) -> str:
        address = self.settings.listen_address
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartupError(f"can't listen on {address}: is another process using it? ({error})") from None
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


class _Interceptor(grpc.aio.ServerInterceptor):
    """Puts the layers around each method of the contract, once."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler":
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        # A method that does not exist has no handler; what is exempt streams, and is the library's own.
        if handler is None or method.startswith(_EXEMPT):
            return handler
        wrapped = grpc.unary_unary_rpc_method_handler(
            self._layers.around(method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        self._handlers[method] = wrapped
        return wrapped


async def _first(stopped: asyncio.Task[Any], tasks: Sequence[asyncio.Task[None]]) -> None:
    """Waits for the signal; a background task that ends before it has failed, and its error is raised."""
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done - {stopped}:
        task.result()
        raise RuntimeError(f"{task.get_coro()} ended although nobody asked it to")


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def serve(service: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a service's main coroutine as a process: logs, event loop, exit status.

    Args:
        service: The service's name, for logs.
        main: Builds the service and runs its `Server`.
    """
    try:
        configure(load(LogSettings, "LOG_"), service=service)
        uvloop.run(main())
    except StartupError as error:
        print(f"{service}: {error}", file=sys.stderr)  # noqa: T201 - the log may be what could not be set up
        sys.exit(_STARTUP_ERROR_EXIT_STATUS)
