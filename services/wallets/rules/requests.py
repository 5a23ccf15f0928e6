"""The requests that move or reserve money. The constructor of each checks the request's own rules."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple
from uuid import UUID

from services.kit.errors import InvalidField
from services.kit.observability.caller import Caller, caller
from services.wallets.rules.entities import BALANCE_CENTS_MAX, CounterAccount, Hold, Owner, Transaction, TransactionKind

JOB_KEY_PREFIX = "job:"
WRITE_OFF_KEY_PREFIX = "write-off:"

# Keys with these prefixes name the job that a transaction was written for; callers cannot choose them.
_RESERVED_PREFIXES = {JOB_KEY_PREFIX: "charges a job", WRITE_OFF_KEY_PREFIX: "writes a charge off"}


@dataclass(frozen=True, kw_only=True)
class LedgerRequest:
    """The parameters that credits, deductions and adjustments share.

    Attributes:
        transaction_id: The ID of the transaction that the request writes.
        amount_cents: The amount, from 1 to `BALANCE_CENTS_MAX`.
        idempotency_key: Unique per wallet. A repeated key returns the first result and changes nothing.
        job_id: The job to charge; None if the request is not for a job.
        hold_id: The hold that reserves the money; None without a hold.
        description: A note for the statement, which may differ when a request is repeated.
        caused_by: The caller, for the audit trail; None for the charge of a job by a runner or
            service, which the job itself explains.
        vouched_by: The ID of the key by which the jobs service vouches for the charge; None without a charge token.
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
    vouched_by: str | None = None

    def __post_init__(self) -> None:
        _check_amount(self.amount_cents, 1)
        self._check_key()

    def _check_key(self) -> None:
        _check_not_reserved(self.idempotency_key)

    @property
    def change_cents(self) -> int:
        """The change of the balance."""
        return self.sign * self.amount_cents

    def differences(self, written: Transaction) -> tuple[str, ...]:
        """Return the parameters in which this request differs from the one that wrote a transaction."""
        same = {
            "idempotency_key": self.kind == written.kind,
            "amount_cents": self.amount_cents == abs(written.amount_cents),
        }
        # A transaction of another kind shares no more than the key and an amount with the request.
        if self.kind == written.kind:
            same |= {"job_id": self.job_id == written.job_id, "hold_id": self.hold_id == written.hold_id}
        return tuple(name for name, is_same in same.items() if not is_same)


@dataclass(frozen=True, kw_only=True)
class Credit(LedgerRequest):
    """Pays money in. A person causes each credit."""

    kind = TransactionKind.CREDIT
    counter_account = CounterAccount.FUNDING
    sign = 1

    caused_by: Caller | None = field(default_factory=caller.get, compare=False)


class Deduct(LedgerRequest):
    """Charges a wallet.

    The charge for a job has the key `job:<job_id>`, which no other request can have. As keys are unique per wallet, a
    wallet is charged once per job, by any caller.
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
    """Adds the amount that the charge of a job takes right after. Only a part of write-offs, which check it."""

    kind = TransactionKind.ADJUSTMENT
    counter_account = CounterAccount.ADJUSTMENT
    sign = 1

    def _check_key(self) -> None:
        """Accept the reserved key."""


@dataclass(frozen=True, kw_only=True)
class WriteOff:
    """Charges a job that its customer cannot pay, at our expense: an adjustment and the deduction, or neither.

    Attributes:
        adjustment_id: The ID of the adjustment that the request writes.
        deduction_id: The ID of the deduction that the request writes.
        amount_cents: The price of the job.
        hold_id: The hold that the job's charge would name; None without a hold.
        description: As for credits; on both transactions.
        caused_by: The caller, for the audit trail.
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
        """The first of its two moves. It names no hold: the charge would capture the hold."""
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
        """The second move: exactly the charge that the customer could not pay, so that a later attempt replays it."""
        return Deduct(
            transaction_id=self.deduction_id,
            owner=self.owner,
            amount_cents=self.amount_cents,
            idempotency_key=f"{JOB_KEY_PREFIX}{self.job_id}",
            job_id=self.job_id,
            hold_id=self.hold_id,
            description=self.description,
        )


class JobCharge(NamedTuple):
    """The charge of a job, of any wallet."""

    job_id: UUID


#: Identifies a charge: by the ID of its transaction, or by its job.
ChargeReference = UUID | JobCharge


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Gives a deduction back, whole or in part.

    Attributes:
        transaction_id: The ID of the refund that the request writes.
        charge: The deduction.
        amount_cents: The amount; 0 for the remainder.
        idempotency_key: As for credits.
        description: As for credits.
        caused_by: The caller, for the audit trail.
    """

    transaction_id: UUID
    charge: ChargeReference
    amount_cents: int
    idempotency_key: str
    description: str = ""
    caused_by: Caller = field(default_factory=caller.get, compare=False)

    def __post_init__(self) -> None:
        _check_amount(self.amount_cents, 0)
        _check_not_reserved(self.idempotency_key)

    def names(self, transaction: Transaction) -> bool:
        """Return whether the request names a transaction, by its ID or by its job."""
        if isinstance(self.charge, JobCharge):
            return transaction.job_id == self.charge.job_id
        return transaction.id == self.charge

    def differences(self, written: Transaction, charge: Transaction) -> tuple[str, ...]:
        """Return the parameters in which this request differs from the one that wrote a transaction.

        A deduction named by its job is the same parameter as the deduction named by its ID.
        """
        asked = written.amount_cents if written.requested_amount_cents is None else written.requested_amount_cents
        charge_field = "job_id" if isinstance(self.charge, JobCharge) else "transaction_id"
        same = {
            "idempotency_key": written.kind is TransactionKind.REFUND,
            "amount_cents": self.amount_cents == asked,
            charge_field: written.refunds_transaction_id == charge.id,
        }
        return tuple(name for name, is_same in same.items() if not is_same)


@dataclass(frozen=True, kw_only=True)
class PlaceHold:
    """Reserves money for a job.

    Attributes:
        hold_id: Identifies the request: a repeated one returns the hold and changes nothing.
        amount_cents: The amount, from 1 to `BALANCE_CENTS_MAX`.
        caused_by: The caller, for the audit trail; None for the jobs service, which places one for each job. Operators
            place and release them by hand.
    """

    hold_id: UUID
    job_id: UUID
    owner: Owner
    amount_cents: int
    caused_by: Caller | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_amount(self.amount_cents, 1)

    def differences(self, placed: Hold) -> tuple[str, ...]:
        """Return the parameters in which this request differs from the one that placed a hold."""
        same = {
            "customer_id": self.owner.customer_id == placed.customer_id,
            "currency": self.owner.currency == placed.currency,
            "job_id": self.job_id == placed.job_id,
            "amount_cents": self.amount_cents == placed.amount_cents,
        }
        return tuple(name for name, is_same in same.items() if not is_same)


@dataclass(frozen=True, kw_only=True)
class ReleaseHold:
    """Frees the money of a hold. An unknown hold is recorded as released, so that a late PlaceHold is refused.

    Attributes:
        caused_by: The caller, for the audit trail; None for the jobs service, which releases one for each job.
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
