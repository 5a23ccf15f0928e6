"""The work as a task of procrastinate, whose queue is in PostgreSQL."""

import procrastinate
from psycopg_pool import AsyncConnectionPool

from . import work

_CONNECTIONS = 8

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=work.database_url(), max_size=_CONNECTIONS))
pool = AsyncConnectionPool(
    work.database_url(), kwargs={"autocommit": True}, min_size=_CONNECTIONS, max_size=_CONNECTIONS, open=False
)


@app.task(name="run", queue="default")
async def run(job_id: str) -> None:
    """Does a job."""
    # Opened by the first task: there is no event for a worker's start.
    await pool.open()
    async with pool.connection() as database:
        await work.work_async(database, job_id)
