"""Count what a run uses."""

import threading
from typing import Final

_UNITS_MAX: Final = 2**63 - 1


class UsageMeter:
    """The usage of one run, which adds up from any thread. A process of handlers counts in a meter of its own.

    Attributes:
        units: The sum so far; None if nothing was reported.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.units: int | None = None

    def __reduce__(self) -> tuple[type["UsageMeter"], tuple[()]]:
        return (UsageMeter, ())

    def add(self, units: int) -> None:
        """Add to the usage.

        Args:
            units: 0 or more.

        Raises:
            TypeError: The number is not an int.
            ValueError: The number is negative, or the sum is above 2^63 - 1.
        """
        if type(units) is not int:
            raise TypeError(f"usage is a whole number of units, not {units!r}: choose a smaller unit")
        with self._lock:
            total = (self.units or 0) + units
            if units < 0 or total > _UNITS_MAX:
                raise ValueError(f"usage of {units} units is negative, or too much: at most {_UNITS_MAX} in all")
            self.units = total
