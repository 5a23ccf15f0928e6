"""Deaths of runners and of handlers' processes: how many count against a job, and how long it waits after one."""

import random
from dataclasses import dataclass
from datetime import timedelta

#: The type of a failure whose cause is the death of the handler's own process.
PROCESS_DIED = "PROCESS_DIED"


@dataclass(frozen=True, kw_only=True)
class DeathRules:
    """Limits and waits for jobs whose runner or process dies.

    Attributes:
        deaths_max: How many deaths may count against a job; with the next it is FAILED.
        short: A run of at least this length is above suspicion when its runner is lost.
        wait: How long a job waits after the second loss of its runner, or the first death of its process; it doubles
            with each further one.
        wait_max: The longest wait. It exceeds `short`, so that a job that kills its runner meets the jobs that it
            took down before only when those are above suspicion, or done.
    """

    deaths_max: int = 5
    short: timedelta = timedelta(minutes=10)
    wait: timedelta = timedelta(seconds=5)
    wait_max: timedelta = timedelta(minutes=15)

    def pause(self, times: int) -> timedelta:
        """Return how long a job waits the first, second ... time: each job for a time of its own."""
        wait = min(self.wait * float(2 ** min(times - 1, 30)), self.wait_max)
        return wait * random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
