"""Runners: what they say about themselves, and what follows from how long ago they said it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from services.jobs.rules.entities import QueueStats

#: A runner describes itself every ten seconds; one that was not seen for this long is LOST.
SEEN = timedelta(seconds=30)
#: Rows beyond this number are not stored: runner IDs may be made up in a loop.
RUNNERS_MAX = 10_000


class RunnerState(Enum):
    """What a runner does. It never returns to an earlier of the states that it announces, which are all but LOST."""

    ACTIVE = 0
    STOPPING = 1
    STOPPED = 2
    LOST = 3


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What a runner says about itself. A runner of an earlier release says only its ID, queues and handlers.

    Attributes:
        queues: The queues that it takes jobs from; none means that it did not say.
        handlers: The handlers that it has; none means all.
        slots: The number of handlers that it runs concurrently; 0 if unknown.
        busy: The number of slots in use.
        processes: The number of processes for handlers that run in one; 0 if unknown.
        uptime: How long ago its process started.
        state: ACTIVE, STOPPING or STOPPED.
        age: How long ago the announcement was received.
        announced_by: The caller, such as `runner/images`; empty where no authentication is required.
    """

    runner_id: UUID
    queues: Sequence[str]
    handlers: Sequence[str]
    host: str = ""
    process_id: int = 0
    version: str = ""
    language: str = ""
    slots: int = 0
    busy: int = 0
    processes: int = 0
    uptime: timedelta = timedelta(0)
    state: RunnerState = RunnerState.ACTIVE
    age: timedelta = timedelta(0)
    announced_by: str = ""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A runner as it is known: its announcement, the times by the database's clock, and its state.

    Attributes:
        announced_by: The first authenticated caller that described it; empty while there was none.
    """

    id: UUID
    state: RunnerState
    host: str
    process_id: int
    version: str
    language: str
    queues: Sequence[str]
    handlers: Sequence[str]
    slots: int
    busy: int
    processes: int
    started_at: datetime
    last_seen_at: datetime
    announced_by: str = ""


@dataclass(frozen=True)
class Gone:
    """How long runners that are STOPPED or LOST are kept, and how many of them at most, the last seen first."""

    stopped: timedelta = timedelta(hours=1)
    lost: timedelta = timedelta(days=1)
    count: int = 1000


def state_at(announced: RunnerState, last_seen_at: datetime, now: datetime) -> RunnerState:
    """Return the state of a runner that has announced a state and was last seen at this time."""
    if announced is not RunnerState.STOPPED and last_seen_at <= now - SEEN:
        return RunnerState.LOST
    return announced


def belongs_to(announced_by: str, caller: str) -> bool:
    """Return whether a runner that was described by one caller may be described by another.

    Args:
        announced_by: The first authenticated caller that described the runner; empty while there was none.
        caller: The present one; empty where no authentication is required.
    """
    return not announced_by or not caller or announced_by == caller


def newer(before: Announcement | None, announced: Announcement) -> Announcement:
    """Return what two announcements of one runner say together; calls may overtake each other."""
    if before is None or before.state.value <= announced.state.value:
        return announced
    return replace(before, age=announced.age)


def with_runners(stats: Iterable[QueueStats], runners: Mapping[str, int], anywhere: int) -> list[QueueStats]:
    """Return the counts of queues with the number of runners that take from each.

    Args:
        stats: The counts.
        runners: The number of active runners by queue.
        anywhere: The number of active runners that do not say from which queues they take jobs.
    """
    return [replace(one, runners=runners.get(one.queue, 0) + anywhere) for one in stats]


def gone_for_good(runners: Collection[Runner], now: datetime, kept: Gone) -> set[UUID]:
    """Return the runners that are no longer listed."""
    gone = [one for one in runners if one.state in (RunnerState.STOPPED, RunnerState.LOST)]
    gone.sort(key=lambda one: one.last_seen_at, reverse=True)
    return {
        one.id
        for place, one in enumerate(gone)
        if place >= kept.count
        or one.last_seen_at < now - (kept.stopped if one.state is RunnerState.STOPPED else kept.lost)
    }
