"""Job types: what jobs of one kind cost, and how they are run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
DEFAULT_CALLBACK_TIMEOUT = timedelta(hours=1)

#: The handler of job types whose jobs are posted to an endpoint. Runners that can do that name it.
WEBHOOK_HANDLER = "innosystem.webhook"
#: Handlers that are part of runners: a runner that names no handlers, as those of the first release, lacks them.
RESERVED_HANDLERS = frozenset({WEBHOOK_HANDLER})


class ProcessorType(StrEnum):
    """How a handler is written."""

    SYNC = "SYNC"
    ASYNC = "ASYNC"
    BATCH = "BATCH"
    EXTERNAL_API = "EXTERNAL_API"
    WEBHOOK = "WEBHOOK"


class Priority(IntEnum):
    """The order in which waiting jobs are taken; also the number in the name of the Redis list."""

    HIGH = 0
    MEDIUM = 1
    LOW = 2


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An endpoint that jobs are posted to.

    Attributes:
        signing_secret: The name of the secret with the keys that sign the POST.
        callback_timeout: How long a job waits for its result after the endpoint has accepted it.
    """

    url: str
    headers: Mapping[str, str]
    signing_secret: str
    callback_timeout: timedelta


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
        webhook_url: Where jobs are posted to; None unless they are WEBHOOK. The other fields of `webhook` follow.
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
    webhook_url: str | None = None
    webhook_headers: Mapping[str, str] = field(default_factory=dict)
    webhook_signing_secret: str | None = None
    webhook_callback_timeout: timedelta | None = None
    request_digest: bytes = b""

    @property
    def metering(self) -> Metering | None:
        """The price by usage, if jobs are metered."""
        if self.metering_unit is None or self.unit_price_micro_cents is None or self.max_cost_cents is None:
            return None
        return Metering(self.metering_unit, self.unit_price_micro_cents, self.max_cost_cents, self.standard_cost_cents)

    @property
    def webhook(self) -> Webhook | None:
        """The endpoint that jobs are posted to, if they are WEBHOOK."""
        if self.webhook_url is None or self.webhook_signing_secret is None or self.webhook_callback_timeout is None:
            return None
        return Webhook(
            url=self.webhook_url,
            headers=self.webhook_headers,
            signing_secret=self.webhook_signing_secret,
            callback_timeout=self.webhook_callback_timeout,
        )

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
