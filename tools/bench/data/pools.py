"""The operations a second of a connection pool, by its size."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter, process_time
from uuid import UUID

from pydantic import SecretStr

from services.jobs.store.job_types_sql import SqlJobTypeRepository
from services.jobs.store.sql import SqlJobRepository
from services.jobs.usecases.ports import JobRepository
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from tools.bench.data.operations import JobOperations
from tools.bench.data.timings import percentile_ms

_SIZES = (1, 2, 4, 8, 16, 32)
_CALLERS = 64
# Waiting for a connection is part of the measurement, so it must not fail.
_WAIT_SECONDS_MAX = 60.0
# Each of 32 connections then executes each statement about 10 times; psycopg prepares it at the fifth.
_WARM_UP_ROUNDS = 5
_PERCENT = 100


def connect(url: str, connections: int) -> Database:
    """Return a pool of so many connections."""
    settings = DatabaseSettings(
        url=SecretStr(url),
        pool_size=connections,
        max_overflow=0,
        pool_timeout_seconds=_WAIT_SECONDS_MAX,
        slow_query_seconds=_WAIT_SECONDS_MAX,
    )
    return Database.connect(settings, application_name="innosystem-bench")


async def measure_pools(url: str, seconds: float, runs: int) -> list[dict[str, float]]:
    """Measure pools of several sizes, each with 64 concurrent callers.

    Args:
        url: The jobs service's database.
        seconds: The length of a run.
        runs: How many runs of each size.
    """
    job_ids = await _create_jobs(url)
    pools = [_Pool(url, size, job_ids) for size in _SIZES]
    # Run by run, so that a slow moment of the machine does not fall on one size alone.
    for _ in range(runs):
        for pool in pools:
            await pool.measure(seconds)
    return [pool.figures() for pool in pools]


async def _create_jobs(url: str) -> list[UUID]:
    """Create a job for each caller, so that no caller waits for another's lock."""
    database = connect(url, 1)
    try:
        transactions = SqlTransactions(database)
        subject = JobOperations(transactions, SqlJobRepository(transactions), SqlJobTypeRepository(transactions))
        await subject.fill()
        return await subject.waiting(_CALLERS)
    finally:
        await database.close()


@dataclass
class _Run:
    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    seconds: float = 0
    busy_seconds: float = 0

    @property
    def operations_per_second(self) -> float:
        return (len(self.reads) + len(self.writes)) / self.seconds


@dataclass
class _Pool:
    url: str
    connections: int
    job_ids: Sequence[UUID]
    runs: list[_Run] = field(default_factory=list)

    async def measure(self, seconds: float) -> None:
        database = connect(self.url, self.connections)
        try:
            transactions = SqlTransactions(database)
            # An uncounted run opens the connections, and lets psycopg prepare the statements on each of them.
            await self._run(transactions, seconds / 2, rounds=_WARM_UP_ROUNDS)
            self.runs.append(await self._run(transactions, seconds))
        finally:
            await database.close()

    def figures(self) -> dict[str, float]:
        # The durations of all runs; waiting for a connection is part of them.
        reads = sorted(duration for run in self.runs for duration in run.reads)
        writes = sorted(duration for run in self.runs for duration in run.writes)
        return {
            "connections": self.connections,
            "operations_per_second": round(median(run.operations_per_second for run in self.runs), 1),
            "read_p50_ms": percentile_ms(reads, 0.50),
            "read_p99_ms": percentile_ms(reads, 0.99),
            "write_p50_ms": percentile_ms(writes, 0.50),
            "write_p99_ms": percentile_ms(writes, 0.99),
            "cpu_percent": round(median(run.busy_seconds / run.seconds for run in self.runs) * _PERCENT, 1),
        }

    async def _run(self, transactions: SqlTransactions, seconds: float, rounds: int = 1) -> _Run:
        run = _Run()
        jobs = SqlJobRepository(transactions)
        began, busy = perf_counter(), process_time()
        end = began + seconds

        async def caller(job_id: UUID) -> None:
            done = 0
            while done < rounds or perf_counter() < end:
                await _read_and_write(run, transactions, jobs, job_id)
                done += 1

        async with asyncio.TaskGroup() as callers:
            for job_id in self.job_ids:
                callers.create_task(caller(job_id))
        run.seconds, run.busy_seconds = perf_counter() - began, process_time() - busy
        return run


async def _read_and_write(run: _Run, transactions: SqlTransactions, jobs: JobRepository, job_id: UUID) -> None:
    began = perf_counter()
    async with transactions.begin(read_only=True):
        await jobs.get(job_id)
    between = perf_counter()
    async with transactions.begin():
        await jobs.withhold([job_id])
    run.reads.append(between - began)
    run.writes.append(perf_counter() - between)
