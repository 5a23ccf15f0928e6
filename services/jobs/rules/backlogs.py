"""Backlogs: waiting jobs of one type and queue that runners have refused, and how many of them are fed when."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from services.jobs.rules.entities import Backlog, ListKey, QueueStats

#: A runner that was seen within this time counts as present.
SEEN = timedelta(minutes=1)
#: Without a refusal for this long, all runners that take the jobs serve them.
CALM = timedelta(seconds=10)
# How many jobs are fed for each one that was granted since. Part of the runners that take them refuse, and even if nine
# of ten do, the others receive a growing number.
_GROWTH = 16
_LIMIT_MAX = 1000
# How many jobs are fed to find out whether a runner serves them, and how many if one is known to.
_PROBES = 4
_PROBES_SERVED = 20
_WAIT_MIN = timedelta(seconds=0.5)
_WAIT_SERVED_MAX = timedelta(seconds=2)
# The largest number of handlers that are named for a list.
_NAMED = 20


@dataclass(frozen=True)
class BacklogState:
    """A backlog whose jobs may be fed.

    Attributes:
        handler: The `processing_logic_id` of its job type.
        refused: The number of its jobs that were refused since it was fed; `granted` those that were granted.
        wait: How long it has waited for this feeding.
        served: Whether a runner with the handler was seen in the last minute.
        calm: Whether no runner has refused any for a while.
    """

    backlog: Backlog
    handler: str
    refused: int
    granted: int
    wait: timedelta
    served: bool
    calm: bool


@dataclass(frozen=True)
class Feeding:
    """How many jobs of a backlog are fed now, and how long it waits then."""

    limit: int
    wait: timedelta


@dataclass(frozen=True)
class Note:
    """What this replica has seen of a backlog: jobs that claims refused or granted, and runners with the handler."""

    backlog: Backlog
    refused: int = 0
    granted: int = 0
    served: bool = False


@dataclass(frozen=True)
class Count:
    """The number of jobs of a list that wait for a handler that no runner has."""

    list: ListKey
    handler: str
    jobs: int


def next_feeding(state: BacklogState, wait_max: timedelta) -> Feeding:
    """Return how many jobs of a backlog are fed, and how long it waits.

    The number granted shows how many jobs its runners can take; whatever is fed beyond that only goes round. Without a
    grant a few jobs are fed to find out, soon if a runner is known to serve them.
    """
    if state.granted:
        return Feeding(min(max(_GROWTH * state.granted, _PROBES_SERVED), _LIMIT_MAX), _WAIT_MIN)
    longest = min(_WAIT_SERVED_MAX, wait_max) if state.served else wait_max
    wait = min(max(2 * state.wait, _WAIT_MIN), longest)
    # If a runner is known to serve it, a turn in which others took all jobs was bad luck.
    return Feeding(min(max(state.refused // 2, _PROBES_SERVED), _LIMIT_MAX) if state.served else _PROBES, wait)


def is_over(state: BacklogState, taken: int) -> bool:
    """Return whether a backlog is over: all runners serve it, or no job waits."""
    return state.calm and (state.granted > 0 or not taken)


def with_unserved(stats: Iterable[QueueStats], unserved: Sequence[Count]) -> list[QueueStats]:
    """Return the counts of queues with the jobs that no runner serves."""
    jobs: Counter[ListKey] = Counter()
    handlers: dict[ListKey, set[str]] = {}
    for one in unserved:
        jobs[one.list] += one.jobs
        handlers.setdefault(one.list, set()).add(one.handler)
    return [
        replace(one, unserved=jobs[key], unserved_handlers=tuple(sorted(handlers.get(key, ()))[:_NAMED]))
        for one in stats
        for key in (ListKey(one.queue, one.priority),)
    ]
