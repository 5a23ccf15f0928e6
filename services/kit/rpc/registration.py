"""Notes which services are registered with a server, so that none can be served that nobody checked."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from services.kit.settings import StartupError


class Registrations:
    """Stands in for a server while servicers are added to it: hands everything on and notes the services' names."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self._names: set[str] = set()

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Notes the services of handlers and hands them on.

        Raises:
            StartupError: If a handler does not say which service it is for.
        """
        for handler in handlers:
            if not isinstance(handler, grpc.ServiceRpcHandler):
                raise StartupError(f"{handler!r} serves no named service, so that its methods have no policy")
            self._names.add(handler.service_name())
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Notes a service and hands it on."""
        self._names.add(service)
        self._server.add_registered_method_handlers(service, handlers)

    def services(self) -> list[ServiceDescriptor]:
        """The services that were registered.

        Raises:
            StartupError: If one is not in any contract that was imported.
        """
        pool = descriptor_pool.Default()
        try:
            return [pool.FindServiceByName(name) for name in sorted(self._names)]
        except KeyError as error:
            raise StartupError(f"a service is registered that no contract describes: {error.args[0]}") from None
