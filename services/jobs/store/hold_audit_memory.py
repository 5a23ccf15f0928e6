"""The progress of the hold auditor, in memory, for tests."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from typing_extensions import override

from services.jobs.rules.entities import Release
from services.jobs.usecases.ports import AuditProgress
from services.kit.data.transactions.memory import MemoryTransactions

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class MemoryAuditProgress(AuditProgress):
    """The progress of the hold auditor in a `MemoryStore`."""

    def __init__(self, transactions: MemoryTransactions, now: Callable[[], datetime]) -> None:
        self._transactions = transactions
        self._now = now

    @override
    async def window(self, age: timedelta) -> tuple[datetime, datetime]:
        return self._progress.get("done_until", _LONG_AGO), self._now() - age

    @override
    async def move(self, done_until: datetime) -> None:
        self._progress["done_until"] = max(self._progress.get("done_until", _LONG_AGO), done_until)

    @property
    def _progress(self) -> dict[str, datetime]:
        return self._transactions.resource.tables.setdefault("hold_audit", {})

    @override
    async def keep(self, unreleased: Sequence[Release], wait: timedelta) -> None:
        for one in unreleased:
            self._unreleased.setdefault(one.hold_id, _Unreleased(one, self._now() + wait))

    @override
    async def take(self, limit: int, wait: timedelta, longest: timedelta) -> list[Release]:
        now = self._now()
        due = [one for one in self._unreleased.values() if one.next_try_at <= now][:limit]
        for one in due:
            tries = one.tries + 1
            put_off = replace(one, tries=tries, next_try_at=now + min(wait * 2**one.tries, longest))
            self._unreleased[one.release.hold_id] = put_off
        return [one.release for one in due]

    @override
    async def forget(self, hold_ids: Collection[UUID]) -> None:
        for hold_id in hold_ids:
            self._unreleased.pop(hold_id, None)

    @override
    async def count(self) -> int:
        return len(self._unreleased)

    @property
    def _unreleased(self) -> "dict[UUID, _Unreleased]":
        return self._transactions.resource.tables.setdefault("unreleased_holds", {})


@dataclass(frozen=True)
class _Unreleased:
    release: Release
    next_try_at: datetime
    tries: int = 0
