"""What can be done with wallets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import stamina

from services.kit.data.errors import AlreadyExists, Conflict
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
from services.wallets.repository import WALLET_ID, WalletsUnitOfWork

_REPEAT = stamina.AsyncRetryingCaller(attempts=5, timeout=None, wait_initial=0.01, wait_max=0.2, wait_jitter=0.02)

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
        unit_of_work: Begins a transaction.
    """

    def __init__(self, unit_of_work: Callable[[], WalletsUnitOfWork]) -> None:
        self._unit_of_work = unit_of_work

    async def create(self, new: NewWallet) -> CreatedWallet:
        """Stores an empty wallet; the same call again answers the wallet.

        Raises:
            WalletExists: If the customer has another wallet in the currency.
            IdempotencyKeyReused: If the ID was used for another customer or currency.
        """
        try:
            async with self._unit_of_work() as work:
                if (known := await work.wallets.get(new.id)) is None:
                    wallet = await work.wallets.create(new)
                    await work.commit()
                    return CreatedWallet(wallet, replayed=False)
        except AlreadyExists as error:
            # The same call may have been faster in another process: then both constraints may be the one named.
            async with self._unit_of_work() as work:
                known = await work.wallets.get(new.id)
                other = await work.wallets.get_by_owner(new.owner)
            if known is None:
                raise _wallet_exists(other, error) from error
        check_same(_parameters(new), digest(_parameters(known)))
        return CreatedWallet(known, replayed=True)

    async def get(self, reference: WalletReference) -> Wallet:
        """Answers a wallet.

        Raises:
            WalletNotFound: If there is none.
        """
        async with self._unit_of_work() as work:
            return await _existing(work, reference)

    async def list_page(self, query: ListQuery) -> Page[Wallet]:
        """Answers a page of wallets."""
        async with self._unit_of_work() as work:
            return await work.wallets.list_page(query)

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
        return await self._apply_one(request)

    async def deduct_many(self, requests: Sequence[Deduct]) -> list[Decision]:
        """Charges wallets in order; each request is accepted or refused as `deduct` would do it.

        Returns:
            A decision a request, in the same order.
        """
        return await self._apply(requests)

    async def list_transactions(self, reference: WalletReference, query: ListQuery) -> tuple[Wallet, Page[Transaction]]:
        """Answers a page of a wallet's statement, and the wallet.

        Raises:
            WalletNotFound: If there is none.
        """
        async with self._unit_of_work() as work:
            wallet = await _existing(work, reference)
            scoped = WALLET_ID.is_(wallet.id) & query.specification
            return wallet, await work.transactions.list_page(replace(query, specification=scoped))

    async def get_transaction(self, transaction_id: UUID) -> tuple[Wallet, Transaction]:
        """Answers a transaction and its wallet.

        Raises:
            TransactionNotFound: If there is none.
        """
        async with self._unit_of_work() as work:
            transaction = await work.transactions.get(transaction_id)
            if transaction is None:
                raise TransactionNotFound(transaction_id)
            return await _existing(work, transaction.wallet_id), transaction

    async def _apply_one(self, request: LedgerRequest) -> Accepted:
        [decision] = await self._apply([request])
        if isinstance(decision, DomainError):
            raise decision
        return decision

    async def _apply(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        if not requests:
            return []
        # A conflict means that nothing was written, so the whole unit may be repeated. A lost connection is not
        # repeated here: the commit may have taken effect, and the caller knows its key.
        return await _REPEAT(Conflict, self._apply_once, requests)

    async def _apply_once(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        async with self._unit_of_work() as work:
            decisions = await work.ledger.apply(requests)
            await work.commit()
        return decisions


async def _existing(work: WalletsUnitOfWork, reference: WalletReference) -> Wallet:
    if isinstance(reference, Owner):
        wallet = await work.wallets.get_by_owner(reference)
        missing = WalletNotFound(customer_id=reference.customer_id, currency=reference.currency)
    else:
        wallet = await work.wallets.get(reference)
        missing = WalletNotFound(wallet_id=reference)
    if wallet is None:
        raise missing
    return wallet


def _parameters(wallet: NewWallet) -> dict[str, object]:
    return {"customer_id": wallet.customer_id, "currency": wallet.currency}


def _wallet_exists(other: Wallet | None, error: AlreadyExists) -> Exception:
    return error if other is None else WalletExists(other.id, other.customer_id, other.currency)
