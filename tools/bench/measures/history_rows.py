"""Fill the jobs table with a retention time of history: jobs that are finished and charged, the oldest first."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

import psycopg

#: Jobs a statement.
CHUNK: Final = 50_000

# The IDs are UUIDv7, as clients create them: the time first, then random bits. So a chunk goes to the end of the key's
# index, as jobs do that are submitted one after the other.
_FILL = """
    INSERT INTO jobs (id, customer_id, job_type_id, status, billing_status, priority, queue, input_data, input_bytes,
        output_data, output_bytes, estimated_cost_cents, cost_cents, currency, hold_id, transaction_id, attempt,
        max_attempts, request_id, request_digest, expires_at, created_at, queued_at, started_at, completed_at,
        runner_id, completed_lease_id, completion_digest, version)
    SELECT (substr(hex, 1, 8) || '-' || substr(hex, 9, 4) || '-7' || substr(gen_random_uuid()::text, 16))::uuid,
        (%(customers)s::uuid[])[1 + n %% %(customer_count)s], %(job_type)s, 'SUCCEEDED', 'CHARGED', 1, 'default',
        %(input)s::text::jsonb, octet_length(%(input)s::text), '{"ok": true}', 12, 1, 1, 'EUR', gen_random_uuid(),
        gen_random_uuid(), 1, 1, gen_random_uuid()::text, decode(repeat('00', 80), 'hex'), at + interval '1 day', at,
        at, at + interval '1 s', at + interval '2 s', %(runner)s, gen_random_uuid(), decode(repeat('00', 80), 'hex'), 4
    FROM (
        SELECT n, at, lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') AS hex
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
            LATERAL (SELECT now() - %(age)s::interval * (1 - n / %(count)s::float8) AS at) AS moment
    ) AS moments
    ORDER BY n
"""
_JOB_TYPE = "SELECT id FROM job_types WHERE name = %s"
_SIZES = """
    SELECT pg_table_size('jobs'), pg_indexes_size('jobs'), greatest(reltuples, 0)::bigint
    FROM pg_class WHERE oid = 'jobs'::regclass
"""


class TableSizes(NamedTuple):
    """The sizes of a table: its bytes, with values stored out of line; those of its indexes; and its estimated rows."""

    table_bytes: int
    index_bytes: int
    rows: int


async def fill(
    url: str,
    count: int,
    *,
    customers: Sequence[str],
    job_type: str,
    age: timedelta,
    input_json: str,
    runner: str,
    progress: Callable[[int], None],
) -> None:
    """Fill the table, and vacuum it as autovacuum would have done meanwhile.

    Args:
        url: The jobs database.
        count: How many jobs.
        customers: The customers of the jobs, in turns.
        job_type: The name of their type.
        age: The age of the oldest job; jobs follow at a constant rate.
        input_json: Their input.
        runner: The ID of the runner that has run them.
        progress: Receives the number of jobs so far.
    """
    # The filling is not measured, so its commits need not wait for the disk.
    options = "-c synchronous_commit=off"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, options=options) as connection:
        [(job_type_id,)] = await (await connection.execute(_JOB_TYPE, [job_type])).fetchall()
        fixed = {
            "customers": list(customers),
            "customer_count": len(customers),
            "job_type": job_type_id,
            "age": age,
            "count": count,
            "input": input_json,
            "runner": runner,
        }
        for first in range(1, count + 1, CHUNK):
            last = min(first + CHUNK - 1, count)
            await connection.execute(_FILL, {**fixed, "first": first, "last": last})
            progress(last)
        await connection.execute("VACUUM (ANALYZE) jobs")


async def sizes(url: str) -> TableSizes:
    """Return the sizes of the jobs table."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        [(table, indexes, rows)] = await (await connection.execute(_SIZES)).fetchall()
    return TableSizes(int(table), int(indexes), int(rows))
