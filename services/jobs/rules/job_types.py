"""Job types: what jobs of one kind cost, and how they are run."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Self
from uuid import UUID

from services.jobs.rules.prices.metering import Metering

DEFAULT_CURRENCY = "EUR"
DEFAULT_QUEUE = "default"
DEFAULT_TIMEOUT = timedelta(minutes=5)
DEFAULT_EXPIRES_AFTER = timedelta(days=7)
DEFAULT_MAX_ATTEMPTS = 10
DEFAULT_INITIAL_BACKOFF = timedelta(seconds=1)
DEFAULT_MAX_BACKOFF = timedelta(hours=1)
DEFAULT_MULTIPLIER = 2.0


class ProcessorType(StrEnum):
    """How a handler is written."""

    SYNC = "SYNC"
    ASYNC = "ASYNC"
    BATCH = "BATCH"
    EXTERNAL_API = "EXTERNAL_API"
    WEBHOOK = "WEBHOOK"


# The kinds that a runner of this release can run; a job type of another kind would only collect failures.
RUNNABLE = frozenset({ProcessorType.SYNC, ProcessorType.ASYNC, ProcessorType.BATCH, ProcessorType.EXTERNAL_API})


class Priority(IntEnum):
    """The order in which waiting jobs are taken; also the number in the name of the Redis list."""

    HIGH = 0
    MEDIUM = 1
    LOW = 2


@dataclass(frozen=True, kw_only=True)
class NewJobType:
    """A job type about to be stored.

    Attributes:
        standard_cost_cents: The price of a job in the currency's minor unit, without metering or a report of usage; 0
            for free.
        processor_type: SYNC if the caller named none.
        processor_type_named: Whether the caller named the processor type, so that runners check it.
        max_attempts: How many runs a job gets; 0 if the caller leaves it to the service.
        input_schema: A JSON Schema as JSON text, or None.
        metering_unit: What usage is counted in; None if jobs are not metered, as the next two.
        unit_price_micro_cents: The price of one unit, in millionths of the currency's minor unit.
        max_cost_cents: The most that a metered job costs.
        external_api: The HTTP endpoint that does the work, as JSON text in the form of the contract, or None.
        request_digest: A digest of the parameters, by which a repeated create is recognized.
    """

    id: UUID
    name: str
    description: str = ""
    processing_logic_id: str
    processor_type: ProcessorType
    processor_type_named: bool = True
    standard_cost_cents: int = 0
    currency: str = DEFAULT_CURRENCY
    enabled: bool = True
    queue: str = DEFAULT_QUEUE
    default_priority: Priority = Priority.MEDIUM
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    timeout: timedelta = DEFAULT_TIMEOUT
    expires_after: timedelta = DEFAULT_EXPIRES_AFTER
    retry_initial_backoff: timedelta = DEFAULT_INITIAL_BACKOFF
    retry_max_backoff: timedelta = DEFAULT_MAX_BACKOFF
    retry_multiplier: float = DEFAULT_MULTIPLIER
    input_schema: str | None = None
    metering_unit: str | None = None
    unit_price_micro_cents: int | None = None
    max_cost_cents: int | None = None
    external_api: str | None = None
    request_digest: bytes = b""

    @property
    def metering(self) -> Metering | None:
        """The price by usage, if jobs are metered."""
        if self.metering_unit is None or self.unit_price_micro_cents is None or self.max_cost_cents is None:
            return None
        return Metering(self.metering_unit, self.unit_price_micro_cents, self.max_cost_cents, self.standard_cost_cents)

    def to_store(self, request_digest: bytes) -> Self:
        """Return the job type with what the caller has left to the service."""
        return replace(self, max_attempts=self.max_attempts or DEFAULT_MAX_ATTEMPTS, request_digest=request_digest)


@dataclass(frozen=True, kw_only=True)
class JobType(NewJobType):
    """A stored job type.

    Attributes:
        paused: Whether waiting jobs are withheld from the runners.
        version: The number of changes, which is also the etag.
    """

    paused: bool = False
    created_at: datetime
    updated_at: datetime
    version: int = 1

    @property
    def etag(self) -> str:
        """The etag, which changes with every change of the job type."""
        return str(self.version)
