"""Databases that the services of 0.1.0 have filled are migrated, and the services of now work on with them.

data/README.md says what is in them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from innosystem.jobs.v1 import job_service_pb2, job_type_service_pb2
from innosystem.wallets.v1 import wallet_service_pb2
from services import SERVICES
from tests.conftest import PostgresServer, migrations
from tests.e2e.stack import Stack
from tests.e2e.verifying import verified
from tests.support.until import until_sync

DATA = Path(__file__).parent / "data"
VERSIONS = "alembic_version"
PAUSED = "01990000-0000-7000-8000-000000000103"
BY_HAND = "01990000-0000-7000-8000-000000000433"
EDSGER = "01990000-0000-7000-8000-000000000204"
# They are long ago, and are to be there when the test is over.
KEPT = {"JOBS_RETENTION_DAYS": "100000", "WALLETS_HOLDS_RETENTION_DAYS": "100000"}
AT_ONCE = {"JOBS_RESCUE_GRACE_SECONDS": "0", "JOBS_SETTLE_AFTER_SECONDS": "1", "JOBS_HOLD_ORPHAN_SECONDS": "20"}

Rows = Sequence[dict[str, Any]]


def job(number: int) -> str:
    return f"01990000-0000-7000-8000-{number:012}"


#: What becomes of the jobs that waited, ran or were to be paid.
ENDS = {
    **dict.fromkeys(map(job, (440, 441, 442, 443, 444, 445, 447, 448, 449, 451, 470)), ("SUCCEEDED", "CHARGED")),
    **dict.fromkeys(map(job, (430, 432, 433, 460)), ("SUCCEEDED", "CHARGED")),
    job(446): ("SUCCEEDED", "NOT_BILLABLE"),
    job(450): ("CANCELLED", "RELEASED"),
    job(461): ("FAILED", "RELEASED"),
    job(462): ("CANCELLED", "RELEASED"),
}


@pytest.fixture
def databases(postgres: PostgresServer) -> Iterator[Mapping[str, str]]:
    """The databases of 0.1.0, by service."""
    names = {service: f"old_{service}_{uuid4().hex}" for service in SERVICES}
    for service, name in names.items():
        postgres.create_database(name)
        with psycopg.connect(postgres.url(name)) as connection:
            connection.execute((DATA / f"{service}_0_1_0.sql").read_bytes())
    yield {service: postgres.url(name) for service, name in names.items()}
    for name in names.values():
        postgres.drop_database(name)


def all_rows(url: str) -> dict[str, Rows]:
    """All rows of all tables, as JSON."""
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT relname FROM pg_stat_user_tables ORDER BY relname").fetchall()
        return {
            name: [row for (row,) in connection.execute(f'SELECT to_jsonb(t) FROM "{name}" t'.encode())]
            for (name,) in names
        }


def up(urls: Mapping[str, str]) -> None:
    for service, url in urls.items():
        migrations(service, url).up()


@pytest.mark.parametrize("service", SERVICES)
def test_the_database_of_0_1_0_keeps_each_value_of_each_row(service: str, databases: Mapping[str, str]) -> None:
    url = databases[service]
    before = all_rows(url)
    assert all(before.values()), {name for name, rows in before.items() if not rows}

    steps = migrations(service, url)
    steps.up()

    after = all_rows(url)
    for table in before.keys() - {VERSIONS}:
        columns = before[table][0].keys()
        kept = [{name: row[name] for name in columns} for row in after[table]]
        assert sorted(kept, key=str) == sorted(before[table], key=str), table
    assert steps.pending() == []
    assert steps.differences() == []


def test_each_key_of_0_1_0_is_one_of_the_table_of_keys(databases: Mapping[str, str]) -> None:
    migrations("customers", databases["customers"]).up()

    rows = all_rows(databases["customers"])
    present = {(row["id"], row["api_key_hash"], None) for row in rows["customers"]}
    replaced = {
        (row["id"], row["previous_api_key_hash"], row["previous_api_key_expires_at"])
        for row in rows["customers"]
        if row["previous_api_key_hash"]
    }
    assert len(replaced) == 2
    assert {(row["customer_id"], row["hash"], row["expires_at"]) for row in rows["api_keys"]} == present | replaced


def test_jobs_of_0_1_0_were_never_run_again_and_have_killed_no_runner(databases: Mapping[str, str]) -> None:
    migrations("jobs", databases["jobs"]).up()

    assert {(row["retry_count"], row["deaths"]) for row in all_rows(databases["jobs"])["jobs"]} == {(0, 0)}


@pytest.mark.slow
def test_the_services_of_now_work_on_with_what_0_1_0_has_left(
    databases: Mapping[str, str], redis_url: str, tmp_path: Path
) -> None:
    up(databases)
    stack = Stack(tmp_path, databases, redis_url, key_prefix=f"{uuid4()}:")
    try:
        stack.start(*SERVICES, **KEPT, **AT_ONCE)
        stack.start_runner("innosystem.runner.examples.noop", RUNNER_QUEUES="default,low")
        stack.job_types.ResumeJobType(job_type_service_pb2.ResumeJobTypeRequest(job_type_id=PAUSED))
        stack.jobs.ResumeQueue(job_service_pb2.ResumeQueueRequest(queue="low"))
        stack.jobs.WriteOffJob(job_service_pb2.WriteOffJobRequest(job_id=job(432), reason="a courtesy"))
        stack.wallets.Credit(
            wallet_service_pb2.CreditRequest(
                customer_id=EDSGER, currency="EUR", amount_cents=5_000, idempotency_key="after the upgrade"
            )
        )
        # No chore touches a charge that is blocked: a hand had made it, in a way that 0.1.0 did not know again.
        until_sync(lambda: left_over(databases["jobs"]).keys() == {BY_HAND}, limit_seconds=60)
        _, told = verified(databases, tmp_path, "--repair", "--yes", **KEPT, WALLETS_ADDRESS=stack.addresses["wallets"])
        assert f"repaired: job {BY_HAND}" in told
        until_sync(lambda: left_over(databases["jobs"]) == {}, limit_seconds=60)
        until_sync(lambda: active_holds(databases["wallets"]) == 0, limit_seconds=60)
    finally:
        stack.close()
    status, told = verified(databases, tmp_path, **KEPT)
    assert status == 0, told
    assert "ok: all books fit together" in told


def left_over(url: str) -> dict[str, tuple[str, str]]:
    """The jobs that have not come to their end, with how far they are."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT id::text, status, billing_status FROM jobs").fetchall()
    assert ENDS.keys() <= {job_id for job_id, _, _ in found}
    return {
        job_id: (status, billing)
        for job_id, status, billing in found
        if ENDS.get(job_id) not in (None, (status, billing))
    }


def active_holds(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM holds WHERE state = 'ACTIVE'").fetchone()
        return int(found[0]) if found else 0
