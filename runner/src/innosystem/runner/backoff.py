"""Exponential backoff with jitter."""

import random


class Backoff:
    """Delays that double, with jitter, so that many runners do not retry at the same moment."""

    def __init__(self, *, first_seconds: float, longest_seconds: float) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self.failures = 0

    def next_seconds(self, minimum_seconds: float | None = None) -> float:
        """Count a failure and return how long to wait after it.

        Args:
            minimum_seconds: The shortest wait, as requested by the service; None if the service requested none.
        """
        doubled = self._first * 2.0 ** min(self.failures, 16)
        self.failures += 1
        wait = min(doubled, self._longest) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return max(wait, (minimum_seconds or 0.0) * random.uniform(1.0, 1.5))  # noqa: S311 - no secret

    def reset(self) -> None:
        """Start over after a success."""
        self.failures = 0
