"""What the jobs service asks of the lists that runners take IDs from."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from services.jobs.rules.entities import ListKey, Waiting


class QueueUnavailable(Exception):
    """The queue did not take the IDs, or did not say so in time."""


class Lists(Protocol):
    """The lists that runners take IDs from. One that can't be used has no part in the others."""

    async def push(self, jobs: Sequence[Waiting], *, first: bool = False) -> Mapping[ListKey, int]:
        """Add jobs, each to the list of its queue and priority, in this order; `first` for before all others.

        Returns:
            How long the lists are now. One that refused its jobs is left out.

        Raises:
            QueueUnavailable: If it is not known of any list that its jobs were added.
        """
        ...

    async def lengths(self, keys: Sequence[ListKey]) -> Mapping[ListKey, int]:
        """Return how long lists are. One that can't be used is left out.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def names(self) -> list[ListKey]:
        """Return all lists that hold anything, also those that no job waits in.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def read(self, key: ListKey) -> list[UUID]:
        """Return all IDs of a list; what is no ID is left out.

        Raises:
            QueueUnavailable: If there was no answer.
        """
        ...

    async def remove(self, key: ListKey, job_ids: Collection[UUID]) -> None:
        """Remove IDs from a list.

        Raises:
            QueueUnavailable: If it is not known that all were removed.
        """
        ...

    async def take_back(self, key: ListKey, count: int) -> list[UUID]:
        """Remove IDs from the end of a list, where the newest are, and return them.

        Raises:
            QueueUnavailable: If it is not known which were removed. They are found missing, and pushed again.
        """
        ...
