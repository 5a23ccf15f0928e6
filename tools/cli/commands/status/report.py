"""The report of `innosystem status`."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        what: What is wrong, a line.
        command: The command that helps, or shows more; empty if there is none.
    """

    what: str
    command: str = ""


@dataclass(frozen=True)
class Part:
    """A service, a database or Redis.

    Attributes:
        name: Its name.
        address: Where it is, without a password; empty if the platform's source does not say.
        state: What it does.
        version: The release of a service, the revision of a database, or the version of Redis; empty if unknown.
    """

    name: str
    address: str
    state: Literal[
        "serving", "not serving", "responds", "behind", "ahead", "other", "unreachable", "refused", "unknown"
    ]
    version: str = ""


@dataclass(frozen=True)
class Queue:
    """A queue with its three priorities together.

    Attributes:
        name: The name.
        waiting: How many jobs wait.
        running: How many jobs run.
        oldest_seconds: How long the oldest has waited; None if none waits.
        paused: Whether the queue is paused.
        runners: How many runners take jobs from it; 0 if the service does not know.
    """

    name: str
    waiting: int
    running: int
    oldest_seconds: float | None
    paused: bool
    runners: int


@dataclass(frozen=True)
class Runners:
    """The runners of a platform.

    Attributes:
        active: How many take jobs.
        stopping: How many finish the jobs that they have.
        lost: How many were not seen lately, and did not say that they end.
        slots: How many handlers the first two run concurrently.
        busy: How many of these slots are in use.
    """

    active: int
    stopping: int
    lost: int
    slots: int
    busy: int


@dataclass
class Found:
    """What one look at the platform found.

    Attributes:
        parts: Services, databases and Redis.
        queues: The queues; None if they could not be read.
        runners: The runners; None if they could not be read, or the service does not know them.
        problems: What is wrong.
    """

    parts: list[Part] = field(default_factory=list)
    queues: list[Queue] | None = None
    runners: Runners | None = None
    problems: list[Problem] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Add what another look found."""
        self.parts += other.parts
        self.queues = other.queues if self.queues is None else self.queues
        self.runners = other.runners if self.runners is None else self.runners
        self.problems += other.problems


@dataclass(frozen=True)
class Report:
    """The state of a platform.

    Attributes:
        platform: The platform in words, such as `context local (127.0.0.1:50053)`.
        found: All that was found.
    """

    platform: str
    found: Found

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.found.problems

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON value."""
        found = self.found
        return {
            "platform": self.platform,
            "ok": self.ok,
            "parts": [vars(one) for one in found.parts],
            "queues": None if found.queues is None else [vars(one) for one in found.queues],
            "runners": None if found.runners is None else vars(found.runners),
            "problems": [vars(one) for one in found.problems],
        }
