"""Runners in memory, for tests."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from typing_extensions import override

from services.jobs.rules.runners import (
    RUNNERS_MAX,
    Announcement,
    Gone,
    Runner,
    RunnerState,
    belongs_to,
    gone_for_good,
    state_at,
)
from services.jobs.usecases.ports import NotNoted, RunnerRepository
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.query import memory
from services.kit.query.page import ListQuery, Page


class MemoryRunners(RunnerRepository):
    """The runners of a `MemoryStore`. The state of a stored row is the one that was announced."""

    def __init__(
        self, transactions: MemoryTransactions, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._transactions = transactions
        self.now = now

    @override
    async def note(self, announcements: Sequence[Announcement], most: int = RUNNERS_MAX) -> NotNoted:
        of_others: set[tuple[UUID, str]] = set()
        for one in announcements:
            before = self._rows.get(one.runner_id)
            if before is not None and not belongs_to(before.announced_by, one.announced_by):
                of_others.add((one.runner_id, one.announced_by))
            elif before is not None or len(self._rows) < most:
                self._rows[one.runner_id] = self._noted(before, one)
        return NotNoted(of_others=of_others)

    def _noted(self, before: Runner | None, one: Announcement) -> Runner:
        seen = self.now() - one.age
        return Runner(
            id=one.runner_id,
            state=one.state if before is None else max(before.state, one.state, key=lambda state: state.value),
            host=one.host,
            process_id=one.process_id,
            version=one.version,
            language=one.language,
            queues=list(one.queues),
            handlers=list(one.handlers),
            slots=one.slots,
            busy=one.busy,
            processes=one.processes,
            started_at=seen - one.uptime if before is None else before.started_at,
            last_seen_at=seen if before is None else max(seen, before.last_seen_at),
            announced_by=one.announced_by if before is None else before.announced_by or one.announced_by,
        )

    @override
    async def get(self, runner_id: UUID) -> Runner | None:
        return next((one for one in self._runners() if one.id == runner_id), None)

    @override
    async def list_page(self, query: ListQuery) -> Page[Runner]:
        return memory.apply(self._runners(), query)

    @override
    async def active(self) -> tuple[Mapping[str, int], int]:
        active = [one for one in self._runners() if one.state is RunnerState.ACTIVE]
        return Counter(queue for one in active for queue in set(one.queues)), sum(not one.queues for one in active)

    @override
    async def delete_gone(self, kept: Gone) -> int:
        gone = gone_for_good(self._runners(), self.now(), kept)
        for runner_id in gone:
            del self._rows[runner_id]
        return len(gone)

    def _runners(self) -> list[Runner]:
        now = self.now()
        return [replace(one, state=state_at(one.state, one.last_seen_at, now)) for one in self._rows.values()]

    @property
    def _rows(self) -> dict[UUID, Runner]:
        return self._transactions.resource.tables.setdefault("runners", {})
