"""Stores when API keys were last used, apart from the calls that use them."""

from typing import Any
from uuid import UUID

from services.customers.usecases.ports import ApiKeyRepository
from services.kit.data.transactions.ambient import Transactions

_BATCH = 1000


class KeyUses:
    """Collects the uses of keys, and stores them in rounds. Those of a round that fails are lost, which is harmless.

    Args:
        transactions: The database transactions.
        api_keys: The stored API keys.
    """

    def __init__(self, transactions: Transactions[Any], api_keys: ApiKeyRepository) -> None:
        self.transactions = transactions
        self._api_keys = api_keys
        # Of keys that exist, so it is bounded by their number.
        self._used: set[UUID] = set()

    def note(self, api_key_id: UUID) -> None:
        """Note that a key was used."""
        self._used.add(api_key_id)

    async def round(self) -> bool:
        """Store one batch; return whether more follow."""
        batch = [self._used.pop() for _ in range(min(_BATCH, len(self._used)))]
        if batch:
            async with self.transactions.begin():
                await self._api_keys.used(batch)
        return bool(self._used)
