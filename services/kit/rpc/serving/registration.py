"""Registration of servicers with a server, wrapped in the layers, so that every served method is checked."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from services.kit.rpc.layers.stack import Layers
from services.kit.settings import StartupError

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]


class Registrations:
    """A stand-in for a server to which servicers are added: it registers their methods wrapped in the layers.

    Args:
        server: The server.
        layers: The layers.
    """

    def __init__(self, server: grpc.aio.Server, layers: Layers) -> None:
        self._server = server
        self._layers = layers
        self._names: set[str] = set()

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Record the services of handlers and register their methods.

        Raises:
            StartupError: If a handler does not name its service.
        """
        for handler in handlers:
            if not isinstance(handler, grpc.ServiceRpcHandler):
                raise StartupError(f"{handler!r} serves no named service, so that its methods have no policy")
            self._names.add(handler.service_name())
        self._server.add_generic_rpc_handlers([_Layered(handler, self._layers) for handler in handlers])

    def add_registered_method_handlers(self, service: str, handlers: "Mapping[str, Handler]") -> None:
        """Record a service and register its methods."""
        self._names.add(service)
        layered = {name: self._layers.around(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, layered)

    def services(self) -> list[ServiceDescriptor]:
        """Return the registered services.

        Raises:
            StartupError: If a service is in no imported contract.
        """
        pool = descriptor_pool.Default()
        try:
            return [pool.FindServiceByName(name) for name in sorted(self._names)]
        except KeyError as error:
            raise StartupError(f"a service is registered that no contract describes: {error.args[0]}") from None


class _Layered(grpc.ServiceRpcHandler):
    """The methods of a service by name, wrapped in the layers: for services that are registered as a whole."""

    def __init__(self, inner: grpc.ServiceRpcHandler, layers: Layers) -> None:
        self._inner = inner
        self._layers = layers
        self._handlers: dict[str, Handler] = {}

    def service_name(self) -> str:
        return self._inner.service_name()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        method = handler_call_details.method
        if method not in self._handlers:
            handler = self._inner.service(handler_call_details)
            if handler is None:
                return None
            self._handlers[method] = self._layers.around(method, handler)
        return self._handlers[method]
