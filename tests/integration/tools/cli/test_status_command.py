"""`innosystem status` on a real platform, whole and with parts that are missing, wrong or silent."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services import SERVICES
from tests.conftest import as_service, migrations
from tests.integration.tools.cli.conftest import Found, Run
from tests.integration.tools.cli.test_job_control import decline
from tools.cli.__main__ import command_line
from tools.cli.identity import same_database
from tools.local import target
from tools.local.environment import address_variable
from tools.local.target import Target

ADA = "01990000-0000-7000-8000-000000000201"


@pytest.fixture
def status(innosystem: Run) -> Callable[[], tuple[int, Any]]:
    """Return the exit status and the report."""

    def run() -> tuple[int, Any]:
        done = innosystem("status", "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a listener that never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def a_job_of(job_type: str, folder: Path) -> str:
    """Return a file with a job."""
    file = folder / f"{job_type}.jsonl"
    file.write_text(json.dumps({"job_type": job_type, "customer_id": ADA, "input": {}}))
    return str(file)


def states(report: Any) -> dict[str, str]:
    return {part["name"]: part["state"] for part in report["parts"]}


def problems(report: Any) -> list[tuple[str, str]]:
    return [(one["what"], one["command"]) for one in report["problems"]]


def test_a_whole_platform_has_nothing_wrong(status: Callable[[], tuple[int, Any]], innosystem: Run) -> None:
    code, report = status()
    assert (code, report["problems"]) == (0, [])
    assert states(report) == {
        **dict.fromkeys(SERVICES, "serving"),
        **{f"{service} database": "responds" for service in SERVICES},
        "Redis": "responds",
    }
    assert all(part["version"] for part in report["parts"])
    shown = innosystem("status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Nothing is wrong." in shown.stdout


def test_jobs_that_wait_for_a_pause_or_a_runner_are_shown_with_the_command_that_helps(
    found: Found, innosystem: Run, status: Callable[[], tuple[int, Any]], tmp_path: Path
) -> None:
    found("seed")
    queues = [f"q{uuid4().hex[:8]}" for _ in range(2)]
    for queue in queues:
        create = ("job-types", "create", "--name", queue, "--processor-type", "SYNC", "--standard-cost-cents", "1")
        found(*create, "--queue", queue)
        assert len(found("submit", a_job_of(queue, tmp_path))["job_ids"]) == 1
    assert innosystem("queue", "pause", queues[0]).returncode == 0
    assert innosystem("job-types", "pause", queues[1]).returncode == 0

    code, report = status()
    assert code == 1
    assert (f"the queue {queues[0]} is paused, and 1 job waits", f"innosystem queue resume {queues[0]}") in problems(
        report
    )
    unserved = f"innosystem run --handlers MODULE --queue {queues[1]}"
    assert (f"1 job waits in {queues[1]}, which no runner serves", unserved) in problems(report)
    resume = f"innosystem job-types resume {queues[1]}"
    assert (f"the job type {queues[1]} is paused, and 1 job is waiting", resume) in problems(report)
    [queue] = [one for one in report["queues"] if one["name"] == queues[0]]
    assert (queue["waiting"], queue["running"], queue["paused"], queue["runners"]) == (1, 0, True, 0)
    assert queue["oldest_seconds"] >= 0
    shown = innosystem("status")
    assert f"! 1 job waits in {queues[1]}, which no runner serves\n    {unserved}\n" in shown.stdout

    for command, name in (("queue", queues[0]), ("job-types", queues[1])):
        assert innosystem(command, "resume", name).returncode == 0
    for queue in queues:
        assert innosystem("jobs", "cancel", "--filter", f'queue = "{queue}"', "--yes").returncode == 0


def test_jobs_that_are_not_paid_are_shown(
    innosystem: Run,
    status: Callable[[], tuple[int, Any]],
    platform_environment: dict[str, str],
    found: Found,
    tmp_path: Path,
) -> None:
    found("seed")
    name = f"t{uuid4().hex[:8]}"
    create = ("job-types", "create", "--name", name, "--processor-type", "SYNC", "--standard-cost-cents", "1")
    found(*create, "--queue", name)
    [job_id] = found("submit", a_job_of(name, tmp_path))["job_ids"]
    decline(platform_environment, job_id)
    code, report = status()
    assert code == 1
    command = "innosystem jobs list --filter 'billing_status = DECLINED'"
    assert problems(report) == [("1 job is not paid: too little in the wallet (DECLINED)", command)]
    assert innosystem("jobs", "write-off", job_id, "--reason", "a test", "--yes").returncode == 0


def test_parts_that_are_silent_or_gone_are_a_line_each_and_keep_nothing_back(
    status: Callable[[], tuple[int, Any]], silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_ADDRESS", silent)
    monkeypatch.setenv("CUSTOMERS_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("WALLETS_DATABASE_URL", f"postgresql://me:secret@{silent}/wallets")
    monkeypatch.setenv("REDIS_URL", f"redis://{silent}/0")
    monkeypatch.delenv("CUSTOMERS_DATABASE_URL")
    monkeypatch.delenv("CUSTOMERS_DATABASE_OWNER_URL")
    code, report = status()
    assert code == 1
    assert states(report) == {
        "customers": "unreachable",
        "wallets": "serving",
        "jobs": "unreachable",
        "customers database": "unknown",
        "wallets database": "unreachable",
        "jobs database": "responds",
        "Redis": "unreachable",
    }
    assert report["queues"] is None
    assert [what for what, _ in problems(report)] == [
        f"the wallets database at {silent}/wallets (WALLETS_DATABASE_URL) can't be used: no response within 4 s",
        f"Redis at {silent}/0 is unreachable: no response within 4 s. New jobs reach no runner",
        "the customers service at 127.0.0.1:1 is unreachable: nothing listens there",
        f"the jobs service at {silent} is unreachable: no response within 4 s",
    ]
    assert "secret" not in json.dumps(report)


@pytest.mark.parametrize("password", ["qwx@zvy", "qwx/zvy", "qwx@/zvy", "9876?zvy", "9876#zvy"])
def test_no_half_of_a_password_is_shown_whatever_its_characters(
    password: str, status: Callable[[], tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in SERVICES:
        monkeypatch.setenv(f"{service.upper()}_DATABASE_URL", f"postgresql://me:{password}@127.0.0.1:1/{service}")
    monkeypatch.setenv("REDIS_URL", f"redis://me:{password}@127.0.0.1:1/0")

    code, report = status()

    assert code == 1
    assert {states(report)[name] for name in ("customers database", "Redis")} == {"unreachable"}
    assert not [part for part in ("qwx", "zvy", "9876") if part in json.dumps(report)]


def test_databases_of_another_platform_service_or_release_are_named(
    status: Callable[[], tuple[int, Any]],
    fresh_database: Callable[[str], str],
    platform_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others, behind = fresh_database("customers"), fresh_database("jobs")
    migrations("jobs", behind).down("-1")
    monkeypatch.setenv("CUSTOMERS_DATABASE_URL", others)
    monkeypatch.setenv("JOBS_DATABASE_URL", behind)
    monkeypatch.setenv("WALLETS_DATABASE_URL", platform_environment["CUSTOMERS_DATABASE_URL"])
    code, report = status()
    assert code == 1
    where = platform_environment["CUSTOMERS_ADDRESS"]
    assert {
        (
            f"the customers service at {where} uses another database than CUSTOMERS_DATABASE_URL names",
            "innosystem context list",
        ),
        ("1 migration is pending in the jobs database", "innosystem migrate up jobs"),
        ("WALLETS_DATABASE_URL names the database of customers", "innosystem context show"),
    } <= set(problems(report))


def test_services_at_default_addresses_are_used_only_with_the_databases_that_are_set(
    innosystem: Run,
    fresh_database: Callable[[str], str],
    platform_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = {service: platform_environment[address_variable(service)] for service in SERVICES}
    monkeypatch.setattr(target, "DEFAULT_ADDRESSES", addresses)
    for service in SERVICES:
        monkeypatch.delenv(address_variable(service))
    done = innosystem("jobs", "list")
    assert (done.returncode, done.stderr) == (0, "")

    monkeypatch.setenv("JOBS_DATABASE_URL", as_service("jobs", fresh_database("jobs")))
    done = innosystem("jobs", "list")
    assert done.returncode == 1
    assert f"the jobs service at {addresses['jobs']} uses another database" in done.stderr
    assert innosystem("run", "--handlers", "innosystem.runner.examples.source_stats").returncode == 1

    # What can't be proven is said.
    monkeypatch.setenv("JOBS_DATABASE_URL", "postgresql://127.0.0.1:1/jobs")
    done = innosystem("jobs", "list")
    assert done.returncode == 0
    assert (
        f"the environment names no services: the default addresses are used (jobs at {addresses['jobs']})"
        in done.stderr
    )


def test_a_hold_is_released_only_by_the_service_of_the_ledger_that_has_it(
    platform_environment: dict[str, str], fresh_database: Callable[[str], str]
) -> None:
    def same(**settings: str) -> bool | None:
        return asyncio.run(same_database(Target({**platform_environment, **settings}, "the test"), "wallets"))

    assert same() is True
    assert same(WALLETS_DATABASE_URL=fresh_database("wallets")) is False
    assert same(WALLETS_DATABASE_URL="") is None
    assert same(WALLETS_ADDRESS="127.0.0.1:1") is None


def test_the_commands_that_help_are_commands() -> None:
    app = command_line()
    for words in (
        ["queue", "resume"],
        ["job-types", "resume"],
        ["run"],
        ["migrate", "up"],
        ["context", "list"],
        ["up"],
    ):
        node = app
        for word in words:
            node = node[word]
