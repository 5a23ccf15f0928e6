"""A port that several processes listen on, chosen and reserved by the process that starts them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from services.kit.settings import AddressError, StartupError

# The name resolver wraps larger numbers.
_PORT_MAX = 65535


@contextmanager
def shared_port(address: str, *, exclusive: bool) -> Iterator[str]:
    """Reserve a port for this user's processes while the block runs, without accepting connections on it.

    An address with port 0 thereby has the same port for all processes, including those that are restarted later.

    Args:
        address: `host:port`; port 0 for a free one.
        exclusive: Whether other listeners on the port are an error. Otherwise the processes share it with them.

    Yields:
        `host:port` with the port for the processes.

    Raises:
        StartupError: If the address cannot be shared or is taken.
    """
    host, _, port = address.rpartition(":")
    if address.startswith("unix:") or not host or not port.isdecimal() or int(port) > _PORT_MAX:
        raise StartupError(f"several processes can't listen on {address}: they need an address that is host:port")
    if not hasattr(socket, "SO_REUSEPORT"):
        raise StartupError("several processes can't share a port on this system: it has no SO_REUSEPORT")
    try:
        if exclusive and int(port):
            _bound(host, int(port), shared=False).close()
        kept = _bound(host, int(port), shared=True)
    except OSError as error:
        raise AddressError(f"can't listen on {address}: {error.strerror or error}.") from None
    with kept:
        yield f"{host}:{kept.getsockname()[1]}"


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    name = host.removeprefix("[").removesuffix("]")
    family, kind, protocol, _, place = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    one = socket.socket(family, kind, protocol)
    try:
        # Recently closed connections do not block the port; a listener does.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(place)
    except BaseException:
        one.close()
        raise
    return one
