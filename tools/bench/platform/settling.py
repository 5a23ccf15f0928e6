"""Queries of the jobs database: whether all jobs are settled, how many are, and when handlers were entered.

SQL instead of calls, so that polling costs the services nothing. Partial indexes with few entries serve each query.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Self
from uuid import UUID

import psycopg

from tools.errors import CommandError

#: The name of these connections in PostgreSQL's own statistics.
APPLICATION = "innosystem-bench"

_POLL_SECONDS = 0.02
_SETTLED_SECONDS_MAX = 1800.0

_UNSETTLED = """
    SELECT EXISTS (SELECT FROM jobs WHERE status = 'RUNNING' OR (status = 'PENDING' AND dispatched_at IS NOT NULL))
        OR EXISTS (SELECT FROM jobs WHERE status = 'PENDING' AND dispatched_at IS NULL)
        OR EXISTS (SELECT FROM jobs WHERE billing_status IN ('CHARGE_DUE', 'RELEASE_DUE', 'DECLINED'))
"""
_SETTLED_SINCE = """
    SELECT count(*) FROM jobs
    WHERE completed_at IS NOT NULL AND completed_at >= to_timestamp(%s) AND billing_status = 'CHARGED'
"""
_ENTERED = "SELECT id, (output_data->>'entered_ns')::bigint FROM jobs WHERE id = ANY(%s) AND status = 'SUCCEEDED'"


class JobsReader:
    """A reader of the jobs database.

    Args:
        connection: A connection to that database, in autocommit.
    """

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str) -> AsyncIterator[Self]:
        """Connect for the time of the block."""
        # The young table is not analysed yet: without statistics a query may read all of it.
        options = "-c enable_seqscan=off"
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, options=options, application_name=APPLICATION
        ) as connection:
            yield cls(connection)

    async def until_settled(self) -> float:
        """Wait until no job is waiting, running or due to be charged.

        Returns:
            The machine's monotonic clock at that moment.

        Raises:
            CommandError: The wait takes too long.
        """
        limit = time.monotonic() + _SETTLED_SECONDS_MAX
        while await self._one(_UNSETTLED):
            if time.monotonic() > limit:
                raise CommandError(f"the jobs are not settled after {_SETTLED_SECONDS_MAX:g} s; see the stack's logs")
            await asyncio.sleep(_POLL_SECONDS)
        return time.monotonic()

    async def vacuum(self) -> None:
        """Vacuum and analyse the jobs."""
        await self._connection.execute("VACUUM (ANALYZE) jobs")

    async def until_charged(self, count: int, since: float) -> tuple[int, float]:
        """Wait until enough of the jobs completed since a time are charged.

        Args:
            count: The least number of charged jobs.
            since: Seconds since the epoch.

        Returns:
            The number of charged jobs, and the machine's monotonic clock at that moment.

        Raises:
            CommandError: The wait takes too long.
        """
        limit = time.monotonic() + _SETTLED_SECONDS_MAX
        while (charged := await self._one(_SETTLED_SINCE, since)) < count:
            if time.monotonic() > limit:
                raise CommandError(f"only {charged} jobs are charged after {_SETTLED_SECONDS_MAX:g} s")
            await asyncio.sleep(_POLL_SECONDS)
        return charged, time.monotonic()

    async def entered_ns(self, job_ids: Collection[str]) -> dict[str, int]:
        """Return when handlers were entered, by job, on the machine's monotonic clock."""
        found = await self._connection.execute(_ENTERED, [[UUID(job_id) for job_id in job_ids]])
        return {str(job_id): entered for job_id, entered in await found.fetchall()}

    async def _one(self, statement: str, *parameters: object) -> int:
        row = await (await self._connection.execute(statement, parameters)).fetchone()
        if row is None:
            raise RuntimeError("a query for one row returned none")
        return int(row[0])
