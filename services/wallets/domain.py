"""Wallets, transactions, and the requests that change a balance, without database and gRPC."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self
from uuid import UUID

from services.kit.errors import InvalidField

DEFAULT_CURRENCY = "EUR"
BALANCE_CENTS_MAX = 2**63 - 1
JOB_KEY_PREFIX = "job:"


class TransactionKind(StrEnum):
    """What a transaction is."""

    CREDIT = "CREDIT"
    DEDUCTION = "DEDUCTION"
    REFUND = "REFUND"
    ADJUSTMENT = "ADJUSTMENT"


class CounterAccount(StrEnum):
    """The other side of a transaction, which makes the ledger double entry."""

    FUNDING = "FUNDING"
    REVENUE = "REVENUE"
    ADJUSTMENT = "ADJUSTMENT"


@dataclass(frozen=True)
class Owner:
    """Whose wallet: a customer has one in a currency."""

    customer_id: UUID
    currency: str


@dataclass(frozen=True, kw_only=True)
class NewWallet:
    """A wallet about to be stored."""

    id: UUID
    customer_id: UUID
    currency: str = DEFAULT_CURRENCY

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return Owner(self.customer_id, self.currency)


@dataclass(frozen=True, kw_only=True)
class Wallet(NewWallet):
    """A stored wallet.

    Attributes:
        current_balance_cents: The sum of its transactions.
        pending_charges_cents: What is reserved of it.
        last_sequence: The number of its latest transaction; 0 before the first.
        updated_at: When the balance or what is reserved last changed.
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
        """What can be spent now."""
        return self.current_balance_cents - self.pending_charges_cents

    @property
    def etag(self) -> str:
        """Changes with every change of the wallet."""
        return str(self.version)

    def changed_by(self, amount_cents: int, now: datetime) -> Self:
        """The wallet after one more transaction.

        Its time never runs backwards, not even if the database's clock does: what has a later sequence is not earlier.
        """
        return replace(
            self,
            current_balance_cents=self.current_balance_cents + amount_cents,
            last_sequence=self.last_sequence + 1,
            updated_at=max(now, self.updated_at),
            version=self.version + 1,
        )


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """One line of a wallet's statement, written once and never changed.

    Attributes:
        sequence: Numbers the wallet's transactions from 1 without gaps.
        amount_cents: What was added (positive) or taken (negative).
        refunds_transaction_id: The deduction that a refund gives back.
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


@dataclass(frozen=True, kw_only=True)
class LedgerRequest:
    """What credits and deductions have in common. One that breaks a rule of its own can't be made.

    Attributes:
        transaction_id: The ID that the transaction gets if the request writes one.
        amount_cents: How much, from 1 to `BALANCE_CENTS_MAX`.
        idempotency_key: Unique per wallet. The same key again is answered, not applied.
        job_id: The job that is charged; None if it is not for a job.
        hold_id: The hold that reserves the money; None if there is none.
        description: A note for the statement, which may differ when a request is repeated.
    """

    kind: ClassVar[TransactionKind]
    counter_account: ClassVar[CounterAccount]
    sign: ClassVar[int]

    transaction_id: UUID
    owner: Owner
    amount_cents: int
    idempotency_key: str
    job_id: UUID | None = None
    hold_id: UUID | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.amount_cents <= BALANCE_CENTS_MAX:
            raise InvalidField.of("amount_cents", f"must be from 1 to {BALANCE_CENTS_MAX}")
        self._check_key()

    def _check_key(self) -> None:
        if self.idempotency_key.startswith(JOB_KEY_PREFIX):
            raise InvalidField.of("idempotency_key", f"must not begin with {JOB_KEY_PREFIX} unless it charges a job")

    @property
    def change_cents(self) -> int:
        """What it does to the balance."""
        return self.sign * self.amount_cents

    def differences(self, written: Transaction) -> tuple[str, ...]:
        """The parameters in which it is not the request that wrote this transaction."""
        same = {
            "kind": self.kind == written.kind,
            "amount_cents": self.amount_cents == abs(written.amount_cents),
            "job_id": self.job_id == written.job_id,
            "hold_id": self.hold_id == written.hold_id,
        }
        return tuple(name for name, is_same in same.items() if not is_same)


class Credit(LedgerRequest):
    """Pays money in."""

    kind = TransactionKind.CREDIT
    counter_account = CounterAccount.FUNDING
    sign = 1


class Deduct(LedgerRequest):
    """Charges a wallet.

    The charge for a job has the key `job:<job_id>`, and no other has such a key. As keys are unique per wallet, a
    wallet is charged once a job, whoever does it.
    """

    kind = TransactionKind.DEDUCTION
    counter_account = CounterAccount.REVENUE
    sign = -1

    def _check_key(self) -> None:
        if self.job_id is None:
            super()._check_key()
        elif self.idempotency_key != (expected := f"{JOB_KEY_PREFIX}{self.job_id}"):
            raise InvalidField.of("idempotency_key", f"must be {expected}, as job_id is set")
