"""What a long history costs: the same work on a stack without history and on one whose jobs table is full of it.

Both run all the time, and take turns: what the machine does beside is the same for both. What counts is the ratio.
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
from tools.bench.platform.stack_under_test import NOOP, Arena, Say, arena, watched
from tools.bench.report.figures import Figures
from tools.errors import CommandError

#: Of what is done without history, at least so much is to be done with it.
TARGET: Final = 0.9

_PAGE = 10
_LISTS_A_RUN = 100
# What operators look for, in a history that has next to none of it: the worst case for whoever has to look for it. What
# no index leads to is looked for among a bounded number of rows a page.
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
# Of the history, so much is over its time when retention is measured.
_DUE = 0.02
_ROUNDS_MAX = 20
# As many as the service's retention takes a round.
_RETENTION_BATCH = 500
# The service's own retention must find nothing to do.
_MARGIN = timedelta(hours=6)


@dataclass(frozen=True)
class Row:
    """One thing that was done on both stacks.

    Attributes:
        key: Of its ratio among the figures.
        title: What it is, for people.
        unit: What is counted.
        empty: How many without history.
        full: How many with it.
        ratio: The second to the first.
    """

    key: str
    title: str
    unit: str
    empty: float
    full: float
    ratio: float


@dataclass(frozen=True)
class History:
    """What was measured.

    Attributes:
        rows: What was done on both stacks.
        figures: All figures, by key.
        runs: The single runs.
    """

    rows: list[Row]
    figures: Figures
    runs: dict[str, Any]


async def measure(plan: Plan, jobs: int, say: Say, folder: Path) -> History:
    """Measures.

    Args:
        plan: The sizes of the runs.
        jobs: How many jobs the history has.
        say: Tells people how far it is.
        folder: For the two stacks.
    """
    async with arena(plan, say, folder / "empty") as empty, arena(plan, say, folder / "full") as full:

        async def work(_: Arena) -> History:
            found: History = await watched(full, lambda _: _measure(empty, full, jobs))
            return found

        both: History = await watched(empty, work)
        return both


async def _measure(empty: Arena, full: Arena, jobs: int) -> History:
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
    table, indexes, rows = await history_rows.sizes(full.databases["jobs"])
    full.say(f"{plan.batch_jobs} jobs, {plan.batch} a call, {plan.runs} times in turns")
    finished = await _in_turns(empty, full, max(plan.runs, _TURNS_MIN), _finish)
    full.say("first pages of ListJobs in turns")
    listed = await _list(empty, full, plan.runs * _LISTS_A_RUN)
    full.say("searches")
    searched = await _search(full, plan.runs * _SEARCHES_A_RUN)
    full.say("retention")
    retention = await _retention_ms(full, kept * (1 - _DUE))
    compared = [
        _row("history_submit_ratio", "BatchCreateJobs", "jobs/s", finished, 0),
        _row("history_finish_ratio", "end to end", "jobs/s", finished, 1),
        _row("history_list_ratio", "ListJobs, first page", "calls/s", listed, 0),
        _row("history_list_customer_ratio", "ListJobs of a customer, first page", "calls/s", listed, 1),
    ]
    figures = {
        "history_jobs": float(rows),
        **{row.key: row.ratio for row in compared},
        **{f"history_{name}_ms": median(times) for name, times in searched.items()},
        **{f"history_{name}_ms_at_most": max(times) for name, times in searched.items()},
        "history_retention_ms_per_1000": retention,
        "history_table_bytes_per_job": table / rows,
        "history_indexes_bytes_per_job": indexes / rows,
    }
    return History(compared, figures, {"finished": finished, "listed": listed, "searched": searched})


_Turns = list[tuple[tuple[float, float], tuple[float, float]]]


async def _in_turns(
    empty: Arena, full: Arena, turns: int, work: Callable[[Arena], Awaitable[tuple[float, float]]]
) -> _Turns:
    """Does some work on both, again and again; the first turn warms up. In every other turn the full one is first."""
    found: _Turns = []
    for number in range(turns + 1):
        if number % 2:
            first = await work(empty)
            found.append((first, await work(full)))
        else:
            first = await work(full)
            found.append((await work(empty), first))
    return found[1:]


async def _finish(place: Arena) -> tuple[float, float]:
    plan = place.plan
    return await place.finish(plan.batch_jobs, batch=plan.batch, callers=plan.batch_callers)


async def _list(empty: Arena, full: Arena, calls: int) -> _Turns:
    """First pages a second, of all jobs and of a customer's. Call by call in turns: a call is over in milliseconds."""
    found: _Turns = []
    for number in range(calls + 1):
        customers = [place.customers[number % len(place.customers)] for place in (empty, full)]
        of_all = [await _lists_a_second(place, "") for place in (empty, full)]
        of_one = [
            await _lists_a_second(place, f'customer_id = "{customer}"')
            for place, customer in zip((empty, full), customers, strict=True)
        ]
        found.append(((of_all[0], of_one[0]), (of_all[1], of_one[1])))
    return found[1:]


async def _lists_a_second(place: Arena, query: str) -> float:
    began = time.monotonic()
    if not (await place.platform.jobs.ListJobs(ListJobsRequest(page_size=_PAGE, filter=query))).jobs:
        raise CommandError("a page of jobs is empty")
    return 1 / (time.monotonic() - began)


async def _search(place: Arena, calls: int) -> dict[str, list[float]]:
    """Milliseconds that the first page takes of what is next to never there."""
    found: dict[str, list[float]] = {name: [] for name in _SEARCHES}
    for number in range(calls + 1):
        for name, query in _SEARCHES.items():
            wanted = query.format(customer=place.customers[number % len(place.customers)])
            began = time.monotonic()
            await place.platform.jobs.ListJobs(ListJobsRequest(page_size=_PAGE, filter=wanted))
            found[name].append((time.monotonic() - began) * 1e3)
    # The first of each finds nothing in memory.
    return {name: times[1:] for name, times in found.items()}


async def _retention_ms(place: Arena, age: timedelta) -> float:
    """Milliseconds that retention takes to delete a thousand jobs, in rounds as the service does them."""
    settings = DatabaseSettings(url=SecretStr(place.databases["jobs"]))
    database = Database.connect(settings, application_name="innosystem-bench")
    deleted, began = 0, time.monotonic()
    try:
        transactions = SqlTransactions(database)
        jobs = SqlJobRepository(transactions)
        # The first connects, and is not counted.
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
        raise CommandError("there is too little history for retention")
    return seconds * 1e6 / deleted


def _row(key: str, title: str, unit: str, turns: _Turns, which: int) -> Row:
    """The medians, and the median of the ratios of single turns: what slows the machine is in both sides of one."""
    return Row(
        key,
        title,
        unit,
        median(empty[which] for empty, _ in turns),
        median(full[which] for _, full in turns),
        median(full[which] / empty[which] for empty, full in turns),
    )
