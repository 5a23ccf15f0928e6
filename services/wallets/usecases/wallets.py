"""The use cases of wallets."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from services.kit.auth.tenants import Tenants
from services.kit.batching.locked_lane import LOCK_TIMES, LockTimes
from services.kit.currencies import check_currency
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactions.ambient import Isolation, Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import DataCorrupt, InvalidField
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page
from services.wallets.rules.entities import Hold, NewWallet, Owner, Transaction, Wallet, WalletReference
from services.wallets.rules.errors import HoldNotFound, TransactionNotFound, WalletExists, WalletNotFound
from services.wallets.rules.resources import HOLD_WALLET_ID, WALLET_ID
from services.wallets.usecases.bookings import Bookings
from services.wallets.usecases.ports import HoldRepository, Ledger, TransactionRepository, WalletRepository

E = TypeVar("E")


@dataclass(frozen=True)
class CreatedWallet:
    """The result of a create, first or repeated."""

    wallet: Wallet
    replayed: bool


class WalletsService(Bookings):
    """The use cases of wallets. Each is one database transaction.

    Args:
        transactions: The database transactions.
        wallets: The stored wallets.
        ledger_transactions: The stored transactions of wallets.
        holds: The stored holds.
        ledger: Applies requests to balances and holds.
        lock_times: How long a request waits for a wallet that another transaction has locked.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        wallets: WalletRepository,
        ledger_transactions: TransactionRepository,
        holds: HoldRepository,
        ledger: Ledger,
        *,
        lock_times: LockTimes = LOCK_TIMES,
    ) -> None:
        super().__init__(transactions, ledger, lock_times)
        self._wallets = wallets
        self._ledger_transactions = ledger_transactions
        self._holds = holds

    async def create(self, new: NewWallet) -> CreatedWallet:
        """Store an empty wallet; a repeated call returns the wallet.

        Raises:
            InvalidField: If ISO 4217 does not define the currency.
            WalletExists: If the customer has another wallet in the currency.
            IdempotencyKeyReused: If the ID was used for another customer or currency.
        """
        try:
            async with self.transactions.begin():
                if (known := await self._wallets.get(new.id)) is None:
                    check_currency(new.currency, "currency")
                    return CreatedWallet(await self._wallets.create(new), replayed=False)
        except AlreadyExists as error:
            # The same call may have won in another process: the database names either of the two constraints then.
            async with self.transactions.begin(read_only=True):
                known = await self._wallets.get(new.id)
                other = await self._wallets.get_by_owner(new.owner)
            if known is None:
                raise _wallet_exists(other, error) from error
        check_same(_parameters(new), digest(_parameters(known)))
        return CreatedWallet(known, replayed=True)

    @transactional(read_only=True)
    async def get(self, reference: WalletReference, tenants: Tenants) -> Wallet:
        """Return a wallet.

        Raises:
            WalletNotFound: If it does not exist.
        """
        return await self._existing(reference, tenants)

    # It takes a lock, which a read-only transaction cannot.
    @transactional(retries=1)
    async def balance_at(self, reference: WalletReference, moment: datetime, tenants: Tenants) -> Wallet:
        """Return a wallet with its balance at a moment, as the ledger recorded it.

        The result never changes: the call waits for writers of the wallet, and later writes have a later time. Past
        holds are not recorded: nothing is pending in the result.

        Raises:
            WalletNotFound: If it does not exist.
            InvalidField: If the moment is not in the past.
            RowLocked: If another transaction has been writing to the wallet for too long.
        """
        wallet = await self._existing(reference, tenants)
        now = await self._wallets.freeze(wallet.id)
        if moment >= now:
            raise InvalidField.of("at", f"must be in the past; the time of the ledger is {now.isoformat()}")
        last = await self._ledger_transactions.at(wallet.id, moment)
        return replace(
            wallet,
            current_balance_cents=0 if last is None else last.balance_after_cents,
            pending_charges_cents=0,
            last_sequence=0 if last is None else last.sequence,
            updated_at=wallet.created_at if last is None else last.created_at,
        )

    @transactional(read_only=True)
    async def list_page(self, query: ListQuery) -> Page[Wallet]:
        """Return a page of wallets."""
        return await self._wallets.list_page(query)

    @transactional(read_only=True, isolation=Isolation.REPEATABLE_READ)
    async def list_transactions(
        self, reference: WalletReference, query: ListQuery, tenants: Tenants
    ) -> tuple[Wallet, Page[Transaction]]:
        """Return a page of a wallet's statement, and the wallet.

        Raises:
            WalletNotFound: If it does not exist.
        """
        wallet = await self._existing(reference, tenants)
        scoped = WALLET_ID.is_(wallet.id) & query.specification
        return wallet, await self._ledger_transactions.list_page(replace(query, specification=scoped))

    @transactional(read_only=True)
    async def get_transaction(self, transaction_id: UUID, tenants: Tenants) -> tuple[Wallet, Transaction]:
        """Return a transaction and its wallet.

        Raises:
            TransactionNotFound: If it does not exist.
        """
        transaction = await _understood(self._ledger_transactions.get(transaction_id), tenants)
        # Also without a transaction, so that the time that this takes does not tell whether others have one.
        wallet = await self._wallets.get(transaction_id if transaction is None else transaction.wallet_id)
        if transaction is None or wallet is None or not tenants.own(wallet.customer_id):
            raise TransactionNotFound(transaction_id)
        return wallet, transaction

    @transactional(read_only=True)
    async def get_hold(self, hold_id: UUID, tenants: Tenants) -> Hold:
        """Return a hold.

        Raises:
            HoldNotFound: If it does not exist.
        """
        hold = await _understood(self._holds.get(hold_id), tenants)
        if hold is None or not tenants.own(hold.customer_id):
            raise HoldNotFound(hold_id)
        return hold

    @transactional(read_only=True, isolation=Isolation.REPEATABLE_READ)
    async def list_holds(self, query: ListQuery, tenants: Tenants) -> Page[Hold]:
        """Return a page of holds."""
        if tenants.customers is None:
            return await self._holds.list_page(query)
        # Holds name their wallet, not its customer.
        own = HOLD_WALLET_ID.is_in(await self._wallets.ids_of(tenants.customers))
        narrowed = replace(query, specification=own & query.specification, narrowing=own)
        return await self._holds.list_page(narrowed)

    async def _existing(self, reference: WalletReference, tenants: Tenants) -> Wallet:
        if isinstance(reference, Owner):
            missing = WalletNotFound(customer_id=reference.customer_id, currency=reference.currency)
            if not tenants.own(reference.customer_id):
                raise missing
            wallet = await self._wallets.get_by_owner(reference)
        else:
            wallet = await self._wallets.get(reference)
            missing = WalletNotFound(wallet_id=reference)
        if wallet is None or not tenants.own(wallet.customer_id):
            raise missing
        return wallet


async def _understood(read: Awaitable[E | None], tenants: Tenants) -> E | None:
    """Return what was read; an unreadable row does not exist for a bound caller, as it may be that of others."""
    try:
        return await read
    except DataCorrupt:
        if tenants.are_all:
            raise
        return None


def _parameters(wallet: NewWallet) -> dict[str, object]:
    return {"customer_id": wallet.customer_id, "currency": wallet.currency}


def _wallet_exists(other: Wallet | None, error: AlreadyExists) -> Exception:
    return error if other is None else WalletExists(other.id, other.customer_id, other.currency)
