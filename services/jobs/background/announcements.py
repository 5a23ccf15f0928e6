"""Stores what runners say about themselves, apart from the calls in which they say it.

Runners repeat themselves every ten seconds. Their announcements are collected and stored together, one statement for
all of a second, so that a thousand runners cost a small statement a second, and no claim ever waits for the table.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import structlog

from services.jobs.rules.runners import Announcement, Gone, newer
from services.jobs.usecases.ports import RunnerRepository
from services.kit.batching.dividing import divided
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

# Announcements beyond this number are dropped: those of known runners come again.
_KEPT_MAX = 2000
_BATCH = 500
_GONE = Gone()


class StoredAnnouncements:
    """The announcements of this process until they are stored, and the deletion of runners that are gone.

    Args:
        transactions: The transactions of the jobs database.
        runners: The stored runners.
    """

    def __init__(self, transactions: Transactions[Any], runners: RunnerRepository) -> None:
        self.transactions = transactions
        self._runners = runners
        # By runner and caller: one caller must not replace what another has said. With the time of their receipt.
        self._waiting: dict[tuple[UUID, str], tuple[Announcement, float]] = {}

    def put(self, announcement: Announcement) -> None:
        """Note an announcement; it replaces an earlier one of the same runner by the same caller."""
        key = _key(announcement)
        before, _ = self._waiting.get(key, (None, 0.0))
        if before is not None or len(self._waiting) < _KEPT_MAX:
            self._waiting[key] = (newer(before, announcement), monotonic())

    async def round(self) -> bool:
        """Store the announcements that wait; return whether more are waiting.

        Those of rows that are locked wait for the next round, and after a failure of the database all do.
        """
        batch = [self._waiting.pop(key) for key in list(self._waiting)[:_BATCH]]
        if not batch:
            return False
        locked: set[UUID] = set()
        of_others: set[tuple[UUID, str]] = set()

        async def store(some: Sequence[tuple[Announcement, float]]) -> None:
            now = monotonic()
            noted = [replace(one, age=timedelta(seconds=now - received)) for one, received in some]
            async with self.transactions.begin():
                left = await self._runners.note(noted)
                locked.update(left.locked)
                of_others.update(left.of_others)

        try:
            culprits = await divided(batch, store)
            if len(culprits) == len(batch):
                # Not the fault of an announcement, but of the table.
                raise culprits[0][1]
        except Exception:
            self._return(batch)
            raise
        self._return([one for one in batch if one[0].runner_id in locked and _key(one[0]) not in of_others])
        if of_others:
            # One line a round, whatever is made up.
            runner_id, caller = min(of_others)
            log.warning("runner_of_another", runner_id=str(runner_id), caller=caller, announcements=len(of_others))
        for (announcement, _), error in culprits:
            description = f"{type(error).__name__}: {error}".partition("\n")[0]
            log.error("runner_not_noted", runner_id=str(announcement.runner_id), error=description)
        return len(batch) == _BATCH

    def _return(self, batch: Sequence[tuple[Announcement, float]]) -> None:
        """Let announcements wait again, unless their runner has made another one."""
        for one in batch:
            self._waiting.setdefault(_key(one[0]), one)

    async def flush(self) -> None:
        """Store what waits once, before the process ends: the last words of runners are not said again."""
        try:
            await self.round()
        except DomainError as error:
            log.warning("runners_not_noted", error=str(error))

    async def delete_gone(self) -> bool:
        """Delete runners that ended or were not seen for too long; return False: the next round can wait."""
        async with self.transactions.begin():
            await self._runners.delete_gone(_GONE)
        return False


def _key(announcement: Announcement) -> tuple[UUID, str]:
    return announcement.runner_id, announcement.announced_by
