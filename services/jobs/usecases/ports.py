"""What the use cases need from outside of the database. One implementation each, and fakes in tests."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from services.jobs.rules.completion import Settlement
from services.jobs.rules.entities import Backlog, Charge, ListKey, NewJob, Release, Waiting
from services.jobs.rules.job_types import JobType
from services.jobs.usecases.repositories import Claim, Claimed
from services.jobs.usecases.reservations import Hold, HoldWallets
from services.kit.errors import DomainError


class Customers(Protocol):
    """What the jobs service asks of the customers service."""

    async def active(self, customer_ids: Collection[UUID]) -> Mapping[UUID, bool | DomainError]:
        """Answers whether each customer is active; those that do not exist are left out.

        What could not be asked is answered as the error to fail with.
        """
        ...


class Wallets(HoldWallets, Protocol):
    """What the jobs service asks of the wallets service."""

    async def release_holds(self, releases: Sequence[Release]) -> list[Settlement | DomainError]:
        """Frees what is reserved for jobs; again it changes nothing.

        Returns:
            For each what became of it, or why that is not known.
        """
        ...

    async def clock_ahead(self) -> timedelta:
        """Answers how far the ledger's clock, which stamps holds, is ahead of our database's.

        Raises:
            DependencyUnavailable: If the wallets service does not answer.
        """
        ...

    async def read_hold(self, hold_id: UUID) -> Hold | DomainError:
        """Answers one hold as it is now, or why that is not known."""
        ...

    def active_holds(self, since: datetime, until: datetime) -> AsyncIterator[Sequence[Hold]]:
        """Answers the active holds that were placed in a time, the oldest first, page by page.

        Raises:
            DependencyUnavailable: If the wallets service does not answer.
        """
        ...

    async def deduct(self, charges: Sequence[Charge]) -> list[Settlement | DomainError]:
        """Makes charges, each under the key of its job.

        Returns:
            For each charge what became of it, or why that is not known.
        """
        ...


class JobTypes(Protocol):
    """The job types that submissions name."""

    async def resolve(self, wanted: Collection[UUID | str]) -> Mapping[UUID | str, JobType | DomainError]:
        """Answers those that exist, by the IDs and names that were asked for.

        What is stored and not understood is answered as the error to fail with.
        """
        ...

    def forget(self, wanted: Collection[UUID | str]) -> None:
        """Is told of job types that turned out to be gone."""
        ...


class Queue(Protocol):
    """Takes the IDs of waiting jobs to where runners find them. Never fails and never makes a caller wait."""

    def withheld(self, jobs: Sequence[NewJob], kinds: Mapping[UUID, JobType]) -> set[UUID]:
        """Return which jobs are not to be handed over now: a list is full, a customer has many in it, it is paused.

        Args:
            jobs: That are about to be stored.
            kinds: Their types.
        """
        ...

    def put(self, jobs: Sequence[Waiting], *, first: bool = False) -> None:
        """Hands jobs over that were stored as handed over; `first` for those that have waited before."""
        ...

    def wake(self, *lists: ListKey) -> None:
        """Is told that jobs were stored that are still to be handed over; of lists that are not named, too."""
        ...

    def expect(self, wait: timedelta) -> None:
        """Is told that a job will have to be handed over after this time."""
        ...


class Changes(Protocol):
    """Tells watchers, also those of other processes, that jobs have changed. Never fails and never waits."""

    def put(self, job_ids: Collection[UUID]) -> None:
        """Tells of jobs that have changed."""
        ...


class Unserved(Protocol):
    """Is told which jobs runners have no handler for. Never fails and never waits."""

    def claimed(self, claim: Claim, claimed: Claimed) -> None:
        """Is told of a claim and what became of it."""
        ...

    def refused(self, backlogs: Iterable[Backlog]) -> None:
        """Is told of jobs that were handed back because their runner can't run them."""
        ...
