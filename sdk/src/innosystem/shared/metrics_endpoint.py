"""The endpoint where Prometheus scrapes a process's metrics: `http://<METRICS_LISTEN_ADDRESS>/metrics`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from innosystem.shared.tls_files import TlsFiles

# A client may take so long for each step of a request over TLS.
_STEP_SECONDS: Final = 10.0


class EndpointError(Exception):
    """Metrics cannot be served on the address; the message says why."""


@asynccontextmanager
async def metrics_endpoint(address: str, files: TlsFiles | None = None) -> AsyncIterator[None]:
    """Serve the metrics of the default registry while the block runs, in a thread of its own.

    Args:
        address: `host:port` (port 0 for a free one), or empty for no endpoint.
        files: The files of TLS; None for none. Clients need no certificate.

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
    if files is not None:
        _encrypt(server, files)
    structlog.get_logger(__name__).info("metrics", address=f"{host}:{server.server_port}")
    try:
        yield
    finally:
        # The thread checks twice a second whether to stop.
        await asyncio.to_thread(_stop, server, thread)


def _encrypt(server: WSGIServer, files: TlsFiles) -> None:
    """Make a server speak TLS with the newest certificate on each connection."""
    accept = server.get_request

    def get_request() -> tuple[Any, Any]:
        plain, client = accept()
        plain.settimeout(_STEP_SECONDS)
        # The handshake is part of the first read, in the request's own thread: a silent client holds up nobody.
        context = files.current().server
        return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), client

    def say_nothing(*_: object) -> None:
        """Drop a request that fails, such as one without TLS: by default its stack trace goes to standard error."""

    server.get_request = get_request  # type: ignore[method-assign]
    server.handle_error = say_nothing  # type: ignore[method-assign, assignment]


def _stop(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    thread.join()
    server.server_close()
