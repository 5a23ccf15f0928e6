"""The ports of the use cases. The stores in SQL and in memory implement them; one contract suite runs on both."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from services.kit.query.page import ListQuery, Page
from services.wallets.rules.books import ActiveHolds, ChainPart, Position, WalletState
from services.wallets.rules.entities import Hold, NewWallet, Owner, Transaction, Wallet
from services.wallets.rules.ledger import Decision
from services.wallets.rules.requests import Request


class WalletRepository(Protocol):
    """Stored wallets. Only the ledger changes them."""

    async def get(self, wallet_id: UUID) -> Wallet | None:
        """Return the wallet, or None."""
        ...

    async def get_by_owner(self, owner: Owner) -> Wallet | None:
        """Return the wallet of a customer in a currency, or None."""
        ...

    async def ids_of(self, customer_ids: Collection[UUID]) -> list[UUID]:
        """Return the IDs of all wallets of customers."""
        ...

    async def freeze(self, wallet_id: UUID) -> datetime:
        """Wait for all writers of a wallet, and block new ones until the database transaction ends.

        Returns:
            The time then: later writes to the wallet have a later time.

        Raises:
            RowLocked: If a writer kept its lock for too long.
        """
        ...

    async def list_page(self, query: ListQuery) -> Page[Wallet]:
        """Return a page of wallets."""
        ...

    async def create(self, wallet: NewWallet) -> Wallet:
        """Store an empty wallet.

        Raises:
            AlreadyExists: With `constraints.WALLET_ID` or `constraints.WALLET_OWNER`.
        """
        ...


class TransactionRepository(Protocol):
    """Stored transactions of wallets. Only the ledger writes them, and nothing changes them."""

    async def get(self, transaction_id: UUID) -> Transaction | None:
        """Return the transaction, or None."""
        ...

    async def list_page(self, query: ListQuery) -> Page[Transaction]:
        """Return a page of transactions."""
        ...

    async def at(self, wallet_id: UUID, moment: datetime) -> Transaction | None:
        """Return the wallet's last transaction up to a moment, or None."""
        ...


class HoldRepository(Protocol):
    """Stored holds. Only the ledger writes them."""

    async def get(self, hold_id: UUID) -> Hold | None:
        """Return the hold, or None."""
        ...

    async def list_page(self, query: ListQuery) -> Page[Hold]:
        """Return a page of holds."""
        ...

    async def delete_ended(self, age: timedelta, limit: int) -> int:
        """Delete holds that ended longer ago than `age`, oldest first; return the number of deleted holds."""
        ...


class Ledger(Protocol):
    """Applies requests to balances and holds."""

    async def apply(
        self, requests: Sequence[Request], *, wait: bool = True, seek_charged: bool = False
    ) -> list[Decision]:
        """Decide requests (`rules.ledger.decide`) under locks on their wallets, and store the result.

        The wallets stay locked until the database transaction ends.

        Args:
            requests: In order.
            wait: Whether to wait for locks; otherwise requests with a locked wallet are decided as `RowLocked`.
            seek_charged: Whether to look up the earlier charges of the jobs that deductions name; otherwise the
                database refuses a job that another wallet has paid for.

        Raises:
            AlreadyExists: With `constraints.CHARGED_JOB`; nothing was written.
            Conflict: If other transactions interfered; nothing was written.
            RowLocked: If another transaction kept a lock for too long; nothing was written.
        """
        ...


class BooksReader(Protocol):
    """Reads the books for their check."""

    async def states(self, after: Position, limit: int) -> list[WalletState]:
        """Return wallets after a position in the order of their IDs, all at the same moment."""
        ...

    async def chain(self, after: Position, states: Sequence[WalletState], limit: int) -> list[ChainPart]:
        """Return the sums over the transactions of wallets, in the order of the wallets.

        Args:
            after: Where to begin; that transaction itself is read as well, for the balance after it.
            states: The wallets. Transactions that are newer than these states are left out.
            limit: The maximum number of transactions to read.
        """
        ...


class ActiveHoldsReader(Protocol):
    """Reads the sums of active holds."""

    async def active_holds(self) -> list[ActiveHolds]:
        """Return the sum of each currency that has active holds."""
        ...
