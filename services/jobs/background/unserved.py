"""Jobs that wait for a runner that has their handler.

Runners say which handlers they serve. A job whose handler the claiming runner lacks stays PENDING and is withheld from
the queue, for another runner. From then on the jobs of its type and queue (a backlog) are fed to the queue a few at a
time and not by the dispatcher: quickly while runners take them, ever more slowly while nobody does, so that neither in
a rolling upgrade nor for a type without any runner do IDs go round between the lists and runners that can't have them.
All that replicas have to know of each other is in the table `unserved_types`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Any

import structlog

from services.jobs.metrics import JOBS, UNSERVED
from services.jobs.rules.backlogs import BacklogState, Note, is_over, next_feeding
from services.jobs.rules.entities import Backlog, Lane, ListKey, Waiting
from services.jobs.rules.job_types import Priority
from services.jobs.rules.leasing import Claim, Claimed
from services.jobs.usecases.ports import JobRepository, Queue, UnservedRepository
from services.kit.data.transactions.ambient import Transactions

log = structlog.get_logger(__name__)

_BACKLOGS = 100
_TOLD_EVERY_SECONDS = 60.0
# How often backlogs of other replicas are looked for while none is known.
_IDLE_SECONDS = 5.0


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
