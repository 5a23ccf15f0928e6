"""What can be done with wallets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from services.kit.crash import crash_point
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactional import transactional
from services.kit.data.transactions import Transactions
from services.kit.errors import DomainError
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page
from services.wallets.domain import (
    Credit,
    Deduct,
    LedgerRequest,
    NewWallet,
    Owner,
    Transaction,
    Wallet,
)
from services.wallets.errors import TransactionNotFound, WalletExists, WalletNotFound
from services.wallets.ledger import Accepted, Decision
from services.wallets.repository import WALLET_ID, Ledger, TransactionRepository, WalletRepository

#: How a wallet is named: by its ID, or by whose it is.
WalletReference = UUID | Owner


@dataclass(frozen=True)
class CreatedWallet:
    """The answer to a create, first or repeated."""

    wallet: Wallet
    replayed: bool


class WalletsService:
    """The use cases of wallets. Each is one transaction.

    Args:
        transactions: Where they begin.
        wallets: The stored wallets.
        statements: Their transactions.
        ledger: What changes balances.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        wallets: WalletRepository,
        statements: TransactionRepository,
        ledger: Ledger,
    ) -> None:
        self.transactions = transactions
        self._wallets = wallets
        self._statements = statements
        self._ledger = ledger

    async def create(self, new: NewWallet) -> CreatedWallet:
        """Stores an empty wallet; the same call again answers the wallet.

        Raises:
            WalletExists: If the customer has another wallet in the currency.
            IdempotencyKeyReused: If the ID was used for another customer or currency.
        """
        try:
            async with self.transactions.begin():
                if (known := await self._wallets.get(new.id)) is None:
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

    @transactional(read_only=True)
    async def list_page(self, query: ListQuery) -> Page[Wallet]:
        """Answers a page of wallets."""
        return await self._wallets.list_page(query)

    async def credit(self, request: Credit) -> Accepted:
        """Pays money in, once a key.

        Raises:
            WalletNotFound: If there is none.
            IdempotencyKeyReused: If the key was used with other parameters.
            BalanceOverflow: If the balance would be too large.
        """
        return await self._apply_one(request)

    async def deduct(self, request: Deduct) -> Accepted:
        """Charges a wallet, once a key.

        Raises:
            WalletNotFound: If there is none.
            IdempotencyKeyReused: If the key was used with other parameters.
            InsufficientFunds: If less is available.
        """
        accepted = await self._apply_one(request)
        crash_point("wallets.deduct.before_reply")
        return accepted

    async def deduct_many(self, requests: Sequence[Deduct]) -> list[Decision]:
        """Charges wallets in order; each request is accepted or refused as `deduct` would do it.

        Returns:
            A decision a request, in the same order.
        """
        decisions = await self._apply(requests)
        crash_point("wallets.deduct.before_reply")
        return decisions

    @transactional(read_only=True)
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

    async def _apply_one(self, request: LedgerRequest) -> Accepted:
        [decision] = await self._apply([request])
        if isinstance(decision, DomainError):
            raise decision
        return decision

    async def _apply(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        return await self._apply_at_once(requests) if requests else []

    # A lost connection is not repeated here: the commit may have taken effect, and the caller knows its key.
    @transactional(retries=4)
    async def _apply_at_once(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        return await self._ledger.apply(requests)

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
