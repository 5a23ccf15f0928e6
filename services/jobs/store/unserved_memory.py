"""The backlogs in memory, for tests."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from typing_extensions import override

from services.jobs.rules.backlogs import CALM, SEEN, BacklogState, Count, Note
from services.jobs.rules.entities import Backlog, Job, JobStatus, ListKey
from services.jobs.rules.job_types import JobType
from services.jobs.usecases.ports import UnservedRepository
from services.kit.data.transactions.memory import MemoryTransactions


@dataclass(frozen=True)
class _Row:
    refused_at: datetime
    feed_at: datetime
    served_at: datetime | None = None
    wait: timedelta = field(default_factory=timedelta)
    refused: int = 0
    granted: int = 0


class MemoryUnserved(UnservedRepository):
    """The backlogs of a `MemoryStore`."""

    def __init__(
        self, transactions: MemoryTransactions, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._transactions = transactions
        self.now = now

    @override
    async def note(self, notes: Sequence[Note]) -> None:
        now = self.now()
        for one in notes:
            if one.refused and one.backlog.job_type_id in self._types:
                self._rows.setdefault(one.backlog, _Row(refused_at=now, feed_at=now))
            row = self._rows.get(one.backlog)
            if row is None:
                continue
            self._rows[one.backlog] = replace(
                row,
                refused=row.refused + one.refused,
                granted=row.granted + one.granted,
                refused_at=now if one.refused else row.refused_at,
                feed_at=now if one.served and not self._is_served(row) else row.feed_at,
                served_at=now if one.served else row.served_at,
            )

    @override
    async def due(self, limit: int) -> list[BacklogState]:
        now = self.now()
        queues = self._table("queues")
        return [
            BacklogState(
                backlog,
                self._types[backlog.job_type_id].processing_logic_id,
                row.refused,
                row.granted,
                row.wait,
                served=self._is_served(row),
                calm=row.refused_at < now - CALM,
            )
            for backlog, row in sorted(self._rows.items(), key=lambda one: one[1].feed_at)
            if row.feed_at <= now and not self._types[backlog.job_type_id].paused and not queues.get(backlog.queue)
        ][:limit]

    @override
    async def fed(self, backlog: Backlog, wait: timedelta) -> None:
        self._rows[backlog] = replace(self._rows[backlog], feed_at=self.now() + wait, wait=wait, refused=0, granted=0)

    @override
    async def drop(self, backlog: Backlog) -> None:
        del self._rows[backlog]

    @override
    async def backlogs(self) -> Mapping[Backlog, str]:
        return {backlog: self._types[backlog.job_type_id].processing_logic_id for backlog in self._rows}

    @override
    async def counts(self) -> list[Count]:
        jobs: Counter[tuple[ListKey, str]] = Counter()
        stored: Mapping[Any, Job] = self._table("jobs")
        for job in stored.values():
            row = self._rows.get(Backlog(job.queue, job.job_type_id))
            if row is not None and job.status is JobStatus.PENDING and not self._is_served(row):
                jobs[ListKey(job.queue, job.priority), self._types[job.job_type_id].processing_logic_id] += 1
        return [Count(key, handler, count) for (key, handler), count in sorted(jobs.items())]

    def _is_served(self, row: _Row) -> bool:
        return row.served_at is not None and row.served_at > self.now() - SEEN

    @property
    def _rows(self) -> dict[Backlog, _Row]:
        return self._table("unserved_types")

    @property
    def _types(self) -> dict[Any, JobType]:
        return self._table("job_types")

    def _table(self, name: str) -> dict[Any, Any]:
        return self._transactions.resource.tables.setdefault(name, {})
