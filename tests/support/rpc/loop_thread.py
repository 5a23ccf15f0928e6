"""An event loop on a thread of its own, and a real aio server that looks like a blocking one to pytest-grpc."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
import uvloop
from google.protobuf import descriptor_pool

from services.kit.auth.authentication import OFF, Authentication
from services.kit.rpc.layers.stack import Layers, Load
from services.kit.rpc.serving.health import Health
from services.kit.rpc.serving.server import Served, Server
from services.kit.settings import ServerSettings

T = TypeVar("T")

_LIMIT_SECONDS = 30


class LoopThread:
    """Runs coroutines on the event loop that services run on, for blocking tests."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_SECONDS)

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a coroutine that continues until `cancel`."""

        async def create() -> asyncio.Task[None]:
            return asyncio.create_task(work)

        return self.run(create())

    def cancel(self, task: "asyncio.Task[None]") -> None:
        """Cancel what `start` began, and wait for its end."""

        async def end() -> None:
            # Repeatedly: see `services.kit.rpc.serving.server`.
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=1)

        self.run(end())

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LIMIT_SECONDS)
        self._loop.close()


class AioServer:
    """What `add_XServicer_to_server` and pytest-grpc need of a `grpc.Server`, around the server that services use."""

    def __init__(self, loop: LoopThread, authentication: Authentication = OFF, **settings: Any) -> None:
        self._loop = loop
        self._authentication = authentication
        self._settings = settings
        self._methods: dict[str, dict[str, Any]] = {}
        self._address = ""
        self._server: grpc.aio.Server | None = None

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Left out: the same handlers come by name as well."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Note the handlers of a service."""
        self._methods[service] = handlers

    def add_insecure_port(self, address: str) -> None:
        """Note where to listen."""
        self._address = address

    def start(self) -> None:
        """Build the server as a service's process does, with all its layers, and start it."""
        self._loop.run(self._start())

    def stop(self, grace: float | None = None) -> None:
        """Stop it; calls in flight have the grace to end."""
        if self._server is not None:
            self._loop.run(self._server.stop(grace))
            self._server = None

    async def _start(self) -> None:
        settings = ServerSettings(listen_address=self._address, **self._settings)
        served = [self._served(name, handlers) for name, handlers in self._methods.items()]
        health = Health(list(self._methods), {})
        load = Load(settings.concurrent_calls_max, settings.concurrent_streams_max)
        layers = Layers(load, settings.deadline_seconds_max, self._authentication)
        server = Server(settings=settings, served=served, authentication=self._authentication, required={})
        self._server = server.build(layers, health)
        self._server.add_insecure_port(self._address)
        await self._server.start()

    def _served(self, name: str, handlers: dict[str, Any]) -> Served:
        descriptor = descriptor_pool.Default().FindServiceByName(name)

        def register(server: grpc.aio.Server) -> None:
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))

        return Served(descriptor, register)
