"""The requests that move or reserve money. One that breaks a rule of its own can't be made."""

from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

from services.kit.errors import InvalidField
from services.kit.observability.caller import Caller, caller
from services.wallets.rules.entities import BALANCE_CENTS_MAX, CounterAccount, Hold, Owner, Transaction, TransactionKind

JOB_KEY_PREFIX = "job:"
WRITE_OFF_KEY_PREFIX = "write-off:"

# What callers may not choose: these keys say for which job a line was written.
_RESERVED_PREFIXES = {JOB_KEY_PREFIX: "charges a job", WRITE_OFF_KEY_PREFIX: "writes a charge off"}


@dataclass(frozen=True, kw_only=True)
class LedgerRequest:
    """What credits, deductions and adjustments have in common.

    Attributes:
        transaction_id: The ID that the transaction gets if the request writes one.
        amount_cents: How much, from 1 to `BALANCE_CENTS_MAX`.
        idempotency_key: Unique per wallet. The same key again is answered, not applied.
        job_id: The job that is charged; None if it is not for a job.
        hold_id: The hold that reserves the money; None if there is none.
        description: A note for the statement, which may differ when a request is repeated.
        caused_by: Who does it, for the audit trail; None for a job's charge, of which the job tells.
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
    caused_by: Caller | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_amount(self.amount_cents, 1)
        self._check_key()

    def _check_key(self) -> None:
        _check_not_reserved(self.idempotency_key)

    @property
    def change_cents(self) -> int:
        """What it does to the balance."""
        return self.sign * self.amount_cents

    def differences(self, written: Transaction) -> tuple[str, ...]:
        """The parameters in which it is not the request that wrote this transaction."""
        same = {
            "idempotency_key": self.kind == written.kind,
            "amount_cents": self.amount_cents == abs(written.amount_cents),
        }
        # The key of another kind of movement: of that the request has nothing but the key and an amount.
        if self.kind == written.kind:
            same |= {"job_id": self.job_id == written.job_id, "hold_id": self.hold_id == written.hold_id}
        return tuple(name for name, is_same in same.items() if not is_same)


@dataclass(frozen=True, kw_only=True)
class Credit(LedgerRequest):
    """Pays money in, which somebody does."""

    kind = TransactionKind.CREDIT
    counter_account = CounterAccount.FUNDING
    sign = 1

    caused_by: Caller | None = field(default_factory=caller.get, compare=False)


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


class Adjust(LedgerRequest):
    """Gives a wallet what the charge of a job takes right after. Only a part of write-offs, which check it."""

    kind = TransactionKind.ADJUSTMENT
    counter_account = CounterAccount.ADJUSTMENT
    sign = 1

    def _check_key(self) -> None:
        """Its key is the reserved one."""


@dataclass(frozen=True, kw_only=True)
class WriteOff:
    """Charges a job that its customer can't pay, at our expense: an adjustment and the deduction, or neither.

    Attributes:
        adjustment_id: The ID that the adjustment gets if the request writes one.
        deduction_id: The ID that the deduction gets if the request writes one.
        amount_cents: What the job costs.
        hold_id: The hold that the job's charge would name; None if there is none.
        description: As for credits; it is on both lines.
        caused_by: Who does it, for the audit trail.
    """

    adjustment_id: UUID
    deduction_id: UUID
    owner: Owner
    amount_cents: int
    job_id: UUID
    hold_id: UUID | None = None
    description: str = ""
    caused_by: Caller = field(default_factory=caller.get, compare=False)

    def __post_init__(self) -> None:
        _check_amount(self.amount_cents, 1)

    @property
    def adjustment(self) -> Adjust:
        """The first of its two moves. The hold is none of its parameters: it is the charge that would capture it."""
        return Adjust(
            transaction_id=self.adjustment_id,
            owner=self.owner,
            amount_cents=self.amount_cents,
            idempotency_key=f"{WRITE_OFF_KEY_PREFIX}{self.job_id}",
            job_id=self.job_id,
            description=self.description,
        )

    @property
    def charge(self) -> Deduct:
        """The second: the very charge that could not be made, so that whoever makes it later gets it for an answer."""
        return Deduct(
            transaction_id=self.deduction_id,
            owner=self.owner,
            amount_cents=self.amount_cents,
            idempotency_key=f"{JOB_KEY_PREFIX}{self.job_id}",
            job_id=self.job_id,
            hold_id=self.hold_id,
            description=self.description,
        )


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Gives a deduction back, whole or in part.

    Attributes:
        transaction_id: The ID that the refund gets if the request writes one.
        refunded_id: The deduction; None if it is named by its job.
        refunded_job_id: The job that was charged; None if the deduction is named by its ID.
        amount_cents: How much; 0 for all that is left.
        idempotency_key: As for credits.
        description: As for credits.
        caused_by: Who does it, for the audit trail.
    """

    transaction_id: UUID
    refunded_id: UUID | None = None
    refunded_job_id: UUID | None = None
    amount_cents: int
    idempotency_key: str
    description: str = ""
    caused_by: Caller = field(default_factory=caller.get, compare=False)

    def __post_init__(self) -> None:
        if (self.refunded_id is None) == (self.refunded_job_id is None):
            raise InvalidField.of("charge", "must be named by transaction_id or by job_id")
        _check_amount(self.amount_cents, 0)
        _check_not_reserved(self.idempotency_key)

    def differences(self, written: Transaction, charge: Transaction) -> tuple[str, ...]:
        """The parameters in which it is not the request that wrote this transaction.

        A deduction named by its job is the same parameter as the deduction named by its ID.
        """
        asked = written.amount_cents if written.requested_amount_cents is None else written.requested_amount_cents
        names_it = "job_id" if self.refunded_id is None else "transaction_id"
        same = {
            "idempotency_key": written.kind is TransactionKind.REFUND,
            "amount_cents": self.amount_cents == asked,
            names_it: written.refunds_transaction_id == charge.id,
        }
        return tuple(name for name, is_same in same.items() if not is_same)


@dataclass(frozen=True, kw_only=True)
class PlaceHold:
    """Reserves money for a job.

    Attributes:
        hold_id: Identifies the request: the same again is answered, not applied.
        amount_cents: How much, from 1 to `BALANCE_CENTS_MAX`.
        caused_by: Who does it, for the audit trail; None for the jobs service, which does it for each job.
    """

    hold_id: UUID
    job_id: UUID
    owner: Owner
    amount_cents: int
    caused_by: Caller | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_amount(self.amount_cents, 1)

    def differences(self, placed: Hold) -> tuple[str, ...]:
        """The parameters in which it is not the request that placed this hold."""
        same = {
            "customer_id": self.owner.customer_id == placed.customer_id,
            "currency": self.owner.currency == placed.currency,
            "job_id": self.job_id == placed.job_id,
            "amount_cents": self.amount_cents == placed.amount_cents,
        }
        return tuple(name for name, is_same in same.items() if not is_same)


@dataclass(frozen=True, kw_only=True)
class ReleaseHold:
    """Frees what a hold reserves. Of a hold that nobody placed it is remembered that it must not be placed.

    Attributes:
        caused_by: Who does it, for the audit trail; None for the jobs service, which does it for each job.
    """

    hold_id: UUID
    caused_by: Caller | None = field(default=None, compare=False)


Request = LedgerRequest | WriteOff | Refund | PlaceHold | ReleaseHold


def _check_amount(amount_cents: int, minimum: int) -> None:
    if not minimum <= amount_cents <= BALANCE_CENTS_MAX:
        raise InvalidField.of("amount_cents", f"must be from {minimum} to {BALANCE_CENTS_MAX}")


def _check_not_reserved(idempotency_key: str) -> None:
    for prefix, use in _RESERVED_PREFIXES.items():
        if idempotency_key.startswith(prefix):
            raise InvalidField.of("idempotency_key", f"must not begin with {prefix} unless it {use}")
