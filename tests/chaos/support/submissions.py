"""The jobs of the load, as those who submit them know them."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from innosystem.jobs.v1 import job_service_pb2, job_type_pb2
from tests.chaos.support.kinds import KINDS, Kind, used_units

_PRIORITIES = (job_type_pb2.PRIORITY_HIGH, job_type_pb2.PRIORITY_MEDIUM, job_type_pb2.PRIORITY_LOW)

# The share of jobs that someone watches, and of those that end without success that someone has run again.
_WATCHED = 0.1
_RUN_AGAIN = 0.3


@dataclass
class Submission:
    """One job.

    Attributes:
        request: What is sent, each time the same.
        cancel_after_seconds: When it is taken back, from its acceptance; None if it is not.
        accepted: Whether an response said that it is stored.
        refused: What another response said, if it was refused for good.
        tries: How often it was sent.
        replayed: Whether the response said that an earlier try had stored it.
        cancellation: `cancelled` or `too late`, as CancelJob returned; empty while no response came.
        watched: Whether someone watches it to its end.
        seen: The last status that the watcher received before the stream ended; empty before.
        run_again: Whether someone has it run again when it has ended without success. Nobody watches it then: its
            first end is not its last.
        retries: How often RetryJob was called for it.
        retry_count: How often it had been run again as far as its callers knew when they first called RetryJob.
        retried: `again`, `too late` or `short of funds`, as RetryJob returned; empty while no response came.
        short: How often it was refused because money was missing, for the submission or for running it again.
    """

    job_id: str
    kind: Kind
    customer_id: str
    inputs: Mapping[str, Any]
    request: job_service_pb2.CreateJobRequest
    cancel_after_seconds: float | None = None
    accepted: bool = False
    refused: str = ""
    tries: int = 0
    replayed: bool = False
    cancellation: str = ""
    watched: bool = False
    seen: str = ""
    run_again: bool = False
    retries: int = 0
    retry_count: int | None = None
    retried: str = ""
    short: int = 0

    @property
    def cost_cents(self) -> int:
        """What the job costs when it succeeds."""
        cents = self.kind.cost_cents
        return min(used_units(self.inputs), cents) if self.kind.metered else cents


@dataclass
class Generator:
    """Makes jobs, the same ones from the same seed (but for the times in them, which are counted from now).

    Attributes:
        random: Where chance comes from.
        customers: Who submits.
        prefix: What the names of the job types begin with.
    """

    random: random.Random
    customers: Sequence[str]
    prefix: str = ""
    _count: int = field(default=0, init=False)

    def next(self, *, kind: str = "", customer_id: str = "") -> Submission:
        """Create one, of a kind and a customer by chance if none is named."""
        return self._of(KINDS[kind] if kind else self._any_kind(), customer_id or self.random.choice(self.customers))

    def _any_kind(self) -> Kind:
        kinds = list(KINDS.values())
        return self.random.choices(kinds, [kind.weight for kind in kinds])[0]

    def _of(self, kind: Kind, customer_id: str) -> Submission:
        self._count += 1
        inputs = {"n": self._count, "seconds": round(self.random.uniform(*kind.seconds), 3)}
        job_id = str(UUID(int=self.random.getrandbits(128), version=4))
        request = job_service_pb2.CreateJobRequest(
            job_id=job_id,
            customer_id=customer_id,
            job_type=self.prefix + kind.name,
            priority=self.random.choice(_PRIORITIES),
            input_json=json.dumps(inputs),
        )
        now = datetime.now(UTC)
        if kind.waits_seconds is not None:
            request.run_at.FromDatetime(now + timedelta(seconds=self.random.uniform(*kind.waits_seconds)))
        if kind.expires_seconds is not None:
            request.expires_at.FromDatetime(now + timedelta(seconds=kind.expires_seconds))
        cancel_after = self.random.uniform(0, 5) if kind.cancelled else None
        run_again = kind.weight > 0 and kind.may_run_again and self.random.random() < _RUN_AGAIN
        watched = kind.weight > 0 and not run_again and self.random.random() < _WATCHED
        return Submission(
            job_id, kind, customer_id, inputs, request, cancel_after, watched=watched, run_again=run_again
        )


def job_type(kind: Kind, prefix: str = "") -> job_type_pb2.JobType:
    """The job type of a kind."""
    made = job_type_pb2.JobType(
        name=prefix + kind.name,
        processing_logic_id=kind.handler,
        processor_type=kind.processor_type,
        standard_cost_cents=kind.cost_cents,
        max_attempts=kind.max_attempts,
        queue=kind.queue,
    )
    if kind.metered:
        made.metering.unit = "unit"
        made.metering.unit_price_micro_cents = 1_000_000
        made.metering.max_cost_cents = kind.cost_cents
    made.timeout.FromTimedelta(timedelta(seconds=kind.timeout_seconds))
    made.retry_policy.initial_backoff.FromTimedelta(timedelta(seconds=0.3))
    made.retry_policy.max_backoff.FromTimedelta(timedelta(seconds=1))
    return made
