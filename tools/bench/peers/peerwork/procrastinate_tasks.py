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
    """Do a job."""
    # The first task opens the pool, because workers emit no event at their start.
    await pool.open()
    async with pool.connection() as database:
        await work.work_async(database, job_id)
