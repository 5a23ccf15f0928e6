"""Submit jobs to a peer: `python -m peerwork.submit PEER`.

The process receives a task, reports readiness, waits for the signal to begin, and sends when it began and ended. Each
message is a line of JSON on its standard input or output.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from psycopg_pool import AsyncConnectionPool

from . import work

_CONNECTIONS = 16

Enqueue = Callable[[str], object]
EnqueueAsync = Callable[[str], Awaitable[object]]


def main() -> None:
    """Read the task and submit its jobs."""
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    jobs = [(uuid4(), task["wallets"][number % len(task["wallets"])]) for number in range(task["jobs"])]
    name = sys.argv[1]
    if name in _ASYNC:
        asyncio.run(_submit_async(_ASYNC[name], jobs, task["callers"]))
    else:
        _submit(_BLOCKING[name](), jobs, task["callers"])


def _submit(enqueue: Enqueue, jobs: list[tuple[UUID, str]], callers: int) -> None:
    waiting = iter(jobs)
    lock = threading.Lock()
    failed: list[BaseException] = []
    # A connection and a thread for each caller, opened before the clock runs.
    connected, start = threading.Barrier(callers + 1), threading.Event()

    def take() -> tuple[UUID, str] | None:
        with lock:
            return next(waiting, None)

    def caller() -> None:
        work.connection()
        connected.wait()
        start.wait()
        try:
            while not failed and (job := take()) is not None:
                work.submit(*job)
                enqueue(str(job[0]))
        except BaseException as error:  # noqa: BLE001 - raised by the main thread
            failed.append(error)

    threads = [threading.Thread(target=caller, daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    connected.wait()
    _wait_for_go()
    began = time.monotonic()
    start.set()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    _send({"began": began, "ended": time.monotonic()})


async def _submit_async(open_peer: Callable[[], Any], jobs: list[tuple[UUID, str]], callers: int) -> None:
    waiting: Iterator[tuple[UUID, str]] = iter(jobs)
    pool = AsyncConnectionPool(
        work.database_url(), kwargs={"autocommit": True}, min_size=_CONNECTIONS, max_size=_CONNECTIONS, open=False
    )
    async with pool, open_peer() as enqueue:
        await pool.wait()

        async def caller() -> None:
            for job_id, wallet_id in waiting:
                async with pool.connection() as database:
                    await work.submit_async(database, job_id, wallet_id)
                await enqueue(str(job_id))

        _wait_for_go()
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(callers):
                tasks.create_task(caller())
        _send({"began": began, "ended": time.monotonic()})


def _dramatiq() -> Enqueue:
    from .dramatiq_tasks import run

    return run.send


def _celery() -> Enqueue:
    from .celery_tasks import run

    def enqueue(job_id: str) -> object:
        return run.apply_async((job_id,), ignore_result=True)

    return enqueue


@asynccontextmanager
async def _taskiq() -> AsyncIterator[EnqueueAsync]:
    from .taskiq_tasks import broker, run

    await broker.startup()
    yield run.kiq
    await broker.shutdown()


@asynccontextmanager
async def _procrastinate() -> AsyncIterator[EnqueueAsync]:
    from .procrastinate_tasks import app, run

    async def enqueue(job_id: str) -> object:
        return await run.defer_async(job_id=job_id)

    async with app.open_async():
        yield enqueue


_BLOCKING: dict[str, Callable[[], Enqueue]] = {"dramatiq": _dramatiq, "celery": _celery}
_ASYNC: dict[str, Callable[[], Any]] = {"taskiq": _taskiq, "procrastinate": _procrastinate}


def _wait_for_go() -> None:
    _send({"ready": True})
    if not sys.stdin.readline():
        sys.exit("the process that started this one is gone")


def _send(result: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
