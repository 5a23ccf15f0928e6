"""`innosystem verify` on a platform that runs: what it prints, how it ends, and what the platform makes of repairs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from uuid_utils.compat import uuid7

from tests.conftest import PostgresServer
from tests.integration.tools.cli.conftest import Run
from tests.support.until import until_sync
from tests.support.verify_books import PROMISED_KEYS
from tools.cli.connect import user_at_host
from tools.local.migrations import migrations

ADA = UUID("01990000-0000-7000-8000-000000000201")
JOBS = 1000
CHARGED = """
INSERT INTO jobs (id, customer_id, job_type_id, status, billing_status, priority, queue, input_data, input_bytes,
    output_data, estimated_cost_cents, cost_cents, currency, transaction_id, max_attempts, request_digest, expires_at,
    started_at, completed_at)
SELECT %(id)s, %(customer_id)s, id, 'SUCCEEDED', 'CHARGED', 1, 'default', '{}', 2, '{}', 2, 2, 'EUR',
    %(transaction_id)s, 1, '', now(), now(), now()
FROM job_types LIMIT 1
"""
HOLD = """
WITH held AS (
    UPDATE wallets SET pending_charges_cents = pending_charges_cents + 3 WHERE customer_id = %(customer_id)s
    RETURNING id
)
INSERT INTO holds (id, wallet_id, job_id, amount_cents, state, created_at)
SELECT %(id)s, held.id, %(job_id)s, 3, 'ACTIVE', now() - interval '1 hour' FROM held
"""


@pytest.fixture
def verify(innosystem: Run) -> Run:
    """Checks with a short grace time, after the platform was seeded."""
    assert innosystem("seed").returncode == 0
    return lambda *arguments: innosystem("verify", "--grace-seconds", "0.1", *arguments)


@pytest.fixture
def jobs_database(platform_environment: dict[str, str]) -> Iterator[psycopg.Connection]:
    """The jobs database, where each statement is its own transaction."""
    with psycopg.connect(platform_environment["JOBS_DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def wallets_database(platform_environment: dict[str, str]) -> Iterator[psycopg.Connection]:
    """The wallets database, likewise."""
    with psycopg.connect(platform_environment["WALLETS_DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture
def uncharged(verify: Run, jobs_database: psycopg.Connection) -> str:
    """A job that says that it was charged, of which the ledger knows nothing."""
    job_id = uuid7()
    jobs_database.execute(CHARGED, {"id": job_id, "customer_id": ADA, "transaction_id": uuid7()})
    return str(job_id)


@pytest.fixture
def orphan(verify: Run, wallets_database: psycopg.Connection) -> str:
    """A hold for a job that was never submitted."""
    hold_id = uuid7()
    wallets_database.execute(HOLD, {"id": hold_id, "customer_id": ADA, "job_id": uuid7()})
    return str(hold_id)


def test_a_platform_whose_books_are_right_is_ok(verify: Run) -> None:
    done = verify()
    assert done.returncode == 0, done.stderr
    assert "ok: all books fit together" in done.stdout
    assert "missing_charges" in done.stdout


def test_json_has_the_promised_keys(verify: Run) -> None:
    done = verify("--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [key for key in PROMISED_KEYS if key not in report] == []
    assert report["ok"] is True
    assert report["wallets"] > 0


def test_a_check_while_jobs_are_submitted_run_and_charged_finds_nothing(
    verify: Run, platform_environment: dict[str, str], tmp_path: Path
) -> None:
    lines = [json.dumps({"input": {"path": f"{n}.py", "source": "def f(): pass\n"}}) for n in range(JOBS)]
    (tmp_path / "jobs.jsonl").write_text("\n".join(lines))
    wanted = ["--customer-id", str(ADA), "--job-type", "python.source-stats", "--wait"]
    submission = subprocess.Popen(
        [sys.executable, "-m", "tools.cli", "submit", "jobs.jsonl", *wanted],
        cwd=tmp_path,
        env={**os.environ, **platform_environment},
        stdout=subprocess.DEVNULL,
    )
    checks = []
    try:
        while submission.poll() is None:
            checks.append(verify("--json"))
    finally:
        submission.kill()
        submission.wait()
    assert submission.returncode == 0
    reports = [json.loads(one.stdout) for one in checks]
    assert [report for report in reports if not report["ok"]] == []
    # Some of them saw it under way.
    assert len({report["jobs_checked"] for report in reports}) > 1
    assert len({report["transactions"] for report in reports}) > 1


def test_damage_is_named_repaired_and_charged_by_the_settler(
    verify: Run, uncharged: str, orphan: str, wallets_database: psycopg.Connection
) -> None:
    done = verify()
    assert done.returncode == 1
    assert "NOT OK" in done.stdout
    assert f"job {uncharged}" in done.stdout
    assert f"hold {orphan}" in done.stdout
    assert (
        "innosystem verify --repair would make these repairs, after a confirmation: "
        "1 x job: CHARGE_DUE again: the settler charges it; 1 x hold: released.\n"
    ) in done.stdout

    repaired = verify("--repair", "--yes")
    assert repaired.returncode == 1
    assert f"repaired: job {uncharged}: CHARGE_DUE again" in repaired.stdout
    assert f"repaired: hold {orphan}: released" in repaired.stdout
    assert "2 repaired" in repaired.stdout

    def charged() -> bool:
        query = "SELECT -amount_cents FROM wallet_transactions WHERE job_id = %s"
        return wallets_database.execute(query, (uncharged,)).fetchall() == [(2,)]

    until_sync(charged, limit_seconds=60)
    until_sync(lambda: verify().returncode == 0, limit_seconds=60)


@pytest.mark.parametrize("said", [[], ["--dry-run"], ["--dry-run", "--yes"]])
def test_nothing_is_repaired_before_that_is_agreed_to(
    verify: Run, uncharged: str, orphan: str, said: list[str], jobs_database: psycopg.Connection
) -> None:
    done = verify("--repair", *said)
    assert done.returncode == 1
    if said:
        assert f"job {uncharged}: is CHARGED by " in done.stderr
        assert "and no deduction is its: CHARGE_DUE again: the settler charges it\n" in done.stderr
        assert f"hold {orphan}: 0.03 EUR held since " in done.stderr
        assert done.stderr.count(": released\n") == 1
        assert "Nothing was done: --dry-run." in done.stderr
        assert "NOT OK" in done.stdout
    else:
        assert "nothing was done: give --yes to repair" in done.stderr
    query = "SELECT billing_status FROM jobs WHERE id = %s"
    assert jobs_database.execute(query, (uncharged,)).fetchall() == [("CHARGED",)]
    assert verify("--repair", "--yes").returncode == 1
    until_sync(lambda: verify().returncode == 0, limit_seconds=60)


def test_what_is_agreed_to_at_a_terminal_is_repaired(
    verify: Run, uncharged: str, platform_environment: dict[str, str], tmp_path: Path
) -> None:
    ours, theirs = os.openpty()
    os.write(ours, b"yes\n")
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "verify", "--grace-seconds", "0.1", "--repair"],
        check=False,
        stdin=theirs,
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, **platform_environment},
        text=True,
    )
    os.close(ours)
    os.close(theirs)
    assert "Continue? Type yes: " in done.stderr
    assert f"repaired: job {uncharged}: CHARGE_DUE again" in done.stdout
    until_sync(lambda: verify().returncode == 0, limit_seconds=60)


def test_the_audit_trail_says_who_repaired_what(verify: Run, innosystem: Run, uncharged: str, orphan: str) -> None:
    assert verify("--repair", "--yes").returncode == 1
    found = innosystem("audit", "list", "jobs", "--filter", f'entity_id = "{uncharged}"', "--json")
    [entry] = json.loads(found.stdout)
    assert entry["actor"] == user_at_host()
    assert entry["method"] == "innosystem verify --repair"
    assert (entry["before"]["billing_status"], entry["after"]["billing_status"]) == ("CHARGED", "CHARGE_DUE")
    found = innosystem("audit", "list", "wallets", "--filter", f'entity_id = "{orphan}"', "--json")
    [entry] = json.loads(found.stdout)
    assert entry["method"].endswith("/ReleaseHold")
    assert (entry["before"]["state"], entry["after"]["state"]) == ("ACTIVE", "RELEASED")
    until_sync(lambda: verify().returncode == 0, limit_seconds=60)


def test_offenders_are_in_the_json_with_what_was_done(verify: Run, uncharged: str) -> None:
    done = verify("--repair", "--yes", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["ok"], report["missing_charges"], report["repaired"]) == (False, 1, 1)
    [offender] = report["offenders"]
    assert (offender["kind"], offender["id"], offender["repairable"]) == ("missing_charges", uncharged, True)
    assert report["repairs"][0]["done"] is True
    until_sync(lambda: verify().returncode == 0, limit_seconds=60)


def test_a_hold_stays_where_the_wallets_service_cannot_be_reached(
    verify: Run, orphan: str, monkeypatch: pytest.MonkeyPatch, platform_environment: dict[str, str]
) -> None:
    monkeypatch.setenv("WALLETS_ADDRESS", "localhost:1")
    done = verify("--repair", "--yes")
    assert done.returncode == 1
    assert f"not repaired: hold {orphan}: not released: can't reach the wallets service" in done.stdout
    monkeypatch.setenv("WALLETS_ADDRESS", platform_environment["WALLETS_ADDRESS"])
    assert "1 repaired" in verify("--repair", "--yes").stdout
    assert verify().returncode == 0


def test_work_that_nobody_paid_for_is_pointed_out_and_is_no_damage(
    verify: Run, uncharged: str, jobs_database: psycopg.Connection
) -> None:
    blocked = "UPDATE jobs SET billing_status = 'CHARGE_BLOCKED', transaction_id = NULL WHERE id = %s"
    jobs_database.execute(blocked, (uncharged,))
    done = verify()
    assert done.returncode == 0
    assert "Attention: 1 finished jobs are not paid" in done.stdout
    assert uncharged in done.stdout


@pytest.mark.parametrize("name", ["WALLETS_DATABASE_URL", "JOBS_DATABASE_URL"])
def test_it_says_which_database_it_was_not_told(verify: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    done = verify()
    assert done.returncode == 1
    assert f"{name} is not set" in done.stderr


@pytest.mark.parametrize("service", ["customers", "wallets", "jobs"])
def test_it_says_which_database_is_empty(
    verify: Run, service: str, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    postgres.create_database(name := f"empty_{uuid4().hex}")
    variable = f"{service.upper()}_DATABASE_URL"
    monkeypatch.setenv(variable, postgres.url(name))
    done = verify()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("_DATABASE_URL") == 1
    assert f"no tables are in the database of {variable} (" in done.stderr
    assert f"/{name})" in done.stderr
    assert f"`innosystem migrate up {service}` makes them" in done.stderr


def test_all_empty_databases_are_named_at_once(
    verify: Run, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    for service in ("WALLETS", "JOBS"):
        postgres.create_database(name := f"empty_{uuid4().hex}")
        monkeypatch.setenv(f"{service}_DATABASE_URL", postgres.url(name))
    said = verify().stderr
    assert "no tables are in the database of WALLETS_DATABASE_URL (" in said
    assert ", JOBS_DATABASE_URL (" in said
    assert "`innosystem migrate up` makes them" in said


def test_it_says_which_database_is_behind_the_release(
    verify: Run, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    postgres.create_database(name := f"behind_{uuid4().hex}")
    monkeypatch.delenv("JOBS_DATABASE_OWNER_URL", raising=False)
    monkeypatch.setenv("JOBS_DATABASE_URL", postgres.url(name))
    first = migrations("jobs", postgres.url(name)).history()[0][0]
    migrations("jobs", postgres.url(name)).up(first)
    done = verify()
    assert done.returncode == 1
    assert f"the database of jobs (at {first}) is behind this release: `innosystem migrate up jobs`" in done.stderr
