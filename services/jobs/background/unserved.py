"""Jobs that wait for a runner that has their handler.

Runners say which handlers they serve. A job whose handler the claiming runner lacks stays PENDING and is withheld from
the queue, for another runner. From then on the jobs of its type and queue (a backlog) are fed to the queue a few at a
time and not by the dispatcher: quickly while runners take them, ever more slowly while nobody does, so that neither in
a rolling upgrade nor for a type without any runner do IDs go round between the lists and runners that can't have them.
All that replicas have to know of each other is in the table `unserved_types`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any, Protocol

import structlog

from services.jobs.metrics import JOBS, UNSERVED
from services.jobs.rules.entities import Backlog, ListKey, QueueStats, Waiting
from services.jobs.rules.job_types import Priority
from services.jobs.usecases.ports import Queue
from services.jobs.usecases.repositories import Claim, Claimed, JobRepository, Lane
from services.kit.data.transactions.ambient import Transactions

log = structlog.get_logger(__name__)

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
_BACKLOGS = 100
_TOLD_EVERY_SECONDS = 60.0
# How many handlers are named of a list.
_NAMED = 20
# How often backlogs of other replicas are looked for while none is known.
_IDLE_SECONDS = 5.0


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


class UnservedRepository(Protocol):
    """The backlogs, on SQLAlchemy and in memory."""

    async def note(self, notes: Sequence[Note]) -> None:
        """Adds what was seen; a backlog that jobs were refused of is there from now on."""
        ...

    async def due(self, limit: int) -> list[BacklogState]:
        """Answers backlogs that may be fed, locked; those that another replica is at are left out, and paused ones."""
        ...

    async def fed(self, backlog: Backlog, wait: timedelta) -> None:
        """Counts anew, and has the backlog wait."""
        ...

    async def drop(self, backlog: Backlog) -> None:
        """Leaves the backlog's jobs to the dispatcher again."""
        ...

    async def backlogs(self) -> Mapping[Backlog, str]:
        """Answers all backlogs, and their handlers."""
        ...

    async def counts(self) -> list[Count]:
        """Counts the waiting jobs of backlogs whose handler no runner of the last minute has."""
        ...


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


class UnservedJobs:
    """Feeds the backlogs, and tells of them.

    Args:
        transactions: Where they begin.
        backlogs: The stored backlogs.
        jobs: The stored jobs.
        queue: Takes the IDs of jobs that are fed.
        wait_max: How long a backlog that nobody serves waits between two tries at most.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        backlogs: UnservedRepository,
        jobs: JobRepository,
        queue: Queue,
        *,
        wait_max: timedelta,
    ) -> None:
        self.transactions = transactions
        self._stored = backlogs
        self._jobs = jobs
        self._queue = queue
        self._wait_max = wait_max
        self._backlogs: Mapping[Backlog, str] = {}
        self._refused: Counter[Backlog] = Counter()
        self._granted: Counter[Backlog] = Counter()
        self._served: set[Backlog] = set()
        self._next: dict[tuple[Backlog, ListKey], Lane] = {}
        self._looked_at = -_IDLE_SECONDS
        self._told_at = -_TOLD_EVERY_SECONDS

    def claimed(self, claim: Claim, claimed: Claimed) -> None:
        """Notes what a claim tells of the backlogs."""
        if claimed.unserved:
            self._refused.update(claimed.unserved)
        if not self._backlogs:
            return
        for one in claimed.jobs:
            backlog = Backlog(one.job.queue, one.job.job_type_id)
            if backlog in self._backlogs:
                self._granted[backlog] += 1
        self._served.update(backlog for backlog, handler in self._backlogs.items() if claim.has(handler, backlog.queue))

    def refused(self, backlogs: Iterable[Backlog]) -> None:
        """Notes jobs that their runner has handed back because it can't run them."""
        self._refused.update(backlogs)

    async def round(self) -> bool:
        """Stores what was noted and feeds the backlogs that are due; returns that there is no more to do at once."""
        notes, over = self._take_notes(), []
        if not notes and not self._backlogs and monotonic() - self._looked_at < _IDLE_SECONDS:
            return False
        self._looked_at = monotonic()
        async with self.transactions.begin():
            if notes:
                await self._stored.note(notes)
            due = [(state, next_feeding(state, self._wait_max)) for state in await self._stored.due(_BACKLOGS)]
            for state, feeding in due:
                await self._stored.fed(state.backlog, feeding.wait)
            backlogs = await self._stored.backlogs()
        problem: Exception | None = None
        for state, feeding in due:
            try:
                if await self._feed(state, feeding.limit):
                    over.append(state.backlog)
            except Exception as error:  # noqa: BLE001 - raised when the others have been fed
                problem = problem or error
        self._backlogs = {backlog: handler for backlog, handler in backlogs.items() if backlog not in over}
        if over:
            self._queue.wake(*(ListKey(backlog.queue, priority) for backlog in over for priority in Priority))
        await self._tell()
        if problem is not None:
            raise problem
        return False

    async def _feed(self, state: BacklogState, limit: int) -> bool:
        """Feed one backlog, whatever becomes of the others; return whether it needs no care any more."""
        async with self.transactions.begin():
            taken = await self._take(state.backlog, limit)
            self._hand_over(taken)
            over = is_over(state, len(taken))
            if over:
                await self._stored.drop(state.backlog)
        JOBS.labels("unserved", "handed_over").inc(len(taken))
        return over

    def _take_notes(self) -> list[Note]:
        """What was noted, once: if the round fails with it, the next claims tell the same again."""
        noted = sorted({*self._refused, *self._granted, *self._served})
        notes = [Note(one, self._refused[one], self._granted[one], one in self._served) for one in noted]
        self._refused.clear()
        self._granted.clear()
        self._served.clear()
        return notes

    async def _take(self, backlog: Backlog, limit: int) -> list[Waiting]:
        taken: list[Waiting] = []
        for priority in Priority:
            if len(taken) < limit:
                taken += await self._take_turns(backlog, ListKey(backlog.queue, priority), limit - len(taken))
        return taken

    async def _take_turns(self, backlog: Backlog, key: ListKey, limit: int) -> list[Waiting]:
        """Goes on with the customer whose turn is next: each has one before anybody has a second one."""
        first = self._next.pop((backlog, key), None)
        turns = await self._jobs.take_withheld(key, limit, first=first, only=backlog.job_type_id)
        taken = list(turns.jobs)
        if first is not None and turns.following is None and len(taken) < limit:
            # All after it have had theirs: it is the first ones' again.
            turns = await self._jobs.take_withheld(key, limit - len(taken), only=backlog.job_type_id)
            taken += turns.jobs
        if turns.following is not None:
            self._next[backlog, key] = turns.following
        return taken

    def _hand_over(self, taken: Sequence[Waiting]) -> None:
        if taken:
            # In front: they were in the queue before, and their runner shall not wait for what came after them.
            self.transactions.after_commit(lambda: self._queue.put(taken, first=True))

    async def _tell(self) -> None:
        """Tells the log and Prometheus what nobody serves."""
        if monotonic() - self._told_at < _TOLD_EVERY_SECONDS:
            return
        self._told_at = monotonic()
        async with self.transactions.begin(read_only=True):
            found = await self._stored.counts()
        jobs: Counter[tuple[str, str]] = Counter()
        for one in found:
            jobs[one.list.queue, one.handler] += one.jobs
        UNSERVED.clear()
        for (queue, handler), waiting in sorted(jobs.items()):
            UNSERVED.labels(queue, handler).set(waiting)
            log.warning("no runner has the handler", handler=handler, queue=queue, jobs=waiting)
