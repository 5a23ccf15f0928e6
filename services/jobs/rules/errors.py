"""The errors of the jobs service."""

from dataclasses import dataclass, field
from uuid import UUID

from services.kit.currencies import money
from services.kit.errors import HIDDEN, DomainError, FieldError, NotAllowed


@dataclass(eq=False)
class JobNotFound(DomainError):
    """No job has the ID {job_id}."""

    reason = "JOB_NOT_FOUND"
    job_id: UUID


@dataclass(eq=False)
class RunnerNotFound(DomainError):
    """No runner has the ID {runner_id}, or it ended a while ago: `innosystem runners` lists those that are known."""

    reason = "RUNNER_NOT_FOUND"
    runner_id: UUID


@dataclass(eq=False)
class JobTypeNotFound(DomainError):
    """There is no job type {job_type}: look for the right one with ListJobTypes. New ones are created by operators."""

    reason = "JOB_TYPE_NOT_FOUND"
    job_type: str


@dataclass(eq=False)
class JobTypeNameTaken(FieldError):
    """Another job type has the name {name}."""

    reason = "JOB_TYPE_NAME_TAKEN"
    field = "name"
    name: str


@dataclass(eq=False)
class JobTypeInUse(DomainError):
    """Jobs use the job type {job_type_id}, so it can't be deleted: disable it with UpdateJobType instead."""

    reason = "JOB_TYPE_IN_USE"
    about = "job_types/{job_type_id}"
    job_type_id: UUID


@dataclass(eq=False)
class JobTypeDisabled(DomainError):
    """The job type {job_type} is disabled: no jobs of it can be submitted until an operator enables it."""

    reason = "JOB_TYPE_DISABLED"
    about = "job_types/{job_type}"
    job_type: str


@dataclass(eq=False)
class CustomerNotFound(DomainError):
    """No customer has the ID {customer_id}: it has to be created first."""

    reason = "CUSTOMER_NOT_FOUND"
    customer_id: UUID


@dataclass(eq=False)
class CustomerInactive(DomainError):
    """The customer {customer_id} is inactive: no job of it is accepted or retried until an operator activates it."""

    reason = "CUSTOMER_INACTIVE"
    about = "customers/{customer_id}"
    customer_id: UUID


@dataclass(eq=False)
class InsufficientFunds(DomainError):
    """The job costs more than is available: the wallet has to be credited first."""

    reason = "INSUFFICIENT_FUNDS"
    about = "customers/{customer_id}/wallets/{currency}"
    available_cents: int
    required_cents: int
    currency: str
    customer_id: UUID = field(metadata=HIDDEN)

    @property
    def message(self) -> str:
        """Both amounts, in the units of the currency."""
        required, available = (money(cents, self.currency) for cents in (self.required_cents, self.available_cents))
        return f"The job costs {required} and {available} are available: the wallet has to be credited first."


@dataclass(eq=False)
class NoWalletInCurrency(DomainError):
    """The customer {customer_id} has no wallet in {currency}, which the job is charged in: one has to be created."""

    reason = "NO_WALLET_IN_CURRENCY"
    about = "customers/{customer_id}/wallets/{currency}"
    customer_id: UUID
    currency: str


@dataclass(eq=False)
class HoldNotActive(DomainError):
    """The hold {hold_id} can't be released: it was captured, so its job has been charged."""

    reason = "HOLD_NOT_ACTIVE"
    about = "holds/{hold_id}"
    hold_id: UUID


@dataclass(eq=False)
class PriceAboveMaximum(DomainError):
    """The job costs more than the caller allows."""

    reason = "PRICE_ABOVE_MAXIMUM"
    about = "job_types/{job_type}"
    price_cents: int
    max_cost_cents: int
    currency: str
    job_type: str = field(metadata=HIDDEN)

    @property
    def message(self) -> str:
        """Both amounts, in the units of the currency."""
        price, allowed = (money(cents, self.currency) for cents in (self.price_cents, self.max_cost_cents))
        return f"The job costs {price} and the caller allows {allowed} at most."


@dataclass(eq=False)
class InvalidInputJson(FieldError):
    """input_json can't be stored: {problem}."""

    reason = "INVALID_INPUT_JSON"
    field = "input_json"
    problem: str


@dataclass(eq=False)
class InvalidOutputJson(FieldError):
    """output_json can't be stored: {problem}."""

    reason = "INVALID_OUTPUT_JSON"
    field = "output_json"
    problem: str


@dataclass(eq=False)
class InputTooLarge(FieldError):
    """input_json has {bytes} bytes and may have {bytes_max}: store it elsewhere and submit its address."""

    reason = "INPUT_TOO_LARGE"
    field = "input_json"
    bytes: int
    bytes_max: int


@dataclass(eq=False)
class OutputTooLarge(FieldError):
    """output_json has {bytes} bytes and may have {bytes_max}: store it elsewhere and return its address."""

    reason = "OUTPUT_TOO_LARGE"
    field = "output_json"
    bytes: int
    bytes_max: int


@dataclass(eq=False)
class LeaseLost(DomainError):
    """The job {job_id} does not run under this lease, or ended otherwise; nothing was changed: drop the result."""

    reason = "LEASE_LOST"
    job_id: UUID


@dataclass(eq=False)
class SettlementNotAuthorised(NotAllowed):
    """Nothing shows that this became of the job's charge: leave it to this service, which settles each job itself."""

    method: str = "innosystem.jobs.v1.JobService.SettleJobs"
    kind: str = "runner"


@dataclass(eq=False)
class JobNotCancellable(DomainError):
    """The job {job_id} is {status} already and can't be taken back."""

    reason = "JOB_NOT_CANCELLABLE"
    about = "jobs/{job_id}"
    job_id: UUID
    status: str


@dataclass(eq=False)
class NothingToWriteOff(DomainError):
    """The charge of the job {job_id} is {billing_status} (the job is {status}): there is nothing to write off.

    Only a charge that is DECLINED or CHARGE_BLOCKED can be.
    """

    reason = "NOTHING_TO_WRITE_OFF"
    about = "jobs/{job_id}"
    job_id: UUID
    status: str
    billing_status: str


@dataclass(eq=False)
class WriteOffRefused(DomainError):
    """The ledger does not write the charge of the job {job_id} off: {refusal}."""

    reason = "WRITE_OFF_REFUSED"
    about = "jobs/{job_id}"
    job_id: UUID
    refusal: str


@dataclass(eq=False)
class JobNotRetryable(DomainError):
    """The job {job_id} can't be run again: it is {status} and its charge is {billing_status}.

    Only a FAILED or CANCELLED job whose hold is released, or that is free, can be.
    """

    reason = "JOB_NOT_RETRYABLE"
    about = "jobs/{job_id}"
    job_id: UUID
    status: str
    billing_status: str

    @property
    def retry_after_seconds(self) -> float | None:  # type: ignore[override] # only here it depends on the case
        """Its hold is released within seconds of its end."""
        return 2 if self.billing_status == "RELEASE_DUE" else None
