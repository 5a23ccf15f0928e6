"""Rates, and the limits of a customer that differ from the settings."""

import math
import re
from dataclasses import dataclass
from typing import Final, Self

_DAY_SECONDS: Final = 86_400
_TEXT: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/(\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate with a burst. It is false if it limits nothing.

    Attributes:
        per_second: How much is allowed each second in the long run; 0 for no limit.
        burst: How much is allowed together after a pause.
    """

    per_second: float
    burst: float

    def __bool__(self) -> bool:
        return self.per_second > 0

    def __str__(self) -> str:
        return f"{self.per_second:.15g}/{self.burst:.15g}" if self else "0"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `200/400`, or `200` for a burst of one second; `0` for no limit.

        Raises:
            ValueError: If the text is no rate.
        """
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise ValueError("must be a rate a second and a burst, such as 200/400, or 0 for no limit")
        per_second = float(found[1])
        return cls(per_second, float(found[2] or max(per_second, 1)))

    @classmethod
    def of_day(cls, amount: int) -> Self:
        """Return the rate of an amount a day, all of it as a burst; 0 for no limit."""
        return cls(amount / _DAY_SECONDS, amount)

    @property
    def problem(self) -> str:
        """Describe why this can't be a rate; empty if it can."""
        if not (math.isfinite(self.per_second) and math.isfinite(self.burst)):
            return "must be finite"
        return "must have a burst of at least 1" if self and self.burst < 1 else ""


@dataclass(frozen=True, kw_only=True)
class CustomerLimits:
    """The limits of one customer that replace those of the settings; None keeps them, 0 lifts them.

    Attributes:
        requests: Requests of the customer's own credentials, at each service.
        submissions: Submitted jobs.
        input_bytes_per_day: Bytes of inputs of submitted jobs.
        jobs_waiting: Jobs that are not final.
    """

    requests: Rate | None = None
    submissions: Rate | None = None
    input_bytes_per_day: int | None = None
    jobs_waiting: int | None = None


#: A customer whose limits are those of the settings.
NO_EXCEPTIONS: Final = CustomerLimits()
