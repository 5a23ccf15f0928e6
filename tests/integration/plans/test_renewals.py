"""Renewals: in place for the most part, and at a cost that no plan makes quadratic."""

import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.jobs.rules.transitions.leasing import Claim, Renewal
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from tests.conftest import migrations
from tests.support.jobs_examples import MINUTE, new_job, new_job_type
from tests.support.jobs_work import JobsWork, sql_work
from tools.local.embedded import EmbeddedPostgres

ROUNDS = 8
UPDATES = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'jobs'"
SECONDS_MAX = 60.0


@pytest.fixture
def jobs_url() -> Iterator[str]:
    """An empty, migrated database on a server of its own: other transactions keep what was replaced."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), {"fsync": "off"}) as server:
        server.create_database("jobs")
        migrations("jobs", server.url("jobs")).up()
        yield server.url("jobs")


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[str], JobsWork]]:
    databases: list[Database] = []

    def open_(url: str) -> JobsWork:
        databases.append(Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="test"))
        return sql_work(SqlTransactions(databases[-1]))

    yield open_
    for database in databases:
        await database.close()


async def run(work: JobsWork, count: int, per_lease: int) -> tuple[list[UUID], list[UUID]]:
    """Has many jobs run, some of them under each lease; returns jobs and leases."""
    async with work.transactions.begin():
        job_type = await work.job_types.create(new_job_type())
    jobs = [new_job(job_type.id) for _ in range(count)]
    leases: list[UUID] = []
    for start in range(0, count, 500):
        async with work.transactions.begin():
            await work.jobs.create_many(jobs[start : start + 500])
    ids = [job.id for job in jobs]
    for start in range(0, count, per_lease):
        leases.append(uuid7())
        async with work.transactions.begin():
            await work.jobs.claim(Claim(ids[start : start + per_lease], uuid7(), leases[-1], MINUTE, 10**9))
    return ids, leases


async def renewed(work: JobsWork, ids: Sequence[UUID], leases: Sequence[UUID]) -> float:
    """Renews all, and returns how many seconds it took."""
    began = time.monotonic()
    async with work.transactions.begin():
        assert len((await work.jobs.renew(Renewal(leases, ids, MINUTE))).job_ids) == len(ids)
    return time.monotonic() - began


def updates(url: str, at_least: int) -> tuple[int, int]:
    limit = time.monotonic() + SECONDS_MAX
    while True:
        with psycopg.connect(url, autocommit=True) as connection:
            [(all_, in_place)] = connection.execute(UPDATES).fetchall()
        if all_ >= at_least:
            return all_, in_place
        assert time.monotonic() < limit, f"only {all_} updates"


@pytest.mark.slow
async def test_most_renewals_touch_no_index(jobs_url: str, opened: Callable[[str], JobsWork]) -> None:
    work = opened(jobs_url)
    ids, leases = await run(work, 200, 20)
    before, in_place_before = updates(jobs_url, 200)
    for _ in range(ROUNDS):
        await renewed(work, ids, leases)
    after, in_place = updates(jobs_url, before + ROUNDS * len(ids))
    assert (in_place - in_place_before) / (after - before) > 0.75


@pytest.mark.slow
async def test_ten_thousand_jobs_under_a_thousand_leases_are_renewed_in_a_moment_whatever_is_known_of_the_table(
    fresh_database: Callable[[str], str], opened: Callable[[str], JobsWork]
) -> None:
    work = opened(fresh_database("jobs"))
    # What is planned for an empty table and kept would be wrong for a full one.
    for _ in range(20):
        assert await renewed(work, [], []) < SECONDS_MAX
    ids, leases = await run(work, 10_000, 10)
    never_analyzed = [await renewed(work, ids, leases) for _ in range(3)]
    async with work.transactions.begin():
        await work.transactions.resource.exec_driver_sql("ANALYZE jobs")
    analyzed = [await renewed(work, ids, leases) for _ in range(3)]
    print("renewals", never_analyzed, analyzed)
    # Pairs of jobs and leases would be ten million; four to seven seconds when they were compared in the statement.
    assert min(never_analyzed) < 2.0
    assert min(analyzed) < 2.0
