"""Whatever differs between a live database and the models is named (D5, D8)."""

from collections.abc import Callable

import psycopg
import pytest

from tests.conftest import migrations

CASES = {
    "DROP TABLE job_progress": ["table job_progress is missing"],
    "CREATE TABLE strange (id int)": ["table strange is not in the models"],
    "ALTER TABLE jobs DROP COLUMN output_bytes": ["column jobs.output_bytes is missing"],
    "ALTER TABLE jobs ADD COLUMN strange int": ["column jobs.strange is not in the models"],
    "ALTER TABLE jobs ALTER COLUMN output_bytes TYPE bigint": [
        "column jobs.output_bytes: type bigint; the models say type integer",
    ],
    'ALTER TABLE jobs ALTER COLUMN queue TYPE text COLLATE "default"': [
        "column jobs.queue: type text; the models say type text collate C",
    ],
    "ALTER TABLE jobs ALTER COLUMN queue DROP NOT NULL": [
        "column jobs.queue: may be null; the models say NOT NULL",
    ],
    "ALTER TABLE job_types ALTER COLUMN max_attempts SET DEFAULT 2": [
        "column job_types.max_attempts: default 2; the models say default 1",
    ],
    "ALTER TABLE job_types ALTER COLUMN max_attempts DROP DEFAULT": [
        "column job_types.max_attempts: no default; the models say default 1",
    ],
    "ALTER TABLE jobs DROP CONSTRAINT ck_jobs_priority_known": [
        "check constraint ck_jobs_priority_known of jobs is missing",
    ],
    "ALTER TABLE jobs DROP CONSTRAINT ck_jobs_priority_known, "
    "ADD CONSTRAINT ck_jobs_priority_known CHECK (priority >= 0) NOT VALID": [
        "check constraint ck_jobs_priority_known of jobs: CHECK (priority >= 0) NOT VALID; "
        "the models say CHECK (priority >= 0 AND priority <= 2)",
    ],
    "ALTER TABLE jobs ADD CONSTRAINT strange CHECK (priority < 9)": [
        "check constraint strange of jobs is not in the models",
    ],
    "ALTER TABLE job_types DROP CONSTRAINT uq_job_types_name": [
        "unique constraint uq_job_types_name of job_types is missing",
    ],
    "ALTER TABLE jobs DROP CONSTRAINT fk_jobs_job_type_id_job_types": [
        "foreign key fk_jobs_job_type_id_job_types of jobs is missing",
    ],
    "ALTER TABLE receipts DROP CONSTRAINT pk_receipts": ["primary key pk_receipts of receipts is missing"],
    "DROP INDEX ix_jobs_created_at": ["index ix_jobs_created_at of jobs is missing"],
    "DROP INDEX ix_jobs_created_at; CREATE INDEX ix_jobs_created_at ON jobs (created_at)": [
        "index ix_jobs_created_at of jobs: CREATE INDEX ix_jobs_created_at ON jobs USING btree (created_at); "
        "the models say CREATE INDEX ix_jobs_created_at ON jobs USING btree (created_at, id)",
    ],
    "ALTER TABLE jobs RESET (toast_tuple_target)": ["table jobs: toast_tuple_target not set; the models say 768"],
    "ALTER TABLE jobs SET (autovacuum_vacuum_threshold = 9)": [
        "table jobs: autovacuum_vacuum_threshold 9; the models say 5000",
    ],
    # What the models do not name is left to operators.
    "ALTER TABLE jobs SET (autovacuum_vacuum_cost_delay = 1)": [],
    "CREATE INDEX strange ON jobs (queue)": ["index strange of jobs is not in the models"],
}


@pytest.mark.parametrize("change", CASES)
def test_a_difference_is_named_in_words(change: str, fresh_database: Callable[[str], str]) -> None:
    url = fresh_database("jobs")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change.encode())
    assert migrations("jobs", url).differences() == CASES[change]


def test_an_index_that_an_interruption_left_half_made_is_named(fresh_database: Callable[[str], str]) -> None:
    url = fresh_database("jobs")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_jobs_created_at'::regclass")
    (found,) = migrations("jobs", url).differences()
    assert found.startswith("index ix_jobs_created_at of jobs: not valid")


def test_a_comparison_leaves_nothing_behind(fresh_database: Callable[[str], str]) -> None:
    url = fresh_database("jobs")
    assert migrations("jobs", url).differences() == []
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'innosystem%'").fetchall()
    assert found == []
