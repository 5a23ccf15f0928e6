"""What can be done with wallets."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.batching.locked_lane import LOCK_TIMES, LockTimes
from services.kit.currencies import check_currency
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactions.ambient import Isolation, Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import InvalidField
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page
from services.wallets.rules.entities import Hold, NewWallet, Owner, Transaction, Wallet
from services.wallets.rules.errors import HoldNotFound, TransactionNotFound, WalletExists, WalletNotFound
from services.wallets.usecases.bookings import Bookings
from services.wallets.usecases.ports import WALLET_ID, HoldRepository, Ledger, TransactionRepository, WalletRepository

#: How a wallet is named: by its ID, or by whose it is.
WalletReference = UUID | Owner


@dataclass(frozen=True)
class CreatedWallet:
    """The answer to a create, first or repeated."""

    wallet: Wallet
    replayed: bool


class WalletsService(Bookings):
    """The use cases of wallets. Each is one transaction.

    Args:
        transactions: Where they begin.
        wallets: The stored wallets.
        statements: Their transactions.
        holds: What is reserved of them.
        ledger: What changes balances and holds.
        lock_times: How long a request waits whose wallet somebody else has locked.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        wallets: WalletRepository,
        statements: TransactionRepository,
        holds: HoldRepository,
        ledger: Ledger,
        *,
        lock_times: LockTimes = LOCK_TIMES,
    ) -> None:
        super().__init__(transactions, ledger, lock_times)
        self._wallets = wallets
        self._statements = statements
        self._holds = holds

    async def create(self, new: NewWallet) -> CreatedWallet:
        """Stores an empty wallet; the same call again answers the wallet.

        Raises:
            InvalidField: If ISO 4217 has no such currency.
            WalletExists: If the customer has another wallet in the currency.
            IdempotencyKeyReused: If the ID was used for another customer or currency.
        """
        try:
            async with self.transactions.begin():
                if (known := await self._wallets.get(new.id)) is None:
                    check_currency(new.currency, "currency")
                    return CreatedWallet(await self._wallets.create(new), replayed=False)
        except AlreadyExists as error:
            # The same call may have been faster in another process: then both constraints may be the one named.
            async with self.transactions.begin(read_only=True):
                known = await self._wallets.get(new.id)
                other = await self._wallets.get_by_owner(new.owner)
            if known is None:
                raise _wallet_exists(other, error) from error
        check_same(_parameters(new), digest(_parameters(known)))
        return CreatedWallet(known, replayed=True)

    @transactional(read_only=True)
    async def get(self, reference: WalletReference) -> Wallet:
        """Answers a wallet.

        Raises:
            WalletNotFound: If there is none.
        """
        return await self._existing(reference)

    # A lock is taken, which a read-only transaction may not do.
    @transactional(retries=1)
    async def balance_at(self, reference: WalletReference, moment: datetime) -> Wallet:
        """Answers a wallet with the balance that it had at a moment, of which the ledger is the record.

        The answer never changes: whoever is writing to the wallet is waited for, and what comes later has a later time.
        What was reserved then is not recorded: nothing is pending in the answer.

        Raises:
            WalletNotFound: If there is none.
            InvalidField: If the moment is not over yet.
            RowLocked: If somebody has been writing to the wallet for too long.
        """
        wallet = await self._existing(reference)
        now = await self._wallets.freeze(wallet.id)
        if moment >= now:
            raise InvalidField.of("at", f"must be in the past, and at the ledger it is {now.isoformat()}")
        last = await self._statements.at(wallet.id, moment)
        return replace(
            wallet,
            current_balance_cents=0 if last is None else last.balance_after_cents,
            pending_charges_cents=0,
            last_sequence=0 if last is None else last.sequence,
            updated_at=wallet.created_at if last is None else last.created_at,
        )

    @transactional(read_only=True)
    async def list_page(self, query: ListQuery) -> Page[Wallet]:
        """Answers a page of wallets."""
        return await self._wallets.list_page(query)

    @transactional(read_only=True, isolation=Isolation.REPEATABLE_READ)
    async def list_transactions(self, reference: WalletReference, query: ListQuery) -> tuple[Wallet, Page[Transaction]]:
        """Answers a page of a wallet's statement, and the wallet.

        Raises:
            WalletNotFound: If there is none.
        """
        wallet = await self._existing(reference)
        scoped = WALLET_ID.is_(wallet.id) & query.specification
        return wallet, await self._statements.list_page(replace(query, specification=scoped))

    @transactional(read_only=True)
    async def get_transaction(self, transaction_id: UUID) -> tuple[Wallet, Transaction]:
        """Answers a transaction and its wallet.

        Raises:
            TransactionNotFound: If there is none.
        """
        transaction = await self._statements.get(transaction_id)
        if transaction is None:
            raise TransactionNotFound(transaction_id)
        return await self._existing(transaction.wallet_id), transaction

    @transactional(read_only=True)
    async def get_hold(self, hold_id: UUID) -> Hold:
        """Answers a hold.

        Raises:
            HoldNotFound: If there is none.
        """
        hold = await self._holds.get(hold_id)
        if hold is None:
            raise HoldNotFound(hold_id)
        return hold

    @transactional(read_only=True, isolation=Isolation.REPEATABLE_READ)
    async def list_holds(self, query: ListQuery) -> Page[Hold]:
        """Answers a page of holds."""
        return await self._holds.list_page(query)

    async def _existing(self, reference: WalletReference) -> Wallet:
        if isinstance(reference, Owner):
            wallet = await self._wallets.get_by_owner(reference)
            missing = WalletNotFound(customer_id=reference.customer_id, currency=reference.currency)
        else:
            wallet = await self._wallets.get(reference)
            missing = WalletNotFound(wallet_id=reference)
        if wallet is None:
            raise missing
        return wallet


def _parameters(wallet: NewWallet) -> dict[str, object]:
    return {"customer_id": wallet.customer_id, "currency": wallet.currency}


def _wallet_exists(other: Wallet | None, error: AlreadyExists) -> Exception:
    return error if other is None else WalletExists(other.id, other.customer_id, other.currency)
