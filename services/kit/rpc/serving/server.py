"""The gRPC server of every service: start, serving, drain."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import grpc
import structlog
import uvloop
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from innosystem.shared.metrics_endpoint import EndpointError, metrics_endpoint
from innosystem.shared.transport import TransportError
from services.kit.auth.authentication import Authentication
from services.kit.background import Loop, end
from services.kit.limits.limits import UNLIMITED, Limits
from services.kit.observability.logs import configure
from services.kit.rpc.layers.stack import Layers, Load
from services.kit.rpc.policy import check_policies
from services.kit.rpc.serving import reflection
from services.kit.rpc.serving.health import Check, Health, HealthServicer
from services.kit.rpc.serving.lifeline import Lifeline, process_number
from services.kit.rpc.serving.registration import Registrations
from services.kit.rpc.serving.supervision import CRASH_EXIT_STATUS, STARTUP_ERROR_EXIT_STATUS
from services.kit.rpc.serving.supervisor import Supervisor
from services.kit.rpc.serving.transport import LOCAL_PLAINTEXT, ServerTransport
from services.kit.settings import AddressError, LogSettings, ServerSettings, StartupError, load, misspelt_settings

log = structlog.get_logger(__name__)

# The thresholds of the garbage collector: Python's defaults are 700, 10 and 10.
_NEW_OBJECTS_MAX = 20_000
_YOUNG_ROUNDS = 10
_MIDDLE_ROUNDS = 20

_INTERRUPT_EXIT_STATUS = 130

# By default a client may take two minutes to say anything.
_HANDSHAKE_MILLISECONDS_MAX = 10_000

_REFRESH_EVERY = timedelta(seconds=1)


@dataclass(frozen=True)
class Served:
    """A service of the contract and its servicer.

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
        authentication: How callers prove who they are.
        required: Health checks without which the services are NOT_SERVING.
        transport: How connections to the server are protected.
        optional: Health checks whose failure is only logged.
        background: Background work beside the server until it has drained, such as a dispatcher; its failure ends the
            process.
        on_drain: Called when the drain begins, to end long streams.
        limits: The limits of callers.
        database: Returns the identity of the service's database for clients that use the database themselves; empty
            while it is unknown.
    """

    settings: ServerSettings
    served: Sequence[Served]
    authentication: Authentication
    required: Mapping[str, Check]
    transport: ServerTransport = LOCAL_PLAINTEXT
    optional: Mapping[str, Check] = field(default_factory=dict)
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    on_drain: Sequence[Callable[[], None]] = ()
    limits: Limits = UNLIMITED
    database: Callable[[], str] = str
    _stopped: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)

    def stop(self) -> None:
        """Stop the server, as SIGTERM does: `run` drains and returns."""
        self._stopped.set()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then refuse new calls, finish those in flight, and return.

        Raises:
            StartupError: If the address cannot be used, or a method of the contract has no policy.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        calls = Load(self.settings.concurrent_calls_max, self.settings.concurrent_streams_max)
        names = [one.descriptor.full_name for one in self.served]
        health = Health(names, self.required, self.optional, servicer=HealthServicer(self.database))
        layers = Layers(
            calls,
            self.settings.deadline_seconds_max,
            self.authentication,
            open_reflection=self.settings.reflection == "open",
            limits=self.limits,
        )
        server = self.build(layers, health)
        lifeline = Lifeline.inherited()
        async with AsyncExitStack() as running:
            if lifeline is not None:
                lifeline.hold(self.stop)
                running.callback(lifeline.close)
            # gRPC reports a server that is collected without being stopped, even one that never started.
            running.push_async_callback(server.stop, None)
            await running.enter_async_context(
                metrics_endpoint(self.settings.metrics_listen_address, self.transport.metrics_files)
            )
            address = self._bind(server)
            await health.start()
            await server.start()
            works = [health.watch, *self._refresh(), *self.limits.background, *self.background]
            tasks = [asyncio.create_task(work()) for work in works]
            running.push_async_callback(end, tasks)
            spare_the_collector()
            self._warn()
            _say_serving(address, lifeline)
            await _first(asyncio.create_task(self._stopped.wait()), tasks)
            log.info("draining", calls=calls.calls, streams=calls.streams)
            calls.draining = True
            for end_streams in self.on_drain:
                end_streams()
            await health.stop()
            calls.ending.set()
            await server.stop(self.settings.drain_seconds)
        log.info("stopped")

    def build(self, layers: Layers, health: Health) -> grpc.aio.Server:
        """Create the server with the layers around its calls; `run` binds and starts it.

        Raises:
            StartupError: If a method of the contract has no policy.
        """
        server = grpc.aio.server(options=channel_options(self.settings))
        registrations = Registrations(server, layers)
        for one in self.served:
            one.register(cast("grpc.aio.Server", registrations))
        for service in registrations.services():
            check_policies(service)
            for method in service.methods:
                layers.validator.warm_up(method.input_type.full_name)
        without_policy = cast("grpc.aio.Server", Registrations(server, layers))
        add_HealthServicer_to_server(health.servicer, without_policy)
        if self.settings.reflection:
            names = [one.descriptor.full_name for one in self.served]
            reflection.enable([*names, "grpc.health.v1.Health"], without_policy)
        return server

    def _warn(self) -> None:
        """Log what leaves the service open, once for all of its processes."""
        if process_number() not in (None, 1):
            return
        if not self.authentication.required:
            log.warning("authentication_off", note="INNOSYSTEM_AUTH=off: every caller may do everything")
        if self.transport.plaintext:
            log.warning("plaintext_allowed", note="connections to and from other machines need no encryption")

    def _refresh(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        refresh = self.authentication.refresh
        return [] if refresh is None else [Loop("credentials", refresh, every=_REFRESH_EVERY).run]

    def _bind(self, server: grpc.aio.Server) -> str:
        address = self.settings.listen_address
        try:
            port = self.transport.add_port(server, address)
        except RuntimeError:
            # gRPC's exception has no reason; gRPC has written the reason to standard error.
            raise AddressError(f"can't listen on {address}: is it mistyped, or is another process using it?") from None
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def channel_options(settings: ServerSettings) -> list[tuple[str, int]]:
    """Return gRPC's options for the connections of a server."""
    return [
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.max_send_message_length", settings.message_bytes_max),
        # Further connections are closed, and those without a handshake in time: each costs memory and a descriptor.
        ("grpc.max_allowed_incoming_connections", settings.connections_max),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MILLISECONDS_MAX),
        # Without a grace period, no call is cut off because of its connection's age.
        ("grpc.max_connection_age_ms", max(1, round(settings.connection_age_seconds * 1000))),
        ("grpc.so_reuseport", int(settings.reuse_port)),
        # Clients ping every 30 s while calls are open, which the server would take for abuse by default.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        # Detects clients that vanished silently, so that their streams end.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


def spare_the_collector() -> None:
    """Make Python's garbage collector run less often, and skip the objects that exist at the start.

    A batch creates thousands of objects, none of them in a cycle, and by default the collector visits them repeatedly,
    which took a fifth of the time of small batches. Cycles (of exceptions, mostly) are found later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_MAX, _YOUNG_ROUNDS, _MIDDLE_ROUNDS)


def _say_serving(address: str, lifeline: Lifeline | None) -> None:
    if lifeline is None:
        log.info("serving", address=address)
        return
    # The supervisor logs "serving" when all of its processes serve.
    log.info("process_serving", address=address, pid=os.getpid())
    lifeline.say_ready()


async def _first(stopped: asyncio.Task[Any], tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the signal; a background task that ends earlier has failed: raise its error."""
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done - {stopped}:
        task.result()
        raise RuntimeError(f"{task.get_coro()} ended before the server stopped")


def serve(
    service: str,
    main: Callable[[], Coroutine[Any, Any, None]],
    settings: type[ServerSettings] | None = None,
    arguments: Sequence[str] = (),
) -> None:
    """Run a service's main coroutine in one process, or several: set up logs and the event loop, set the exit status.

    Args:
        service: The service's name, for logs.
        main: Builds the service and runs its `Server`. Further processes run its module.
        settings: The class of the server's settings, whose variables begin with the service's name. Without it the
            service has one process.
        arguments: The command line: `--processes` in place of the setting.
    """
    try:
        wanted = _processes(service, arguments)
        number = process_number()
        configure(load(LogSettings, "LOG_"), service=service, process=number)
        if number is None:
            for name, meant in misspelt_settings().items():
                log.warning("setting_unknown", setting=name, did_you_mean=meant)
        if settings is not None and number is None:
            prefix = f"{service.upper()}_"
            server_settings = load(settings, prefix)
            processes = wanted or server_settings.processes
            if processes > 1:
                sys.exit(asyncio.run(Supervisor(_module(main), server_settings, prefix, processes).run()))
        uvloop.run(main())
    except AddressError as error:
        print(f"{service}: {error} The setting is {service.upper()}_LISTEN_ADDRESS", file=sys.stderr)  # noqa: T201
        sys.exit(STARTUP_ERROR_EXIT_STATUS)
    except (StartupError, EndpointError, TransportError) as error:
        print(f"{service}: {error}", file=sys.stderr)  # noqa: T201 - the log may be what could not be set up
        sys.exit(STARTUP_ERROR_EXIT_STATUS)
    except KeyboardInterrupt:
        # Before the server handles the signals, or while its surroundings are closed.
        sys.exit(_INTERRUPT_EXIT_STATUS)
    except Exception:
        log.exception("crashed")
        sys.exit(CRASH_EXIT_STATUS)


def _processes(service: str, arguments: Sequence[str]) -> int | None:
    """Return the number of processes on the command line; None if it is not given."""
    parser = argparse.ArgumentParser(prog=service, allow_abbrev=False)
    text = f"how many processes serve on the one port ({service.upper()}_PROCESSES)"
    parser.add_argument("--processes", type=int, metavar="N", help=text)
    wanted: int | None = parser.parse_args(arguments).processes
    if wanted is not None and wanted < 1:
        raise StartupError(f"--processes {wanted}: there must be at least 1")
    return wanted


def _module(main: Callable[[], Coroutine[Any, Any, None]]) -> str:
    """Return the name under which `python -m` runs the module of a main coroutine."""
    spec = sys.modules[main.__module__].__spec__
    if spec is None:
        raise StartupError("several processes need a module: start it by `python -m`")
    return spec.name.removesuffix(".__main__")
