"""Jobs from before there were prices by usage, and the release before beside jobs that have one."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import CheckViolation
from sqlalchemy.exc import ProgrammingError

from tests.conftest import migrations

BEFORE = "5c0e9b7f21d4"
JOB_TYPE = """
INSERT INTO job_types (id, name, processing_logic_id, processor_type, standard_cost_cents, timeout, expires_after,
    retry_initial_backoff, retry_max_backoff, retry_multiplier, request_digest)
VALUES ('00000000-0000-0000-0000-000000000001', 'echo', 'echo', 'SYNC', 5, '1 s', '1 d', '1 s', '1 s', 1, '')
"""
JOB = """
INSERT INTO jobs (id, customer_id, job_type_id, status, billing_status, priority, queue, input_data, input_bytes,
    estimated_cost_cents, currency, max_attempts, request_digest, expires_at, hold_id, started_at, lease_id,
    lease_expires_at)
SELECT %(id)s, gen_random_uuid(), '00000000-0000-0000-0000-000000000001', 'RUNNING', 'HELD', 1, 'default', '1', 1, 5,
    'EUR', 1, '', now() + interval '1 day', gen_random_uuid(), now(), gen_random_uuid(), now()
"""
#: What the release before writes at the end of a run, and when the charge is made.
DONE = """
UPDATE jobs SET status = 'SUCCEEDED', billing_status = 'CHARGE_DUE', cost_cents = estimated_cost_cents,
    output_data = '1', completed_at = now(), lease_id = NULL, lease_expires_at = NULL WHERE id = %(id)s
"""
CHARGED = "UPDATE jobs SET billing_status = 'CHARGED', transaction_id = gen_random_uuid() WHERE id = %(id)s"
METERED = """
UPDATE jobs SET metering_unit = 'page', unit_price_micro_cents = 1000000, standard_cost_cents = 2 WHERE id = %(id)s
"""
USED_NOTHING = """
UPDATE jobs SET status = 'SUCCEEDED', billing_status = 'RELEASE_DUE', cost_cents = 0, usage_units = 0,
    output_data = '1', completed_at = now(), lease_id = NULL, lease_expires_at = NULL WHERE id = %(id)s
"""
RELEASED = "UPDATE jobs SET billing_status = 'RELEASED' WHERE id = %(id)s"
ALL = "SELECT to_jsonb(jobs) FROM jobs ORDER BY id"
VALID = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'jobs'::regclass AND NOT convalidated"


@pytest.fixture
def jobs(empty_database: str) -> Iterator[psycopg.Connection]:
    """A database of the release before with a job type."""
    migrations("jobs", empty_database).up(BEFORE)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(JOB_TYPE)
        yield connection


def write(connection: psycopg.Connection, *statements: str) -> dict[str, str]:
    """Write a job by some statements; return its ID as the parameters of further ones."""
    parameters = {"id": str(uuid4())}
    for statement in (JOB, *statements):
        connection.execute(statement.encode(), parameters)
    return parameters


def test_jobs_that_there_were_keep_their_values_and_have_no_price_by_usage(
    jobs: psycopg.Connection, empty_database: str
) -> None:
    for statements in ((), (DONE,), (DONE, CHARGED)):
        write(jobs, *statements)
    before = [row for (row,) in jobs.execute(ALL)]
    steps = migrations("jobs", empty_database)
    steps.up()
    new = {"metering_unit", "unit_price_micro_cents", "standard_cost_cents", "usage_units"}
    after = [row for (row,) in jobs.execute(ALL)]
    assert [{name: row[name] for name in before[0]} for row in after] == before
    assert {row[name] for row in after for name in new} == {None}
    assert jobs.execute(VALID).fetchone() == (0,)
    steps.down(BEFORE)
    assert [row for (row,) in jobs.execute(ALL)] == before


def test_the_release_before_completes_and_settles_jobs_that_are_not_metered(
    jobs: psycopg.Connection, empty_database: str
) -> None:
    migrations("jobs", empty_database).up()
    write(jobs, DONE, CHARGED)


def test_the_release_before_can_not_charge_the_maximum_of_a_metered_job(
    jobs: psycopg.Connection, empty_database: str
) -> None:
    migrations("jobs", empty_database).up()
    job = write(jobs, METERED)
    with pytest.raises(CheckViolation, match="cost_fits_usage"):
        jobs.execute(DONE.encode(), job)
    jobs.execute(USED_NOTHING.encode(), job)
    # It releases the hold, as that of any job.
    jobs.execute(RELEASED.encode(), job)


@pytest.mark.parametrize("statements", [(METERED,), (METERED, USED_NOTHING)], ids=["running", "used nothing"])
def test_prices_by_usage_are_not_dropped_while_jobs_depend_on_them(
    jobs: psycopg.Connection, empty_database: str, statements: tuple[str, ...]
) -> None:
    steps = migrations("jobs", empty_database)
    steps.up()
    job = write(jobs, *statements)
    with pytest.raises(ProgrammingError, match="not settled yet"):
        steps.down(BEFORE)
    jobs.execute(b"DELETE FROM jobs WHERE id = %(id)s", job)
    steps.down(BEFORE)
