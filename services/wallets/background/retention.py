"""Deletes holds that ended long ago: each job had one, and no caller reads it any more."""

from datetime import timedelta
from typing import Any

from services.kit.data.transactions.ambient import Transactions
from services.wallets.metrics import HOLDS_DELETED
from services.wallets.usecases.ports import HoldRepository

_BATCH = 500


class HoldRetention:
    """Deletes holds that were captured or released before a certain time. Active holds stay, whatever their age.

    The ledger and the receipt of the job prove its charge; the hold was only the way to it.

    Args:
        transactions: The database transactions.
        holds: The stored holds.
        age: How long ended holds are kept; longer than jobs, whose holds `innosystem verify` looks up.
    """

    def __init__(self, transactions: Transactions[Any], holds: HoldRepository, *, age: timedelta) -> None:
        self.transactions = transactions
        self._holds = holds
        self._age = age

    async def round(self) -> bool:
        """Delete one batch; return whether more may follow."""
        async with self.transactions.begin():
            deleted = await self._holds.delete_ended(self._age, _BATCH)
        HOLDS_DELETED.inc(deleted)
        return deleted == _BATCH
