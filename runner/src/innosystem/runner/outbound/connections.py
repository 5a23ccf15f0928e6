"""Connections to addresses that were checked.

A name is resolved once for a connection, and the connection is made to one of the addresses that were checked: a DNS
server that gives another address a moment later has no effect. The name stays what is sent as Host, and what the
certificate must be for.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeAlias

import httpcore
from typing_extensions import override

from innosystem.runner.errors import JobError
from innosystem.runner.outbound.addresses import Network, is_permitted

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host and a port to addresses, the preferred first. Raises OSError."""

_ADDRESSES_MAX: Final = 4
_RESOLVING_THREADS: Final = 16


class SystemResolver:
    """Resolves names as the machine does, in threads of its own: a slow DNS server delays nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVING_THREADS, thread_name_prefix="resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host.

        Raises:
            OSError: It has none, or no DNS server responds.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, _addresses, host, port)

    def close(self) -> None:
        """Resolve no more names."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _addresses(host: str, port: int) -> Sequence[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class CheckedConnections(httpcore.AnyIOBackend):
    """Makes the connections of a pool, only to permitted addresses.

    Args:
        resolve: The resolver of names.
        networks: Networks whose addresses are permitted although they are not public.
    """

    def __init__(self, resolve: Resolver, networks: Sequence[Network] = ()) -> None:
        self._resolve = resolve
        self._networks = networks

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that is permitted and accepts.

        Raises:
            JobError: No address of the host is permitted.
            httpcore.ConnectError: The name can't be resolved, or no address accepts the connection.
            httpcore.ConnectTimeout: The name was not resolved in time, or the last address did not respond in time.
        """
        *others, last = await self._permitted(host, port, timeout)
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
        return await super().connect_tcp(last, port, timeout, local_address, socket_options)

    async def _permitted(self, host: str, port: int, timeout: float | None) -> Sequence[str]:
        try:
            async with asyncio.timeout(timeout):
                found = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} was not resolved within {timeout:g} s") from None
        except OSError as exc:
            raise httpcore.ConnectError(f"{host} can't be resolved: {exc.strerror or exc}") from exc
        permitted = [one for one in dict.fromkeys(found) if is_permitted(one, self._networks)]
        if not permitted:
            raise JobError(
                f"{host} has no public address, and RUNNER_HTTP_PRIVATE_NETWORKS does not name its network",
                type="ADDRESS_NOT_ALLOWED",
            )
        return permitted[:_ADDRESSES_MAX]
