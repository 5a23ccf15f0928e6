"""Connections to Redis that follow its address to the server that takes changes now.

After a failover the address leads to another server, but the one that was demoted closes no connection: it answers
pings, and refuses changes for ever. So a connection is given up when its server says so, or after a while in any case;
the next command resolves the address anew. The services have the same in
`services.kit.redis.connections`, which a runner does not have.
"""

from time import monotonic
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError

_NOT_THE_ONE: Final = ("READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED")


def connect(url: str, *, lifetime_seconds: float, **how: Any) -> redis.Redis:
    """Make a client; nothing is opened before the first command.

    Args:
        url: Where Redis is.
        lifetime_seconds: After how long a connection is replaced by a new one.
        how: Handed on to redis-py.

    Returns:
        The client.
    """
    client: redis.Redis = redis.Redis.from_url(url, **how)
    pool = client.connection_pool
    pool.connection_class = _following(pool.connection_class, lifetime_seconds)
    return client


def _following(kind: Any, lifetime_seconds: float) -> Any:
    """The kind of connection (TCP, TLS, unix socket), with the ability to let go."""

    class Following(kind):  # type: ignore[misc] # a class that is an argument
        _until = 0.0

        async def connect(self) -> None:
            # The pool calls it whenever it hands a connection out.
            if self.is_connected and monotonic() > self._until:
                await self.disconnect(nowait=True)
            if not self.is_connected:
                self._until = monotonic() + lifetime_seconds
            await super().connect()

        async def read_response(self, *args: Any, **how: Any) -> Any:
            try:
                return await super().read_response(*args, **how)
            except ResponseError as error:
                if not refuses_changes(error):
                    raise
                await self.disconnect(nowait=True)
                raise LostConnection(f"this server takes no changes now: {error}") from error

    return Following


def refuses_changes(error: ResponseError) -> bool:
    """Whether a server says that it is not, or not yet, the one to ask."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return code in _NOT_THE_ONE
