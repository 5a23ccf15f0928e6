"""The deaths of runners and of handlers' processes: how many count against a job, and how long it waits after one."""

import random
from dataclasses import dataclass
from datetime import timedelta

#: The type of a failure that says that the handler's own process has died.
PROCESS_DIED = "PROCESS_DIED"


@dataclass(frozen=True, kw_only=True)
class DeathRules:
    """How often, how soon.

    Attributes:
        deaths_max: How many deaths may count against a job; by the next it is FAILED.
        short: A run of at least this length is above suspicion when its runner is lost.
        wait: How long a job waits after its first death but one; it doubles with each.
        wait_max: How long it waits at most. Longer than `short`, so that a job that kills meets those again that it
            took along before only when they are above suspicion, or done.
    """

    deaths_max: int = 5
    short: timedelta = timedelta(minutes=10)
    wait: timedelta = timedelta(seconds=5)
    wait_max: timedelta = timedelta(minutes=15)

    def pause(self, times: int) -> timedelta:
        """How long a job waits the first, second ... time: no two of them equally long."""
        wait = min(self.wait * float(2 ** min(times - 1, 30)), self.wait_max)
        return wait * random.uniform(0.5, 1.5)  # noqa: S311 - not a secret
