"""The rules of the ledger: one pure function, which the SQL and the in-memory repositories both apply.

    decisions = decide(wallets, known, requests, now)

Whoever calls it has locked the wallets before it read them and the transactions, and writes what `changes` finds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.kit.errors import DomainError, IdempotencyKeyReused
from services.wallets.domain import BALANCE_CENTS_MAX, LedgerRequest, Transaction, Wallet
from services.wallets.errors import BalanceOverflow, InsufficientFunds, WalletNotFound

#: A wallet's ID and an idempotency key.
Key = tuple[UUID, str]


@dataclass(frozen=True)
class Accepted:
    """A request that took effect, now or earlier.

    Attributes:
        transaction: What it wrote.
        wallet: The wallet right after the request.
        replayed: Whether an earlier request with the same key wrote the transaction.
    """

    transaction: Transaction
    wallet: Wallet
    replayed: bool = False


#: What became of a request: it took effect, or it changed nothing for this reason.
Decision = Accepted | DomainError


@dataclass(frozen=True)
class Changes:
    """What decisions have to be written: new transactions in order, and the last state of each changed wallet."""

    transactions: list[Transaction]
    wallets: list[Wallet]


def decide(
    wallets: Iterable[Wallet],
    known: Mapping[Key, Transaction],
    requests: Sequence[LedgerRequest],
    now: datetime,
) -> list[Decision]:
    """Applies requests one after the other; each alone is accepted or refused.

    Args:
        wallets: Those the requests name, as far as they exist.
        known: The transactions that were written under the wallets' IDs and the requests' keys before.
        requests: In order.
        now: What new transactions are stamped with.

    Returns:
        A decision a request, in the same order.
    """
    present = {wallet.owner: wallet for wallet in wallets}
    written = dict(known)
    decisions: list[Decision] = []
    for request in requests:
        try:
            accepted = _decide(present.get(request.owner), written, request, now)
        except DomainError as error:
            decisions.append(error)
            continue
        present[request.owner] = accepted.wallet
        written[accepted.wallet.id, request.idempotency_key] = accepted.transaction
        decisions.append(accepted)
    return decisions


def changes(decisions: Iterable[Decision]) -> Changes:
    """What has to be written so that the decisions last."""
    new = [decision for decision in decisions if isinstance(decision, Accepted) and not decision.replayed]
    last = {accepted.wallet.id: accepted.wallet for accepted in new}
    return Changes([accepted.transaction for accepted in new], list(last.values()))


def _decide(
    wallet: Wallet | None, written: Mapping[Key, Transaction], request: LedgerRequest, now: datetime
) -> Accepted:
    if wallet is None:
        raise WalletNotFound(customer_id=request.owner.customer_id, currency=request.owner.currency)
    # Before any other check: a repeated request is answered as the first was, whatever the balance is by now.
    if (first := written.get((wallet.id, request.idempotency_key))) is not None:
        if differences := request.differences(first):
            raise IdempotencyKeyReused(differences)
        return Accepted(first, wallet, replayed=True)
    _check_balance(wallet, request.change_cents)
    changed = wallet.changed_by(request.change_cents, now)
    return Accepted(_transaction(request, changed), changed)


def _check_balance(wallet: Wallet, change_cents: int) -> None:
    if change_cents < 0 and -change_cents > wallet.available_cents:
        raise InsufficientFunds(wallet.available_cents, -change_cents, wallet.currency)
    if wallet.current_balance_cents + change_cents > BALANCE_CENTS_MAX:
        raise BalanceOverflow(wallet.current_balance_cents, change_cents, BALANCE_CENTS_MAX)


def _transaction(request: LedgerRequest, changed: Wallet) -> Transaction:
    return Transaction(
        id=request.transaction_id,
        wallet_id=changed.id,
        sequence=changed.last_sequence,
        kind=request.kind,
        counter_account=request.counter_account,
        amount_cents=request.change_cents,
        balance_after_cents=changed.current_balance_cents,
        idempotency_key=request.idempotency_key,
        job_id=request.job_id,
        hold_id=request.hold_id,
        description=request.description,
        created_at=changed.updated_at,
    )
