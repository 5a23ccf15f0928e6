"""The rules of the jobs service by which a job is repeated, ends and is charged, for tests without a server.

A runner does not have the code of the service; a test of the project compares both.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from innosystem.runner.errors import JobError
from innosystem.runner.outcome import AwaitingCallback, Outcome, Snoozed, Succeeded

Status: TypeAlias = Literal["SCHEDULED", "SUCCEEDED", "FAILED", "CANCELLED"]

_SNOOZES_MAX: Final = 100
_MICRO_CENTS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRules:
    """What a job type says of its jobs, with the defaults of the platform.

    Attributes:
        max_attempts: How many runs a job gets.
        timeout_seconds: How long one run may take, in real time; None for no limit.
        initial_backoff_seconds: The wait after the first failed attempt. In tests the waits are not random.
        backoff_multiplier: What the wait grows by with each attempt.
        max_backoff_seconds: The longest wait.
        price_cents: The price of a job; of a metered one, if its handler reports no usage.
        unit_price_micro_cents: The price of one unit, in millionths of a cent; None for a job that is not metered.
        max_cost_cents: The most that a metered job costs.
    """

    max_attempts: int = 10
    timeout_seconds: float | None = 300.0
    initial_backoff_seconds: float = 1.0
    backoff_multiplier: float = 2.0
    max_backoff_seconds: float = 3600.0
    price_cents: int = 0
    unit_price_micro_cents: int | None = None
    max_cost_cents: int = 0

    def backoff_seconds(self, attempt: int) -> float:
        """Return how long a job waits after a failed attempt, without the random part."""
        try:
            wait = self.initial_backoff_seconds * self.backoff_multiplier ** (attempt - 1)
        except OverflowError:
            return self.max_backoff_seconds
        return min(wait, self.max_backoff_seconds)

    def cost_cents(self, usage_units: int | None) -> int:
        """Return what a job costs that has succeeded."""
        if self.unit_price_micro_cents is None or usage_units is None:
            return self.price_cents
        used = (usage_units * self.unit_price_micro_cents + _MICRO_CENTS // 2) // _MICRO_CENTS
        return min(used, self.max_cost_cents)


@dataclass(frozen=True, slots=True)
class Ending:
    """What a job becomes when a run has ended.

    Attributes:
        status: SCHEDULED if it runs again.
        error: Why it has failed, or the run has.
        wait_seconds: How long it waits before it runs again.
        charged_cents: What it costs.
        uses_attempt: Whether the run counts as an attempt.
    """

    status: Status
    error: JobError | None = None
    wait_seconds: float = 0.0
    charged_cents: int = 0
    uses_attempt: bool = True


def ending(outcome: Outcome, rules: JobRules, *, attempt: int, snooze_count: int) -> Ending:
    """Return what a job becomes.

    Args:
        outcome: How its run has ended.
        rules: What its job type says.
        attempt: The number of the run.
        snooze_count: How often the job was snoozed before.

    Raises:
        TypeError: It was posted to an endpoint, which no handler does.
    """
    if isinstance(outcome, AwaitingCallback):
        raise TypeError("a job with a handler can't await a callback")
    if isinstance(outcome, Succeeded):
        return Ending("SUCCEEDED", charged_cents=rules.cost_cents(outcome.usage_units))
    if isinstance(outcome, Snoozed):
        if snooze_count < _SNOOZES_MAX:
            return Ending("SCHEDULED", wait_seconds=outcome.seconds, uses_attempt=False)
        message = f"the handler has asked {_SNOOZES_MAX} times to be run again later"
        return Ending("FAILED", JobError(message, type="SNOOZED_TOO_OFTEN", retryable=False))
    error = JobError(
        outcome.message, type=outcome.type, retryable=outcome.retryable, retry_after=outcome.retry_after_seconds
    )
    if not outcome.retryable or attempt >= rules.max_attempts:
        return Ending("FAILED", error)
    wait = outcome.retry_after_seconds
    return Ending("SCHEDULED", error, rules.backoff_seconds(attempt) if wait is None else wait)
