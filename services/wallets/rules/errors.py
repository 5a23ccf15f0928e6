"""The errors of the wallets service."""

from dataclasses import dataclass, field
from uuid import UUID

from services.kit.currencies import money
from services.kit.errors import HIDDEN, DomainError, NotAllowed


@dataclass(eq=False)
class WalletNotFound(DomainError):
    """The wallet does not exist.

    Attributes:
        wallet_id: The ID of a request that names the wallet by ID.
        customer_id: The owner of a request that names the wallet by owner and currency.
    """

    reason = "WALLET_NOT_FOUND"
    wallet_id: UUID | None = None
    customer_id: UUID | None = None
    currency: str | None = None

    @property
    def message(self) -> str:
        """The wallet, as the request names it."""
        if self.customer_id is None:
            return (
                f"No wallet has the ID {self.wallet_id}. "
                "Is it a customer's? Then name the wallet by customer and currency."
            )
        return f"The customer {self.customer_id} has no wallet in {self.currency}: it has to be created first."


@dataclass(eq=False)
class TransactionNotFound(DomainError):
    """No transaction has this ID, or the job was never charged: look for the right one with ListTransactions.

    Attributes:
        transaction_id: The ID of a request that names the transaction by ID.
        job_id: The job of a request that names its charge.
    """

    reason = "TRANSACTION_NOT_FOUND"
    transaction_id: UUID | None = None
    job_id: UUID | None = None


@dataclass(eq=False)
class HoldNotFound(DomainError):
    """No hold has the ID {hold_id}: look for the right one with ListHolds."""

    reason = "HOLD_NOT_FOUND"
    hold_id: UUID


@dataclass(eq=False)
class HoldNotActive(DomainError):
    """The hold {hold_id} was {state} before: place another one under an ID of its own."""

    reason = "HOLD_NOT_ACTIVE"
    about = "holds/{hold_id}"
    hold_id: UUID
    state: str


@dataclass(eq=False)
class HoldActive(DomainError):
    """The hold {hold_id} still reserves {amount_cents} cents for this charge: send the charge, or release the hold."""

    reason = "HOLD_ACTIVE"
    about = "holds/{hold_id}"
    hold_id: UUID
    amount_cents: int


@dataclass(eq=False)
class HoldMismatch(DomainError):
    """The hold {hold_id} belongs to another wallet or job ({fields}): name the hold that was placed for this charge.

    Attributes:
        fields: Those that differ from the hold's, under their names in the request.
    """

    reason = "HOLD_MISMATCH"
    about = "holds/{hold_id}"
    hold_id: UUID
    fields: tuple[str, ...]


@dataclass(eq=False)
class AlreadyCharged(DomainError):
    """The job {job_id} was charged by the transaction {transaction_id}: look at it, and refund it if it is wrong.

    A job is charged once, across all wallets.
    """

    reason = "ALREADY_CHARGED"
    about = "jobs/{job_id}"
    job_id: UUID
    transaction_id: UUID


@dataclass(eq=False)
class RefundExceedsCharge(DomainError):
    """The request asks for more than is left of the charge {transaction_id}.

    Attributes:
        requested_cents: 0 if the request asked for the remainder and nothing remains.
    """

    reason = "REFUND_EXCEEDS_CHARGE"
    about = "transactions/{transaction_id}"
    transaction_id: UUID
    refundable_cents: int
    requested_cents: int
    currency: str = field(metadata=HIDDEN)

    @property
    def message(self) -> str:
        """The remainder of the charge, and the request, in the units of the currency."""
        if not self.refundable_cents:
            return f"Nothing is left of the charge {self.transaction_id}: it was refunded or written off before."
        left, requested = (money(cents, self.currency) for cents in (self.refundable_cents, self.requested_cents))
        return f"Of the charge {self.transaction_id}, {left} can be refunded and {requested} was requested."


@dataclass(eq=False)
class ChargeNotAuthorised(NotAllowed):
    """The charge token does not authorise this charge: leave it to the jobs service, which charges each job itself."""

    method: str = "innosystem.wallets.v1.WalletService.Deduct"
    kind: str = "runner"


@dataclass(eq=False)
class WalletExists(DomainError):
    """The customer {customer_id} already has a wallet in {currency}, with the ID {wallet_id}: use that one."""

    reason = "WALLET_EXISTS"
    wallet_id: UUID
    customer_id: UUID
    currency: str


@dataclass(eq=False)
class InsufficientFunds(DomainError):
    """The available funds do not cover the request: the wallet has to be credited first."""

    reason = "INSUFFICIENT_FUNDS"
    about = "wallets/{wallet_id}"
    available_cents: int
    required_cents: int
    currency: str
    wallet_id: UUID = field(metadata=HIDDEN)

    @property
    def message(self) -> str:
        """Both amounts, in the units of the currency."""
        required, available = (money(cents, self.currency) for cents in (self.required_cents, self.available_cents))
        return f"{required} are required and {available} are available: the wallet has to be credited first."


@dataclass(eq=False)
class BalanceOverflow(DomainError):
    """A balance of {current_balance_cents} cents cannot grow by {amount_cents}: the maximum is {balance_cents_max}."""

    reason = "BALANCE_OVERFLOW"
    about = "wallets/{wallet_id}"
    current_balance_cents: int
    amount_cents: int
    balance_cents_max: int
    wallet_id: UUID = field(metadata=HIDDEN)
