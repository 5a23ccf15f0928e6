"""Lists of job IDs in memory, which can be unavailable, and tell when something happened to them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from services.jobs.rules.entities import ListKey, Waiting
from services.jobs.usecases.ports import QueueUnavailable

LIMIT_SECONDS = 10


class ListsForTests:
    """Stands in for the lists in Redis.

    Attributes:
        held: What each list holds, what is taken next first.
        pushed: All IDs that were ever pushed.
        broken: The lists that can't be used.
        attempts: How often something was to be pushed.
        refusals: How often it was asked for something while it was unavailable.
        longest: How long a list has been at most.
    """

    def __init__(self) -> None:
        self.held: dict[ListKey, list[UUID]] = defaultdict(list)
        self.pushed: list[UUID] = []
        self.available = True
        self.broken: set[ListKey] = set()
        self.attempts = 0
        self.refusals = 0
        self.longest = 0

    async def push(self, jobs: Sequence[Waiting], *, first: bool = False) -> Mapping[ListKey, int]:
        self.attempts += 1
        self._check()
        jobs = [job for job in jobs if not self._refuses(job.list)]
        for job in reversed(jobs) if first else jobs:
            held = self.held[job.list]
            held.insert(0 if first else len(held), job.id)
        self.pushed += [job.id for job in jobs]
        lengths = {job.list: len(self.held[job.list]) for job in jobs}
        self.longest = max([self.longest, *lengths.values()])
        return lengths

    async def lengths(self, keys: Sequence[ListKey]) -> Mapping[ListKey, int]:
        self._check()
        return {key: len(self.held[key]) for key in keys if not self._refuses(key)}

    async def names(self) -> list[ListKey]:
        self._check()
        return [key for key, held in self.held.items() if held]

    async def read(self, key: ListKey) -> list[UUID]:
        self._check()
        return list(self.held[key])

    async def remove(self, key: ListKey, job_ids: Collection[UUID]) -> None:
        self._check()
        self.held[key] = [one for one in self.held[key] if one not in job_ids]

    async def take_back(self, key: ListKey, count: int) -> list[UUID]:
        self._check()
        kept = max(len(self.held[key]) - count, 0)
        self.held[key], found = self.held[key][:kept], self.held[key][kept:]
        return found

    def taken(self, key: ListKey, count: int = 1) -> list[UUID]:
        """Take what is to be run next, as a runner does."""
        found, self.held[key] = self.held[key][:count], self.held[key][count:]
        return found

    def _refuses(self, key: ListKey) -> bool:
        self.refusals += key in self.broken
        return key in self.broken

    def _check(self) -> None:
        if not self.available:
            self.refusals += 1
            raise QueueUnavailable("away")
