"""Runners: who takes jobs from which queues, and which handlers they have."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from services.jobs.rules.errors import RunnerNotFound
from services.jobs.rules.runners import Announcement, Runner
from services.jobs.usecases.ports import Announcements, RunnerRepository
from services.kit.auth.tenants import Tenants
from services.kit.data.transactions.ambient import Isolation, Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import InvalidField
from services.kit.query.page import ListQuery, Page


class RunnerService:
    """The use cases of the list of runners.

    Args:
        transactions: The transactions of the jobs database.
        runners: The stored runners.
        announcements: Stores what runners say, apart from their calls.
    """

    def __init__(
        self, transactions: Transactions[Any], runners: RunnerRepository, announcements: Announcements
    ) -> None:
        self.transactions = transactions
        self._runners = runners
        self._announcements = announcements

    def announced(self, announcement: Announcement, tenants: Tenants) -> None:
        """Note what a runner says about itself. It is listed about a second later, unless it belongs to another caller.

        Raises:
            InvalidField: If it takes jobs from queues that it is not bound to.
        """
        if tenants.queues is not None:
            foreign = ", ".join(sorted({one for one in announcement.queues if not tenants.serve(one)}))
            if foreign:
                raise InvalidField.of("queues", f"must be among those that the credentials are for, unlike {foreign}")
            # One that does not say takes no others.
            announcement = replace(announcement, queues=announcement.queues or sorted(tenants.queues))
        self._announcements.put(announcement)

    @transactional(read_only=True)
    async def get(self, runner_id: UUID) -> Runner:
        """Return a runner.

        Raises:
            RunnerNotFound: If the runner is unknown.
        """
        runner = await self._runners.get(runner_id)
        if runner is None:
            raise RunnerNotFound(runner_id)
        return runner

    @transactional(read_only=True, isolation=Isolation.REPEATABLE_READ)
    async def list_page(self, query: ListQuery) -> Page[Runner]:
        """Return a page of runners."""
        return await self._runners.list_page(query)
