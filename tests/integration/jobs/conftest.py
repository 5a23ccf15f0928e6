"""Two processes' pools on one database of the jobs service."""

from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr

from services.kit.data.engine.database import Database
from services.kit.settings import DatabaseSettings


@pytest.fixture
def jobs_url(fresh_database: Callable[[str], str]) -> str:
    """A database that the test has for itself."""
    return fresh_database("jobs")


@pytest.fixture
async def databases(jobs_url: str) -> AsyncIterator[list[Database]]:
    """The pools of two processes on it."""
    # What these tests have wait for one another has as much time as the machine takes.
    settings = DatabaseSettings(url=SecretStr(jobs_url), lock_timeout_seconds=10)
    pools = [Database.connect(settings, application_name=f"test-{n}") for n in range(2)]
    yield pools
    for pool in pools:
        await pool.close()
