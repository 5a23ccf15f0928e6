"""A payload that is stored out of line is not written again when its job changes."""

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest

from innosystem.client import new_id
from tools.bench.reference import statements as reference_statements

JOBS = 50
CHANGES = (reference_statements.CLAIM, reference_statements.COMPLETE)


@pytest.fixture
def jobs(fresh_database: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    """To a database of jobs with a job type."""
    with psycopg.connect(fresh_database("jobs"), autocommit=True) as connection:
        yield connection


def written_out_of_line(connection: psycopg.Connection) -> int:
    """Bytes that were ever written beside the table's rows: nothing here is vacuumed."""
    statement = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'jobs'::regclass"
    [(size,)] = connection.execute(statement).fetchall()
    return int(size)


def bytes_a_row(connection: psycopg.Connection) -> int:
    """How much of the table's pages a row takes, without what is out of line."""
    [(size,)] = connection.execute("SELECT pg_relation_size('jobs') / (SELECT count(*) FROM jobs)").fetchall()
    return int(size)


@pytest.mark.parametrize("bytes_", [8_000, 100_000])
def test_a_compressible_payload_is_out_of_line_and_written_once(jobs: psycopg.Connection, bytes_: int) -> None:
    jobs.execute("ALTER TABLE jobs SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)")
    job_type, lease = new_id(), new_id()
    jobs.execute(reference_statements.JOB_TYPE, {"id": job_type})
    ids = [new_id() for _ in range(JOBS)]
    lines = [{"number": number, "name": "Ada Example", "created_at": "2026-11-21"} for number in range(bytes_ // 64)]
    values = {
        "jobs": ids,
        "wallets": ids,
        "holds": ids,
        "job_type": job_type,
        "input": json.dumps(lines),
        "request_id": str(new_id()),
        "digest": bytes(range(80)),
        "runner": new_id(),
        "lease": lease,
        "output": "{}",
    }
    jobs.execute(reference_statements.SUBMIT, values)
    out_of_line = written_out_of_line(jobs)
    assert out_of_line > 0
    assert bytes_a_row(jobs) < 1024
    for change in CHANGES:
        assert jobs.execute(change, values).rowcount == JOBS
    assert written_out_of_line(jobs) == out_of_line
