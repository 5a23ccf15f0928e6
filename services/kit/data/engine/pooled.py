"""Connections through a pooler such as PgBouncer, which lends the server's sessions out.

What a session was set to would be refused, lost, or left to whoever gets it next. So each transaction sets what it
needs for itself alone, in the same message that begins it: that costs no round trip.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from psycopg import AsyncConnection, Connection, generators
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus

C = TypeVar("C", bound=type[AsyncConnection[Any]] | type[Connection[Any]])


def limited_in_transactions(kind: C, settings: Mapping[str, Any], then: str = "") -> C:
    """Makes a kind of the driver's connections whose transactions begin with some settings.

    Args:
        kind: The driver's own kind.
        settings: Names and values, neither of them foreign.
        then: A statement without an answer that follows them; if it fails, the transaction does.
    """
    statements = [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()] + ([then] if then else [])
    after = "".join(f"; {statement}" for statement in statements).encode()

    class Limited(kind):  # type: ignore[valid-type,misc] # a class that is an argument
        def _start_query(self) -> Any:
            # As the driver's own, which takes no more than one answer to what begins a transaction.
            if self.autocommit or self.pgconn.transaction_status != TransactionStatus.IDLE:
                return
            self.pgconn.send_query(self._get_tx_start_command() + after)
            for answer in (yield from generators.execute(self.pgconn)):
                if answer.status != ExecStatus.COMMAND_OK:
                    raise error_from_result(answer)

    return Limited  # type: ignore[return-value] # it is a subclass
