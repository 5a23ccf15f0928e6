"""The check of the wallets' books (`rules.books`)."""

from typing import Any

from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.wallets.rules.books import WALLETS_PER_PAGE, Findings, Position, examine
from services.wallets.usecases.ports import BooksReader


class LedgerVerification:
    """The check of the wallets' books. Each page is one database transaction.

    Args:
        transactions: The database transactions.
        books: Reads the books.
    """

    def __init__(self, transactions: Transactions[Any], books: BooksReader) -> None:
        self.transactions = transactions
        self._books = books

    @transactional(read_only=True)
    async def page(self, after: Position, limit: int) -> Findings:
        """Check a page.

        Args:
            after: Where the previous page ended; `START` for the first.
            limit: The maximum number of transactions to read.
        """
        states = await self._books.states(after, WALLETS_PER_PAGE)
        # One more, for the transaction that ended the previous page.
        chain = await self._books.chain(after, states, limit + 1) if states else []
        cut = sum(one.rows for one in chain) > limit
        return examine(states, chain, cut=cut)
