"""The jobs repositories on both implementations, and what a test needs to fill them."""

from collections.abc import Callable

import pytest

from services.jobs.repository import JobsUnitOfWork
from services.jobs.repository_memory import MemoryJobsUnitOfWork
from services.jobs.repository_sql import SqlJobsUnitOfWork
from services.kit.data.unit_of_work import MemoryStore
from tests.conftest import OpenDatabase

BeginJobs = Callable[[], JobsUnitOfWork]


@pytest.fixture(params=["memory", "postgresql"])
async def begin(request: pytest.FixtureRequest, rolled_back: OpenDatabase) -> BeginJobs:
    """Begins a unit of work on one implementation, which is empty when the test starts."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: MemoryJobsUnitOfWork(store)
    database = await rolled_back("jobs")
    return lambda: SqlJobsUnitOfWork(database)
