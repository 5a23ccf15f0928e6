"""A customer with few jobs beside one with a hundred thousand, through real services and a real runner."""

import json
import time
from pathlib import Path

import psycopg
import pytest

from innosystem.jobs.v1 import job_service_pb2
from services import SERVICES
from tests.e2e.stack import Stack, new_job
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"
MANY = 100_000
LIMIT_SECONDS = 90
WITHHELD = """
INSERT INTO jobs (id, customer_id, job_type_id, status, billing_status, priority, queue, input_data, input_bytes,
    estimated_cost_cents, currency, max_attempts, request_digest, expires_at)
SELECT gen_random_uuid(), %(customer_id)s, id, 'PENDING', 'NOT_BILLABLE', 1, 'default', '{"n": 1}', 8, 0, 'EUR', 1, '',
    now() + interval '1 day'
FROM job_types, generate_series(1, %(jobs)s) WHERE name = %(job_type)s
"""
# How many jobs of others began between the submission of the last of some jobs and the start of the last of them.
BETWEEN = """
SELECT count(*) FROM jobs WHERE customer_id <> %(customer_id)s
    AND started_at > (SELECT max(created_at) FROM jobs WHERE customer_id = %(customer_id)s)
    AND started_at < (SELECT max(started_at) FROM jobs WHERE customer_id = %(customer_id)s)
"""


@pytest.fixture
def busy(stack: Stack) -> Stack:
    """The services."""
    stack.start(*SERVICES)
    return stack


def submit_many(stack: Stack, customer_id: str, job_type: str, jobs: int) -> None:
    """Submit jobs by calls of a thousand."""
    for _ in range(0, jobs, 1000):
        requests = [new_job(customer_id, job_type, '{"n": 1}') for _ in range(1000)]
        stack.jobs.BatchCreateJobs(job_service_pb2.BatchCreateJobsRequest(requests=requests), timeout=60)


def begun(stack: Stack, customer_id: str, jobs: int = 1) -> bool:
    with psycopg.connect(stack.database_urls["jobs"]) as connection:
        row = connection.execute(
            "SELECT count(*) FROM jobs WHERE customer_id = %s AND started_at IS NOT NULL", [customer_id]
        ).fetchone()
    return row is not None and row[0] >= jobs


def jobs_between(stack: Stack, customer_id: str) -> int:
    with psycopg.connect(stack.database_urls["jobs"]) as connection:
        [between] = connection.execute(BETWEEN, {"customer_id": customer_id}).fetchone() or [MANY]
    return int(between)


def test_ten_jobs_do_not_wait_for_the_hundred_thousand_of_somebody_who_came_first(busy: Stack) -> None:
    job_type = busy.job_type("e2e.double", standard_cost_cents=0)
    many, few = busy.customer(), busy.customer()
    with psycopg.connect(busy.database_urls["jobs"]) as connection:
        connection.execute(WITHHELD, {"customer_id": many, "jobs": MANY, "job_type": job_type})
    busy.start_runner(HANDLERS)
    until_sync(lambda: begun(busy, many, 2000), limit_seconds=LIMIT_SECONDS)
    for _ in range(10):
        busy.submit(new_job(few, job_type, '{"n": 1}'))
    submitted_at = time.monotonic()
    until_sync(lambda: begun(busy, few, 10), limit_seconds=LIMIT_SECONDS)
    between = jobs_between(busy, few)
    print(f"{between} jobs of the other between, {time.monotonic() - submitted_at:.2f} s")
    assert between < 4000


def test_ten_jobs_do_not_wait_for_the_jobs_of_somebody_who_comes_after(busy: Stack) -> None:
    job_type = busy.job_type("e2e.double", standard_cost_cents=0)
    many, few = busy.customer(), busy.customer()
    for _ in range(10):
        busy.submit(new_job(few, job_type, '{"n": 1}'))
    submit_many(busy, many, job_type, 3000)
    busy.start_runner(HANDLERS)
    until_sync(lambda: begun(busy, few, 10), limit_seconds=LIMIT_SECONDS)
    assert jobs_between(busy, few) < 100


def in_the_list(stack: Stack, customer_id: str) -> int:
    with psycopg.connect(stack.database_urls["jobs"]) as connection:
        row = connection.execute(
            "SELECT count(*) FROM jobs WHERE status = 'PENDING' AND dispatched_at IS NOT NULL AND customer_id = %s",
            [customer_id],
        ).fetchone()
    return int(row[0]) if row else MANY


@pytest.mark.slow
def test_ten_jobs_do_not_wait_for_slow_ones_that_a_list_was_filled_with_while_it_was_fast(
    busy: Stack, tmp_path: Path
) -> None:
    fast = busy.job_type("e2e.double", standard_cost_cents=0)
    slow = busy.job_type("e2e.waits", standard_cost_cents=0)
    first, many, few = busy.customer(), busy.customer(), busy.customer()
    submit_many(busy, first, fast, 2000)
    busy.start_runner(HANDLERS, RUNNER_CONCURRENCY="8")
    until_sync(lambda: begun(busy, first, 2000), limit_seconds=LIMIT_SECONDS)
    folder = json.dumps(str(tmp_path))
    requests = [new_job(many, slow, f'{{"folder": {folder}, "n": {n}}}') for n in range(1000)]
    busy.jobs.BatchCreateJobs(job_service_pb2.BatchCreateJobsRequest(requests=requests), timeout=60)
    until_sync(lambda: len(list(tmp_path.glob("begun-*"))) == 8, limit_seconds=LIMIT_SECONDS)
    for _ in range(10):
        busy.submit(new_job(few, fast, '{"n": 1}'))
    # None of them ends, so no more than a few of the others are to be in the list.
    until_sync(lambda: in_the_list(busy, many) <= 32, limit_seconds=LIMIT_SECONDS)
    (tmp_path / "go").touch()
    until_sync(lambda: begun(busy, few, 10), limit_seconds=LIMIT_SECONDS)
    assert jobs_between(busy, few) < 500
