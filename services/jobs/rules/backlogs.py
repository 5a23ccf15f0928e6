"""Backlogs: the waiting jobs of a type and queue that runners have refused, and how many of them are fed when."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from services.jobs.rules.entities import Backlog, ListKey, QueueStats

#: A runner that was seen within this time is there.
SEEN = timedelta(minutes=1)
#: If nobody has refused a job for so long, all runners that take it serve it.
CALM = timedelta(seconds=10)
#: So many times as many are fed as were granted since: of the runners that take them a part refuses, up to nine of ten
#: where the others still get more and more.
_GROWTH = 16
_LIMIT_MAX = 1000
#: How many jobs try whether anybody serves them, and how many where somebody is known to.
_PROBES = 4
_PROBES_SERVED = 20
_WAIT_MIN = timedelta(seconds=0.5)
_WAIT_SERVED_MAX = timedelta(seconds=2)
# How many handlers are named of a list.
_NAMED = 20


@dataclass(frozen=True)
class BacklogState:
    """A backlog whose jobs may be fed.

    Attributes:
        handler: The `processing_logic_id` of its job type.
        refused: How many of its jobs were refused since it was fed; so is `granted`.
        wait: How long it has waited for this.
        served: Whether a runner that has the handler was seen in the last minute.
        calm: Whether nobody has refused any for a while.
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
    """How many jobs of a backlog are fed now, and when it is looked at again."""

    limit: int
    wait: timedelta


@dataclass(frozen=True)
class Note:
    """What this replica has seen of a backlog: how many claims' jobs, and whether a runner has the handler."""

    backlog: Backlog
    refused: int = 0
    granted: int = 0
    served: bool = False


@dataclass(frozen=True)
class Count:
    """How many jobs of a list wait for a handler that no runner has."""

    list: ListKey
    handler: str
    jobs: int


def next_feeding(state: BacklogState, wait_max: timedelta) -> Feeding:
    """Decides how a backlog goes on.

    What was granted says what the runners that serve it can take, and all that is fed beyond that goes round in vain.
    Without any grant a few jobs are fed to find out, soon if a runner is known that serves them.
    """
    if state.granted:
        return Feeding(min(max(_GROWTH * state.granted, _PROBES_SERVED), _LIMIT_MAX), _WAIT_MIN)
    longest = min(_WAIT_SERVED_MAX, wait_max) if state.served else wait_max
    wait = min(max(2 * state.wait, _WAIT_MIN), longest)
    # Where somebody is known to serve it, a turn in which others took all was bad luck.
    return Feeding(min(max(state.refused // 2, _PROBES_SERVED), _LIMIT_MAX) if state.served else _PROBES, wait)


def is_over(state: BacklogState, taken: int) -> bool:
    """Whether a backlog needs no care any more: all runners serve it, or nothing waits."""
    return state.calm and (state.granted > 0 or not taken)


def with_unserved(stats: Iterable[QueueStats], unserved: Sequence[Count]) -> list[QueueStats]:
    """Adds to the counts of queues what no runner serves."""
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
