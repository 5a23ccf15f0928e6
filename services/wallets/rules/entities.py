"""Wallets, their transactions, and the holds on their money, without database and gRPC."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, Self
from uuid import UUID

from services.kit.fast_dataclasses import changed

DEFAULT_CURRENCY = "EUR"
BALANCE_CENTS_MAX = 2**63 - 1


class TransactionKind(StrEnum):
    """The kinds of transactions."""

    CREDIT = "CREDIT"
    DEDUCTION = "DEDUCTION"
    REFUND = "REFUND"
    ADJUSTMENT = "ADJUSTMENT"


class HoldState(StrEnum):
    """The states of a hold. Only an active one reserves money."""

    ACTIVE = "ACTIVE"
    CAPTURED = "CAPTURED"
    RELEASED = "RELEASED"


class CounterAccount(StrEnum):
    """The other side of a transaction, which makes the ledger double entry."""

    FUNDING = "FUNDING"
    REVENUE = "REVENUE"
    ADJUSTMENT = "ADJUSTMENT"


class Owner(NamedTuple):
    """A customer and a currency, which identify one wallet. A tuple, because a batch looks up hundreds of them."""

    customer_id: UUID
    currency: str


#: Identifies a wallet: by its ID, or by its owner.
WalletReference = UUID | Owner


@dataclass(frozen=True, kw_only=True)
class NewWallet:
    """A wallet about to be stored."""

    id: UUID
    customer_id: UUID
    currency: str = DEFAULT_CURRENCY

    @cached_property
    def owner(self) -> Owner:
        """The customer and the currency."""
        return Owner(self.customer_id, self.currency)


@dataclass(frozen=True, kw_only=True)
class Wallet(NewWallet):
    """A stored wallet.

    Attributes:
        current_balance_cents: The sum of its transactions.
        pending_charges_cents: The sum of its active holds.
        last_sequence: The sequence of its latest transaction; 0 before the first.
        updated_at: When the balance or the pending charges last changed.
        version: Counts the changes; the etag.
    """

    current_balance_cents: int = 0
    pending_charges_cents: int = 0
    last_sequence: int = 0
    created_at: datetime
    updated_at: datetime
    version: int = 1

    @property
    def available_cents(self) -> int:
        """The amount that can be spent now."""
        return self.current_balance_cents - self.pending_charges_cents

    @property
    def etag(self) -> str:
        """The version, which changes with every change of the wallet."""
        return str(self.version)

    def changed_by(self, amount_cents: int, now: datetime) -> Self:
        """Return the wallet after one more transaction.

        Its time never runs backwards, even if the database's clock does: a later sequence is never earlier.
        """
        return changed(
            self,
            current_balance_cents=self.current_balance_cents + amount_cents,
            last_sequence=self.last_sequence + 1,
            updated_at=max(now, self.updated_at),
            version=self.version + 1,
        )

    def reserving(self, amount_cents: int, now: datetime) -> Self:
        """Return the wallet with this much more reserved; less, if the amount is negative."""
        return changed(
            self,
            pending_charges_cents=self.pending_charges_cents + amount_cents,
            updated_at=max(now, self.updated_at),
            version=self.version + 1,
        )

    def capturing(self, held_cents: int, amount_cents: int, now: datetime) -> Self:
        """Return the wallet after one more transaction, which ends a hold."""
        charged = self.changed_by(amount_cents, now)
        return changed(charged, pending_charges_cents=charged.pending_charges_cents - held_cents)


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One line of a wallet's statement, written once and never changed.

    Attributes:
        sequence: Numbers the wallet's transactions from 1 without gaps.
        amount_cents: The amount that was added (positive) or taken (negative).
        refunds_transaction_id: The deduction that a refund gives back.
        requested_amount_cents: The amount that a refund asked for, where it differs from the amount refunded: 0, which
            stands for the whole remainder.
        vouched_by: The ID of the key by which the jobs service vouched for a charge; None if it came without a charge
            token, such as those of services and operators.
    """

    id: UUID
    wallet_id: UUID
    sequence: int
    kind: TransactionKind
    counter_account: CounterAccount
    amount_cents: int
    balance_after_cents: int
    idempotency_key: str
    job_id: UUID | None = None
    hold_id: UUID | None = None
    refunds_transaction_id: UUID | None = None
    description: str = ""
    created_at: datetime
    requested_amount_cents: int | None = None
    vouched_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Money of a wallet that is reserved for a job.

    Attributes:
        wallet_id: The wallet; None if the hold was released before it was placed. Then it has no job either.
        customer_id: The owner of the wallet.
        currency: The wallet's.
        amount_cents: The reserved amount; 0 if the hold was never placed.
        resolved_at: When the hold was captured or released; None while it is active.
    """

    id: UUID
    wallet_id: UUID | None
    customer_id: UUID | None
    currency: str | None
    job_id: UUID | None
    amount_cents: int
    state: HoldState
    created_at: datetime
    resolved_at: datetime | None = None

    def resolved(self, state: HoldState, now: datetime) -> Self:
        """Return the hold after it was captured or released."""
        return changed(self, state=state, resolved_at=max(now, self.created_at))
