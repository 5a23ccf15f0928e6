"""Calls a service from several threads without a pause, and remembers what became of each call."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import grpc

from innosystem.client import InnosystemError
from tests.e2e.processes import LIMIT_SECONDS
from tests.e2e.stack import refusal

_THREADS = 8


@dataclass(frozen=True)
class Outcome:
    """What became of one call: which one it was, and the error, if it failed."""

    key: str
    error: InnosystemError | None


class Load:
    """Calls until it is stopped; use it in a `with` block."""

    def __init__(self, call: Callable[[], tuple[str, Callable[[], object]]]) -> None:
        """Begins with the block.

        Args:
            call: Makes a new call and returns what it is known by, and the call to be made.
        """
        self._call = call
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"load-{number}") for number in range(_THREADS)]
        self.outcomes: list[Outcome] = []

    @property
    def returned(self) -> list[str]:
        """The calls that were returned."""
        return [one.key for one in self.outcomes if one.error is None]

    @property
    def errors(self) -> list[InnosystemError]:
        """What the others failed with."""
        return [one.error for one in self.outcomes if one.error is not None]

    @property
    def codes(self) -> set[grpc.StatusCode]:
        """How they failed."""
        return {error.code for error in self.errors}

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(LIMIT_SECONDS)
            assert not thread.is_alive(), "a call has no end"

    def _run(self) -> None:
        while not self._stopping.is_set():
            key, call = self._call()
            self.outcomes.append(Outcome(key, refusal(call)))
