"""A gRPC proxy that loses the first reply of a call: the server has done the work, and the caller does not know."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

_UPSTREAM_SECONDS = 20
_THREADS = 4

Meanwhile = Callable[[], None]


class LosingProxy(grpc.GenericRpcHandler):
    """Forward every call to the server of its service, and all responses but the first.

    Args:
        upstreams: The channels of the servers, by the full names of their services.
        meanwhile: Called after the server has responded to the first call, and before its caller learns that the
            response is lost: what the platform does until the call is repeated.
    """

    def __init__(self, upstreams: Mapping[str, grpc.Channel], meanwhile: Meanwhile) -> None:
        self._upstreams = upstreams
        self._meanwhile = meanwhile
        self.requests: list[bytes] = []
        self.refusals: list[grpc.RpcError] = []

    def service(self, handler_call_details: Any) -> Any:
        """Handle any method; a unary one is a stream of one response."""
        method = handler_call_details.method
        upstream: Any = self._upstreams[method.split("/")[1]].unary_stream(method)

        def call(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self.requests.append(request)
            try:
                responses = list(upstream(request, timeout=_UPSTREAM_SECONDS))
            except grpc.RpcError as error:
                self.refusals.append(error)
                context.abort(error.code(), error.details() or "")
            if len(self.requests) == 1:
                self._meanwhile()
                context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
            yield from responses

        return grpc.unary_stream_rpc_method_handler(call)


@contextmanager
def losing(upstreams: Mapping[str, grpc.Channel], meanwhile: Meanwhile, address: str) -> Iterator[LosingProxy]:
    """Serve a proxy at an address."""
    proxy = LosingProxy(upstreams, meanwhile)
    server = grpc.server(ThreadPoolExecutor(_THREADS), handlers=[proxy])
    server.add_insecure_port(address)
    server.start()
    try:
        yield proxy
    finally:
        server.stop(None).wait()
