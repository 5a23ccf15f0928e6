"""Connections through a pooler such as PgBouncer, which lends the server's sessions out.

What a session was set to would be refused, lost, or left to whoever gets it next. So each transaction sets what it
needs for itself alone, in the same message that begins it: that costs no round trip.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from psycopg import AsyncConnection, Connection

C = TypeVar("C", bound=type[AsyncConnection[Any]] | type[Connection[Any]])


def limited_in_transactions(kind: C, settings: Mapping[str, str]) -> C:
    """Makes a kind of the driver's connections whose transactions begin with some settings.

    Args:
        kind: The driver's own kind.
        settings: Names and values, neither of them foreign.
    """
    after = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in settings.items()).encode()

    class Limited(kind):  # type: ignore[valid-type,misc] # a class that is an argument
        def _get_tx_start_command(self) -> bytes:
            begin: bytes = super()._get_tx_start_command()
            return begin + after

    return Limited  # type: ignore[return-value] # it is a subclass
