"""Checks the books of all wallets repeatedly, slowly, so that Prometheus shows when money does not add up.

Each replica walks through the books by itself. A single walker for all replicas would hold a connection and a lock for
minutes, and the others would export old figures, or none after its death; a walk is cheap enough to be repeated.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import structlog

from services.kit.background import Loop
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.wallets.rules.books import START, ActiveHolds, BooksSummary, Position
from services.wallets.usecases.ports import ActiveHoldsReader
from services.wallets.usecases.verify_ledger import LedgerVerification

log = structlog.get_logger(__name__)

# Small pages: each is one database transaction, and a long pause follows it.
_TRANSACTIONS_PER_PAGE = 10_000
# The share of one core that this process and the database use together: they take turns.
_SHARE = 0.02


class BooksMonitor:
    """Walks through the books and keeps the summary of the last walk.

    Args:
        transactions: The database transactions.
        verification: Checks a page.
        holds: Reads the sums of active holds.
        every: The pause between two walks.

    Attributes:
        last: The summary of the last walk; None before its end, and after a failure.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        verification: LedgerVerification,
        holds: ActiveHoldsReader,
        every: timedelta,
    ) -> None:
        self.transactions = transactions
        self._verification = verification
        self._holds = holds
        self._every = every
        self.last: BooksSummary | None = None

    async def run(self) -> None:
        """Walk until the task is cancelled."""
        await Loop("check of the books", self._check, every=self._every).run()

    async def _check(self) -> None:
        try:
            self.last = await self._walk()
        except Exception:
            # Old figures would look like new ones.
            self.last = None
            raise
        if self.last.offenders:
            log.error("books_unbalanced", offenders=self.last.offenders)

    async def _walk(self) -> BooksSummary:
        began = monotonic()
        summary = BooksSummary(datetime.now(UTC), active_holds=await self._active_holds())
        position: Position | None = START
        while position is not None:
            page_began = monotonic()
            page = await self._verification.page(position, _TRANSACTIONS_PER_PAGE)
            summary.add(page)
            position = page.position
            await asyncio.sleep((monotonic() - page_began) * (1 / _SHARE - 1))
        summary.at, summary.seconds = datetime.now(UTC), monotonic() - began
        return summary

    @transactional(read_only=True)
    async def _active_holds(self) -> list[ActiveHolds]:
        return await self._holds.active_holds()
