"""Jobs that wait for a runner that has their handler.

Runners report which handlers they serve. A job whose handler the claiming runner lacks stays PENDING and is withheld,
for another runner. From then on the jobs of its type and queue (a backlog) are fed to the list a few at a time by this
module instead of the dispatcher: quickly while runners take them, ever more slowly while none does. So IDs do not
circulate between the lists and runners that refuse them, neither in a rolling upgrade nor for a type without runners.
The table `unserved_types` holds all that replicas share.
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
from services.jobs.rules.transitions.leasing import Claim, Claimed
from services.jobs.usecases.ports import JobRepository, Queue, UnservedRepository
from services.kit.data.transactions.ambient import Transactions

log = structlog.get_logger(__name__)

_BACKLOGS = 100
_REPORT_EVERY_SECONDS = 60.0
# The interval of looking for backlogs of other replicas while none is known.
_IDLE_SECONDS = 5.0


class UnservedJobs:
    """The feed of the backlogs, and the report of unserved handlers.

    Args:
        transactions: The transactions of the jobs database.
        backlogs: The stored backlogs.
        jobs: The stored jobs.
        queue: Dispatches the jobs that are fed.
        wait_max: The longest wait between two tries of a backlog that no runner serves.
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
        self._reported_at = -_REPORT_EVERY_SECONDS

    def claimed(self, claim: Claim, claimed: Claimed) -> None:
        """Note what a claim shows about the backlogs."""
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
        """Note jobs that a runner has returned because it lacks their handler."""
        self._refused.update(backlogs)

    async def round(self) -> bool:
        """Store the notes and feed the backlogs that are due; return False: the next round can wait."""
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
        failure: Exception | None = None
        for state, feeding in due:
            try:
                if await self._feed(state, feeding.limit):
                    over.append(state.backlog)
            except Exception as error:  # noqa: BLE001 - raised when the others have been fed
                failure = failure or error
        self._backlogs = {backlog: handler for backlog, handler in backlogs.items() if backlog not in over}
        if over:
            self._queue.wake(*(ListKey(backlog.queue, priority) for backlog in over for priority in Priority))
        await self._report()
        if failure is not None:
            raise failure
        return False

    async def _feed(self, state: BacklogState, limit: int) -> bool:
        """Feed one backlog, in a transaction of its own; return whether the backlog is over."""
        async with self.transactions.begin():
            taken = await self._take(state.backlog, limit)
            self._dispatch(taken)
            over = is_over(state, len(taken))
            if over:
                await self._stored.drop(state.backlog)
        JOBS.labels("unserved", "handed_over").inc(len(taken))
        return over

    def _take_notes(self) -> list[Note]:
        """Return and clear the notes. If the round fails they are lost: the next claims bring the same ones."""
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
        """Resume with the customer whose turn is next: each customer has a turn before any has a second one."""
        first = self._next.pop((backlog, key), None)
        turns = await self._jobs.take_withheld(key, limit, first=first, only=backlog.job_type_id)
        taken = list(turns.jobs)
        if first is not None and turns.following is None and len(taken) < limit:
            # All following customers have had their turn: start over with the first.
            turns = await self._jobs.take_withheld(key, limit - len(taken), only=backlog.job_type_id)
            taken += turns.jobs
        if turns.following is not None:
            self._next[backlog, key] = turns.following
        return taken

    def _dispatch(self, taken: Sequence[Waiting]) -> None:
        if taken:
            # In front: these jobs were in the list before, and must not wait behind later ones.
            self.transactions.after_commit(lambda: self._queue.put(taken, first=True))

    async def _report(self) -> None:
        """Log and export the handlers that no runner serves."""
        if monotonic() - self._reported_at < _REPORT_EVERY_SECONDS:
            return
        self._reported_at = monotonic()
        async with self.transactions.begin(read_only=True):
            found = await self._stored.counts()
        jobs: Counter[tuple[str, str]] = Counter()
        for one in found:
            jobs[one.list.queue, one.handler] += one.jobs
        UNSERVED.clear()
        for (queue, handler), waiting in sorted(jobs.items()):
            UNSERVED.labels(queue, handler).set(waiting)
            log.warning("handler_missing", handler=handler, queue=queue, jobs=waiting)
