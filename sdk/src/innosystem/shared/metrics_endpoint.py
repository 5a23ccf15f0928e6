"""The endpoint where Prometheus scrapes a process's metrics: `http://<METRICS_LISTEN_ADDRESS>/metrics`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from wsgiref.simple_server import WSGIServer


class EndpointError(Exception):
    """Metrics cannot be served on the address; the message says why."""


@asynccontextmanager
async def metrics_endpoint(address: str) -> AsyncIterator[None]:
    """Serve the metrics of the default registry while the block runs, in a thread of its own.

    Args:
        address: `host:port` (port 0 for a free one), or empty for no endpoint.

    Raises:
        EndpointError: If the address cannot be used.
    """
    if not address:
        yield
        return
    # What services and runners depend on, and the SDK alone does not.
    import structlog
    from prometheus_client import start_http_server

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise EndpointError(f"can't serve metrics on {address}: an address is host:port")
    try:
        server, thread = start_http_server(int(port), host.removeprefix("[").removesuffix("]"))
    except OSError as error:
        raise EndpointError(f"can't serve metrics on {address}: {error.strerror or error}") from None
    except OverflowError:
        raise EndpointError(f"can't serve metrics on {address}: the port is out of range") from None
    structlog.get_logger(__name__).info("metrics", address=f"{host}:{server.server_port}")
    try:
        yield
    finally:
        # The thread checks twice a second whether to stop.
        await asyncio.to_thread(_stop, server, thread)


def _stop(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    thread.join()
    server.server_close()
