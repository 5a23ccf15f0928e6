"""The cost of a long history: the same work on a stack without history and on one whose jobs table is full of it.

Both stacks run all the time and take turns, so that other load on the machine slows both alike. The ratio counts.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

from pydantic import SecretStr

from innosystem.client import new_id
from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest
from services.jobs.settings import HousekeepingSettings
from services.jobs.store.sql import SqlJobRepository
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from tools.bench.load.generator import INPUT
from tools.bench.measures import history_rows
from tools.bench.plan import Plan
from tools.bench.platform.stack_under_test import NOOP, Rates, Say, StackUnderTest, start_stack, watched
from tools.bench.report.figures import Figures
from tools.errors import CommandError

#: The least acceptable ratio of the work with history to the work without.
TARGET: Final = 0.9

_PAGE = 10
_LISTS_A_RUN = 100
# Searches of operators in a history that has almost no matches, which is the worst case. A search without an index
# reads a bounded number of rows a page.
_SEARCHES: Final = {
    "dead_letters": "status = FAILED",
    "live_jobs_of_a_queue": 'queue = "wrong" AND (status = PENDING OR status = RUNNING OR status = SCHEDULED)',
    "label": 'labels.team = "blue"',
    "failed_jobs_of_a_customer": 'customer_id = "{customer}" AND status = FAILED',
    "uncharged_of_long_ago": 'billing_status = CHARGE_DUE AND created_at < "2020-01-01T00:00:00Z"',
    "finished_of_long_ago": 'completed_at < "2020-01-01T00:00:00Z"',
}
_SEARCHES_A_RUN = 20
_TURNS_MIN = 3
# The part of the history that is past its retention time when retention is measured.
_DUE = 0.02
_ROUNDS_MAX = 20
# The batch of the service's own retention.
_RETENTION_BATCH = 500
# The service's own retention must find nothing to do.
_MARGIN = timedelta(hours=6)


@dataclass(frozen=True)
class Comparison:
    """The same work on both stacks.

    Attributes:
        key: The key of the ratio among the figures.
        title: A title for people.
        unit: The unit of the rates.
        empty: The rate without history.
        full: The rate with history.
        ratio: The median ratio of the second rate to the first.
    """

    key: str
    title: str
    unit: str
    empty: float
    full: float
    ratio: float


@dataclass(frozen=True)
class History:
    """The results.

    Attributes:
        rows: The comparisons of both stacks.
        figures: All figures, by key.
        runs: The single runs.
    """

    rows: list[Comparison]
    figures: Figures
    runs: dict[str, Any]


async def measure(plan: Plan, jobs: int, say: Say, folder: Path) -> History:
    """Measure both stacks.

    Args:
        plan: The sizes of the runs.
        jobs: How many jobs the history has.
        say: Prints the progress for people.
        folder: For the two stacks.
    """
    async with start_stack(plan, say, folder / "empty") as empty, start_stack(plan, say, folder / "full") as full:

        async def work(_: StackUnderTest) -> History:
            return await watched(full, lambda _: _measure(empty, full, jobs))

        return await watched(empty, work)


async def _measure(empty: StackUnderTest, full: StackUnderTest, jobs: int) -> History:
    plan, kept = full.plan, timedelta(days=HousekeepingSettings.model_fields["retention_days"].default) - _MARGIN
    await history_rows.fill(
        full.databases["jobs"],
        jobs,
        customers=full.customers,
        job_type=NOOP,
        age=kept,
        input_json=INPUT,
        runner=str(new_id()),
        progress=lambda count: full.say(f"{count:,} of {jobs:,} jobs of history") if count % 500_000 == 0 else None,
    )
    sizes = await history_rows.sizes(full.databases["jobs"])
    full.say(f"{plan.batch_jobs} jobs, {plan.batch} a call, {plan.runs} times in turns")
    finished = await _in_turns(empty, full, max(plan.runs, _TURNS_MIN), _finish)
    full.say("first pages of ListJobs in turns")
    listed = await _list(empty, full, plan.runs * _LISTS_A_RUN)
    full.say("searches")
    searched = await _search(full, plan.runs * _SEARCHES_A_RUN)
    full.say("retention")
    retention = await _retention_ms(full, kept * (1 - _DUE))
    compared = [
        _compared("history_submit_ratio", "BatchCreateJobs", "jobs/s", finished, 0),
        _compared("history_finish_ratio", "end to end", "jobs/s", finished, 1),
        _compared("history_list_ratio", "ListJobs, first page", "calls/s", listed, 0),
        _compared("history_list_customer_ratio", "ListJobs of a customer, first page", "calls/s", listed, 1),
    ]
    figures = {
        "history_jobs": float(sizes.rows),
        **{row.key: row.ratio for row in compared},
        **{f"history_{name}_ms": median(times) for name, times in searched.items()},
        **{f"history_{name}_ms_at_most": max(times) for name, times in searched.items()},
        "history_retention_ms_per_1000": retention,
        "history_table_bytes_per_job": sizes.table_bytes / sizes.rows,
        "history_indexes_bytes_per_job": sizes.index_bytes / sizes.rows,
    }
    return History(compared, figures, {"finished": finished, "listed": listed, "searched": searched})


# The rates of both stacks in each turn, the empty one first.
_Turns = list[tuple[tuple[float, float], tuple[float, float]]]


async def _in_turns(
    empty: StackUnderTest,
    full: StackUnderTest,
    turns: int,
    work: Callable[[StackUnderTest], Awaitable[tuple[float, float]]],
) -> _Turns:
    """Do some work on both stacks repeatedly. The first turn warms up, and the order changes with every turn."""
    found: _Turns = []
    for number in range(turns + 1):
        if number % 2:
            first = await work(empty)
            found.append((first, await work(full)))
        else:
            first = await work(full)
            found.append((await work(empty), first))
    return found[1:]


async def _finish(stack: StackUnderTest) -> Rates:
    plan = stack.plan
    return await stack.finish(plan.batch_jobs, batch=plan.batch, callers=plan.batch_callers)


async def _list(empty: StackUnderTest, full: StackUnderTest, calls: int) -> _Turns:
    """Return the first pages a second, of all jobs and of a customer's, in turns of one call, which takes some ms."""
    found: _Turns = []
    for number in range(calls + 1):
        customers = [stack.customers[number % len(stack.customers)] for stack in (empty, full)]
        of_all = [await _lists_a_second(stack, "") for stack in (empty, full)]
        of_one = [
            await _lists_a_second(stack, f'customer_id = "{customer}"')
            for stack, customer in zip((empty, full), customers, strict=True)
        ]
        found.append(((of_all[0], of_one[0]), (of_all[1], of_one[1])))
    return found[1:]


async def _lists_a_second(stack: StackUnderTest, query: str) -> float:
    began = time.monotonic()
    if not (await stack.platform.jobs.ListJobs(ListJobsRequest(page_size=_PAGE, filter=query))).jobs:
        raise CommandError("a page of jobs is empty")
    return 1 / (time.monotonic() - began)


async def _search(stack: StackUnderTest, calls: int) -> dict[str, list[float]]:
    """Return the milliseconds that the first page of each search takes."""
    found: dict[str, list[float]] = {name: [] for name in _SEARCHES}
    for number in range(calls + 1):
        for name, query in _SEARCHES.items():
            wanted = query.format(customer=stack.customers[number % len(stack.customers)])
            began = time.monotonic()
            await stack.platform.jobs.ListJobs(ListJobsRequest(page_size=_PAGE, filter=wanted))
            found[name].append((time.monotonic() - began) * 1e3)
    # The first call of each search reads from disk.
    return {name: times[1:] for name, times in found.items()}


async def _retention_ms(stack: StackUnderTest, age: timedelta) -> float:
    """Return the milliseconds that retention takes to delete a thousand jobs, in the rounds of the service."""
    settings = DatabaseSettings(url=SecretStr(stack.databases["jobs"]))
    database = Database.connect(settings, application_name="innosystem-bench")
    deleted, began = 0, time.monotonic()
    try:
        transactions = SqlTransactions(database)
        jobs = SqlJobRepository(transactions)
        # The first round opens the connection, and is not counted.
        for limit in (1, *[_RETENTION_BATCH] * _ROUNDS_MAX):
            async with transactions.begin():
                of_round = await jobs.delete_many(await jobs.lock_finished(age, limit))
            if limit == 1:
                began = time.monotonic()
            else:
                deleted += of_round
        seconds = time.monotonic() - began
    finally:
        await database.close()
    if not deleted:
        raise CommandError("the history is too short to measure retention")
    return seconds * 1e6 / deleted


def _compared(key: str, title: str, unit: str, turns: _Turns, which: int) -> Comparison:
    """Return the medians, and the median of the ratios of single turns: a slow moment slows both sides of a turn."""
    return Comparison(
        key,
        title,
        unit,
        median(empty[which] for empty, _ in turns),
        median(full[which] for _, full in turns),
        median(full[which] / empty[which] for empty, full in turns),
    )
