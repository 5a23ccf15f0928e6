"""Connections to Redis that follow its address to the current primary.

After a failover the address leads to another server, but the demoted one closes no connection: it replies to pings, and
refuses changes for ever. A connection is therefore closed when its server refuses a change, and after a while in any
case; the next command resolves the address again.

The SDK itself needs no Redis, so the client is imported only when `connect` is called.
"""

from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from innosystem.shared.transport import is_local

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.exceptions import ResponseError

_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_EXAMPLE: Final = "must be a URL such as redis://user:password@host:6379/0, with / ? # of a password as %2F %3F %23"
_REFUSALS: Final = ("READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED")


def check_url(url: str) -> None:
    """Check the address of Redis, without repeating any of it: half of a password may look like a port.

    Raises:
        ValueError: With what is wrong.
    """
    from redis.asyncio import ConnectionPool

    if not url.startswith(_SCHEMES):
        raise ValueError(f"must be a URL that begins with {', '.join(_SCHEMES)}")
    try:
        # Nothing is opened; options that do not exist are refused here.
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        raise ValueError(_EXAMPLE) from None
    parts = urlsplit(url)
    if parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        # A password that ends the host too early: what is left of it would be connected to, and be named in logs.
        raise ValueError(_EXAMPLE)


def is_protected(url: str) -> bool:
    """Return whether connections to Redis are encrypted, or stay on this machine."""
    parts = urlsplit(url)
    return parts.scheme != "redis" or is_local(parts.hostname or "localhost")


def connect(url: str, *, lifetime_seconds: float, **arguments: Any) -> "Redis":
    """Create a client; no connection is opened before the first command.

    Args:
        url: The address of Redis.
        lifetime_seconds: The age at which a connection is replaced by a new one.
        arguments: Passed on to redis-py.
    """
    from redis.asyncio import Redis

    client: Redis = Redis.from_url(url, **arguments)
    pool = client.connection_pool
    pool.connection_class = _following(pool.connection_class, lifetime_seconds)
    return client


def _following(kind: Any, lifetime_seconds: float) -> Any:
    """Derive a class of connections (TCP, TLS, unix socket) that close when outdated."""
    from redis.exceptions import ConnectionError as LostConnection
    from redis.exceptions import RedisError, ResponseError

    class Following(kind):  # type: ignore[misc] # a base class chosen at run time
        _until = 0.0

        @property
        def is_old(self) -> bool:
            """Whether it is time to replace the connection."""
            return bool(self.is_connected) and monotonic() > self._until

        async def connect(self) -> None:
            # The pool calls this each time it provides a connection.
            if self.is_old:
                await self.disconnect(nowait=True)
            if not self.is_connected:
                self._until = monotonic() + lifetime_seconds
            try:
                await super().connect()
            except RedisError as error:
                # Some errors of redis-py name the server, most do not, and none has the password.
                error.args = (_located(str(error), self),)
                raise

        async def read_response(self, *args: Any, **arguments: Any) -> Any:
            try:
                return await super().read_response(*args, **arguments)
            except ResponseError as error:
                if not refuses_changes(error):
                    raise
                await self.disconnect(nowait=True)
                raise LostConnection(f"this server accepts no changes now: {error}") from error

    return Following


def _located(text: str, connection: Any) -> str:
    """Return the text of an error with the address of the server, unless it has it."""
    path = getattr(connection, "path", "")
    server = path or f"{connection.host}:{connection.port}"
    if text.startswith("HELLO must be called"):
        text = "the server requires a password"
    if server in text:
        return text
    user = f"{connection.username}@" if getattr(connection, "username", None) else ""
    return f"{text.rstrip('.')} ({user}{server}, database {connection.db})"


def refuses_changes(error: "ResponseError") -> bool:
    """Return whether a server reports that it is not, or not yet, the primary."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return code in _REFUSALS
