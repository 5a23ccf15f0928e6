"""Runners of two releases on one queue, as in a rolling upgrade: no job is given to one that has no handler for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from innosystem.jobs.v1 import job_pb2, job_service_pb2
from services import SERVICES
from tests.chaos.support.verifying import verify
from tests.e2e.stack import Stack, new_job
from tests.support.until import until_sync

BOTH = "tests.e2e.handlers_for_tests"
OLD = "tests.e2e.old_handlers"
JOBS = 40


@pytest.fixture
def running(tmp_path: Path, fresh_database: Callable[[str], str], redis_url: str) -> Iterator[Stack]:
    """The services; the runners come with the tests."""
    urls = {service: fresh_database(service) for service in SERVICES}
    stack = Stack(tmp_path, urls, redis_url, key_prefix=f"{uuid4()}:")
    stack.start(*SERVICES)
    yield stack
    stack.close()


def statuses(stack: Stack) -> list[tuple[str, int, int]]:
    """How many jobs are in a status and on an attempt."""
    with psycopg.connect(stack.database_urls["jobs"]) as jobs:
        return jobs.execute("SELECT status, attempt, count(*) FROM jobs GROUP BY 1, 2").fetchall()


def unserved(stack: Stack) -> dict[str, int]:
    """What GetQueueStats says that no runner serves, by handler."""
    stats = stack.jobs.GetQueueStats(job_service_pb2.GetQueueStatsRequest(), timeout=15)
    return {", ".join(one.unserved_handlers): one.unserved for one in stats.queues if one.unserved}


@pytest.mark.slow
def test_in_a_rolling_upgrade_the_new_jobs_wait_for_the_new_runner_and_none_fails(running: Stack) -> None:
    customer_id = running.paying_customer()
    running.start_runner(OLD)
    new = [new_job(customer_id, running.job_type("e2e.double"), f'{{"n": {n}}}') for n in range(JOBS)]
    old = [new_job(customer_id, running.job_type("e2e.old"), "{}") for _ in range(5)]
    for requests in (new, old):
        running.jobs.BatchCreateJobs(job_service_pb2.BatchCreateJobsRequest(requests=requests), timeout=15)

    until_sync(lambda: all(running.job(one.job_id).status == job_pb2.JOB_STATUS_SUCCEEDED for one in old) or None)
    until_sync(lambda: unserved(running) == {"e2e.double": JOBS} or None)
    assert sorted(statuses(running)) == [("PENDING", 0, JOBS), ("SUCCEEDED", 1, 5)]
    assert verify(running.database_urls) == []

    running.start_runner(BOTH)
    until_sync(lambda: statuses(running) == [("SUCCEEDED", 1, JOBS + 5)] or None, limit_seconds=60)
    assert unserved(running) == {}
