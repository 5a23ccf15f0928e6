"""The jobs repositories on both implementations, and what a test needs to fill them."""

import pytest

from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from tests.conftest import OpenDatabase
from tests.support.jobs_work import BeginJobs, memory_work, sql_work
from tests.support.work import Begin


@pytest.fixture(params=["memory", "postgresql"])
async def begin(request: pytest.FixtureRequest, rolled_back: OpenDatabase) -> BeginJobs:
    """Begins a transaction on one implementation, which is empty when the test starts."""
    if request.param == "memory":
        memory = MemoryTransactions()
        return Begin(lambda: memory_work(memory))
    transactions = SqlTransactions(await rolled_back("jobs"))
    return Begin(lambda: sql_work(transactions))
