"""Deletes holds that ended long ago: each job has had one, and nothing asks for it any more."""

from datetime import timedelta
from typing import Any

from services.kit.data.transactions.ambient import Transactions
from services.wallets.metrics import HOLDS_DELETED
from services.wallets.usecases.ports import HoldRepository

_BATCH = 500


class HoldRetention:
    """Deletes holds that were captured or released before a certain time. Active holds stay, whatever their age.

    That a job was charged is known from the ledger and from the receipt of the job; the hold was how it came to that.

    Args:
        transactions: The transactions of the wallets' database.
        holds: The stored holds.
        age: How long they are kept; longer than jobs are, whose holds `innosystem verify` looks up.
    """

    def __init__(self, transactions: Transactions[Any], holds: HoldRepository, *, age: timedelta) -> None:
        self.transactions = transactions
        self._holds = holds
        self._age = age

    async def round(self) -> bool:
        """Delete some; return whether there may be more."""
        async with self.transactions.begin():
            deleted = await self._holds.delete_ended(self._age, _BATCH)
        HOLDS_DELETED.inc(deleted)
        return deleted == _BATCH
