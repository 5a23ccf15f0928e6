"""The SQL reference: the lives of jobs a second that PostgreSQL writes with nothing around it.

The tables are the product's own, with all constraints and indexes, in separate databases on the same server.
"""

import asyncio
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

import psycopg

from innosystem.client import new_id
from tools.bench.platform.databases import new_database
from tools.bench.platform.stack_under_test import StackUnderTest
from tools.bench.reference import statements
from tools.bench.reference.writer import BATCH
from tools.bench.report.figures import Figures

_CONNECTIONS = (1, 2)
_WALLETS_MIN = BATCH * max(_CONNECTIONS)


async def measure(stack: StackUnderTest) -> tuple[Figures, dict[str, Any]]:
    """Measure with one connection and with two.

    Returns:
        The figures (medians; `sql_jobs_per_second` is the better of the two), and the rates of all runs.
    """
    plan = stack.plan
    stack.say(f"SQL reference: {plan.sql_jobs} jobs, {BATCH} a statement, {plan.runs} times")
    async with AsyncExitStack() as opened:
        beside = stack.databases["jobs"]
        urls = {
            f"{service}_url": await opened.enter_async_context(new_database(beside, tables_of=service))
            for service in ("jobs", "wallets")
        }
        wallets = [str(new_id()) for _ in range(max(plan.wallets, _WALLETS_MIN))]
        task = {**urls, "job_type": await _prepare(urls, wallets), "warm_up": plan.warm_up // BATCH * BATCH}
        runs: dict[int, list[float]] = {count: [] for count in _CONNECTIONS}
        for _ in range(plan.runs):
            for count in _CONNECTIONS:
                runs[count].append(await _run(stack, task, wallets, count))
    figures = {f"sql_{count}_jobs_per_second": median(rates) for count, rates in runs.items()}
    return {**figures, "sql_jobs_per_second": max(figures.values())}, {
        f"sql_{count}_jobs_per_second": rates for count, rates in runs.items()
    }


async def _prepare(urls: dict[str, str], wallets: list[str]) -> str:
    job_type = str(new_id())
    async with await psycopg.AsyncConnection.connect(urls["wallets_url"]) as connection:
        await connection.execute(statements.WALLETS, {"wallets": wallets})
    async with await psycopg.AsyncConnection.connect(urls["jobs_url"]) as connection:
        await connection.execute(statements.JOB_TYPE, {"id": job_type})
    return job_type


async def _run(stack: StackUnderTest, task: dict[str, Any], wallets: list[str], count: int) -> float:
    share = stack.plan.sql_jobs // count // BATCH * BATCH
    async with AsyncExitStack() as opened:
        writers = [
            await opened.enter_async_context(
                stack.load_process(
                    "sql",
                    "tools.bench.reference.writer",
                    {**task, "jobs": share, "wallets": wallets[number::count]},
                )
            )
            for number in range(count)
        ]
        done = await asyncio.gather(*(writer.go() for writer in writers))
    began, ended = min(one["began"] for one in done), max(one["ended"] for one in done)
    return share * count / float(ended - began)
