"""The work as a task of taskiq."""

from psycopg_pool import AsyncConnectionPool
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker

from . import work

_CONNECTIONS = 8

broker = ListQueueBroker(work.redis_url())
pool = AsyncConnectionPool(
    work.database_url(), kwargs={"autocommit": True}, min_size=_CONNECTIONS, max_size=_CONNECTIONS, open=False
)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(state: TaskiqState) -> None:
    """Connect to the database."""
    await pool.open(wait=True)


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def stop(state: TaskiqState) -> None:
    """Close the connections."""
    await pool.close()


@broker.task
async def run(job_id: str) -> None:
    """Do a job."""
    async with pool.connection() as database:
        await work.work_async(database, job_id)
