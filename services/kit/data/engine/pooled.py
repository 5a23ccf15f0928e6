"""Connections through a pooler such as PgBouncer, which shares the server's sessions among clients.

Settings of a session would be refused, lost, or inherited by its next client. Each transaction therefore sets its own,
in the message that begins it, which costs no round trip.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from psycopg import AsyncConnection, Connection, generators
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus

C = TypeVar("C", bound=type[AsyncConnection[Any]] | type[Connection[Any]])


def limited_in_transactions(kind: C, settings: Mapping[str, Any], then: str = "") -> C:
    """Return a class of the driver's connections whose transactions begin with some settings.

    Args:
        kind: The driver's class.
        settings: Names and values, from trusted sources.
        then: A statement without rows that follows the settings; if it fails, the transaction fails.
    """
    statements = [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()] + ([then] if then else [])
    after = "".join(f"; {statement}" for statement in statements).encode()

    class Limited(kind):  # type: ignore[valid-type,misc] # the base class is an argument
        def _start_query(self) -> Any:
            # Like the driver's own method, which allows only one result for the start of a transaction.
            if self.autocommit or self.pgconn.transaction_status != TransactionStatus.IDLE:
                return
            self.pgconn.send_query(self._get_tx_start_command() + after)
            for result in (yield from generators.execute(self.pgconn)):
                if result.status != ExecStatus.COMMAND_OK:
                    raise error_from_result(result)

    return Limited  # type: ignore[return-value] # it is a subclass
