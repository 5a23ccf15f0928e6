"""The operator's commands against real services."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from innosystem.client import Innosystem
from services import SERVICES
from tests.integration.tools.cli.conftest import Found, Run
from tests.support.until import until_sync
from tools.demo.seed import seed
from tools.local.embedded import EmbeddedPostgres

Jsonl = Callable[[list[str]], str]
ADA = "01990000-0000-7000-8000-000000000201"


@pytest.fixture(scope="module", autouse=True)
def examples(platform_environment: dict[str, str]) -> None:
    """The examples, before any test creates customers: `seed` leaves a platform alone that has others."""

    async def work() -> None:
        addresses = {service: platform_environment[f"{service.upper()}_ADDRESS"] for service in SERVICES}
        async with Innosystem(**addresses) as platform:
            await seed(platform)

    asyncio.run(work())


@pytest.fixture
def seeded(found: Found) -> Any:
    """The examples after seeding."""
    return found("seed")


def test_seeding_again_finds_what_the_first_time_made(found: Found, innosystem: Run) -> None:
    first = found("seed")
    again = found("seed")
    assert again["made"] == []
    assert [each["customer"]["id"] for each in again["customers"]] == [
        each["customer"]["id"] for each in first["customers"]
    ]
    assert all(each["wallet"]["current_balance_cents"] != 0 for each in again["customers"])
    assert not any(each["api_key"] for each in again["customers"])
    assert again["job_types"][0]["name"] == "python.source-stats"
    assert "All examples exist already." in innosystem("seed").stdout


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[[list[str]], str]:
    """Write lines into a file, and return its name."""

    def write(lines: list[str]) -> str:
        file = tmp_path / "jobs.jsonl"
        file.write_text("\n".join(lines))
        return str(file)

    return write


@pytest.mark.usefixtures("seeded")
def test_submitted_jobs_run_and_are_charged(found: Found, innosystem: Run, jsonl: Jsonl) -> None:
    before = found("wallets", "show", "--customer-id", ADA)["wallet"]
    lines = [{"input": {"path": f"{n}.py", "source": "def f(): pass\n"}, "labels": {"n": str(n)}} for n in range(20)]
    file = jsonl([json.dumps(line) for line in lines])
    done = found("submit", file, "--customer-id", ADA, "--job-type", "python.source-stats", "--wait")
    assert (done["accepted"], done["refused"], done["ended"]) == (20, {}, {"SUCCEEDED": 20})

    job = found("jobs", "show", done["job_ids"][3])
    assert job["labels"] == {"n": "3"}
    assert json.loads(job["output_json"])["functions"] == 1
    shown = innosystem("jobs", "show", done["job_ids"][3])
    assert "SUCCEEDED" in shown.stdout

    listed = found("jobs", "list", "--filter", f'customer_id = "{ADA}" AND status = SUCCEEDED', "--limit", "7")
    assert len(listed) == 7
    assert "input_json" not in listed[0]
    full = found("jobs", "list", "--limit", "1", "--full", "--order-by", "created_at")
    assert "source" in json.loads(full[0]["input_json"])

    of_ada = ("jobs", "list", "--limit", "20", "--filter", f'customer_id = "{ADA}" OR status = RUNNING')
    assert len(found(*of_ada, "--since", "1h")) == 20
    assert found(*of_ada, "--until", "1h") == found(*of_ada, "--since", "2026-01-01", "--until", "2026-01-02") == []

    # The charges are made after the jobs have ended.
    def charged() -> int:
        after = found("wallets", "show", "--customer-id", ADA)["wallet"]
        return int(before["current_balance_cents"]) - int(after["current_balance_cents"])

    price = int(job["cost_cents"])
    assert price > 0
    until_sync(lambda: charged() == 20 * price, context=charged)


@pytest.mark.usefixtures("seeded")
def test_what_is_refused_is_named_by_line_and_the_rest_is_accepted(innosystem: Run, jsonl: Jsonl) -> None:
    stranger = str(uuid4())
    job = {"job_type": "python.source-stats", "customer_id": ADA, "input": {}}
    lines = [
        json.dumps(job),
        "oops",
        json.dumps({**job, "customer_id": stranger}),
        json.dumps({**job, "job_type": "no.such"}),
        json.dumps({**job, "job_id": "not a UUID"}),
        "",
        json.dumps({**job, "input": "\ud800"}),
        json.dumps(job),
    ]
    file = jsonl(lines)
    done = innosystem("submit", file)
    assert done.returncode == 1
    assert [line.split(": ")[:2] for line in done.stderr.splitlines()] == [
        ["line 2", "MALFORMED_LINE"],
        ["line 3", "CUSTOMER_NOT_FOUND"],
        ["line 4", "JOB_TYPE_NOT_FOUND"],
        ["line 5", "INVALID_FIELD"],
        ["line 7", "INVALID_INPUT_JSON"],
    ]
    assert done.stdout.split()[:2] == ["accepted", "2"]

    as_json = json.loads(innosystem("submit", file, "--json").stdout)
    assert as_json["refused"]["MALFORMED_LINE"] == 1
    assert [each["line"] for each in as_json["errors"]] == [2, 3, 4, 5, 7]


@pytest.mark.usefixtures("seeded")
def test_many_jobs_are_submitted_once_however_often_the_file_is(found: Found, jsonl: Jsonl) -> None:
    big = 123456789012345678901234567890
    lines = [
        f'{{"job_id": "{uuid4()}", "priority": "LOW", "input": {{"n": {big}, "price": 1.10}}}}' for _ in range(1001)
    ]
    arguments = ("submit", jsonl(lines), "--customer-id", ADA, "--job-type", "python.source-stats")
    first = found(*arguments)
    again = found(*arguments)
    assert (first["accepted"], first["replayed"]) == (1001, 0)
    assert (again["accepted"], again["replayed"]) == (0, 1001)
    assert first["job_ids"] == again["job_ids"] == [json.loads(line)["job_id"] for line in lines]
    job = found("jobs", "show", first["job_ids"][0])
    assert job["priority"] == "PRIORITY_LOW"
    assert f"{big}" in job["input_json"]
    assert "1.10" in job["input_json"]


@pytest.mark.usefixtures("seeded")
def test_jobs_that_fail_are_waited_for_and_told(innosystem: Run, jsonl: Jsonl) -> None:
    file = jsonl(['{"input": {"source": "def"}}'])
    to_ada = ("--customer-id", ADA, "--job-type", "python.source-stats")
    done = innosystem("submit", file, *to_ada, "--wait")
    assert done.returncode == 1
    assert done.stdout.split()[-2:] == ["failed", "1"]
    [job_id] = json.loads(innosystem("submit", file, *to_ada, "--json").stdout)["job_ids"]
    assert done.stderr.startswith("line 1: FAILED: ")
    assert done.stderr.endswith(f" (job {job_id})\n")


def test_a_customer_is_created_shown_and_listed(found: Found, innosystem: Run) -> None:
    made = found("customers", "create", "--name", "Ö [b]", "--email", f"{uuid4()}@example.com")
    customer = made["customer"]
    assert made["api_key"]
    assert UUID(customer["id"]).version == 7
    assert found("customers", "show", customer["id"]) == customer
    assert found("customers", "list", "--filter", f'id = "{customer["id"]}"') == [customer]
    assert "Ö [b]" in innosystem("customers", "list").stdout
    shown = innosystem("customers", "create", "--name", "x", "--email", f"{uuid4()}@example.com")
    assert "API key, shown only this once: " in shown.stdout


def test_the_keys_of_a_customer_are_rotated_listed_and_revoked(found: Found, innosystem: Run) -> None:
    new = ("--name", "Ada", "--email", f"{uuid4()}@example.com", "--customer-id", str(uuid4()))
    customer_id = found("customers", "create", *new)["customer"]["id"]
    again = innosystem("customers", "create", *new)
    assert f"innosystem customers rotate-key {customer_id}" in again.stderr
    rotated = found("customers", "rotate-key", customer_id, "--overlap", "1h30m")
    assert rotated["api_key"].startswith(rotated["key"]["prefix"])
    present, first = found("customers", "keys", "list", customer_id)
    assert present == rotated["key"]
    assert "expires_at" in first
    refused = innosystem("customers", "keys", "revoke", customer_id, present["id"])
    assert (refused.returncode, "nothing was done" in refused.stderr) == (1, True)
    assert found("customers", "keys", "list", customer_id) == [present, first]
    revoked = found("customers", "keys", "revoke", customer_id, present["id"], "--yes")
    assert found("customers", "keys", "list", customer_id) == [revoked, first]
    shown = innosystem("customers", "rotate-key", customer_id)
    assert "API key, shown only this once: inno_" in shown.stdout
    assert f"The keys before it work for 1d more: `innosystem customers keys list {customer_id}`" in shown.stdout
    ended = innosystem("customers", "rotate-key", customer_id, "--overlap", "0s")
    assert "The keys before it work no longer: " in ended.stdout


def test_a_further_key_has_a_name_and_scopes_and_an_end(found: Found, innosystem: Run) -> None:
    email = f"{uuid4()}@example.com"
    found("customers", "create", "--name", "Ada", "--email", email)
    options = ("--name", "reports", "--scope", "read", "--expires-in", "90d", "--api-key-id", str(uuid4()))
    made = found("customers", "keys", "create", email, *options)
    assert made["api_key"].startswith(made["key"]["prefix"])
    assert (made["key"]["name"], made["key"]["scopes"]) == ("reports", ["SCOPE_READ"])
    assert "expires_at" in made["key"]
    again = innosystem("customers", "keys", "create", email, *options)
    assert "The key existed before" in again.stderr
    shown = innosystem("customers", "keys", "create", email, "--name", "backend")
    assert "API key, shown only this once: inno_" in shown.stdout
    listed = innosystem("customers", "keys", "list", email, "-o", "csv").stdout.splitlines()
    assert [line.split(",")[1] for line in listed] == ["name", "backend", "reports", ""]
    assert "READ, SUBMIT" in innosystem("customers", "keys", "list", email, "-o", "wide").stdout
    refused = innosystem("customers", "keys", "create", email, "--name", "x", "--scope", "write")
    assert "READ" in refused.stderr


def test_a_wallet_is_created_and_credited_once(found: Found, innosystem: Run) -> None:
    owner = ("--customer-id", str(uuid4()), "--currency", "CHF")
    wallet = found("wallets", "create", *owner, "--unknown-customer")
    first = innosystem("wallets", "credit", *owner, "--amount-cents", "250", "--json", "--yes")
    assert json.loads(first.stdout)["wallet"]["current_balance_cents"] == 250
    plan, balance, option = first.stderr.splitlines()
    assert plan == f"2.50 CHF is paid into the wallet of customer {owner[1]}."
    assert balance == "Its balance is 0.00 CHF now."
    repeat = option.removeprefix("If this fails, repeat it with: ").split()
    assert repeat[0] == "--idempotency-key"
    again = innosystem("wallets", "credit", *owner, "--amount-cents", "250", *repeat, "--yes")
    assert "Nothing was paid in now" in again.stderr
    shown = found("wallets", "show", wallet["id"])
    assert shown["wallet"]["current_balance_cents"] == 250
    assert [line["kind"] for line in shown["transactions"]] == ["TRANSACTION_KIND_CREDIT"]
    assert "CREDIT" in innosystem("wallets", "show", *owner).stdout
    assert found("wallets", "list", "--filter", f'id = "{wallet["id"]}"') == [shown["wallet"]]


def test_a_job_type_is_created_shown_and_listed(found: Found, innosystem: Run) -> None:
    name = f"type-{uuid4()}"
    made = found("job-types", "create", "--name", name, "--processor-type", "ASYNC", "--standard-cost-cents", "0")
    assert made["enabled"] is True
    assert found("job-types", "show", name) == found("job-types", "show", made["id"]) == made
    assert name in innosystem("job-types", "list", "--limit", "1000").stdout


@pytest.mark.usefixtures("seeded")
def test_the_queue_is_counted(found: Found, innosystem: Run, jsonl: Jsonl) -> None:
    queue = f"q-{uuid4()}"
    free = ("--processor-type", "ASYNC", "--standard-cost-cents", "0")
    found("job-types", "create", "--name", queue, *free, "--queue", queue)
    found("submit", jsonl(['{"priority": "HIGH"}'] * 2), "--customer-id", ADA, "--job-type", queue)
    (stats,) = [each for each in found("queue", queue) if each["priority"] == "PRIORITY_HIGH"]
    assert (stats["queue"], stats["waiting"], stats["running"]) == (queue, 2, 0)
    assert queue in innosystem("queue", queue).stdout


@pytest.mark.parametrize(
    ("arguments", "line", "status"),
    [
        (["jobs", "show", "xyz"], "'xyz' is no ID of a job: ", 2),
        (["jobs", "show", str(UUID(int=7))], "JOB_NOT_FOUND: ", 1),
        (["jobs", "list", "--filter", "nonsense ="], "INVALID_FILTER: ", 1),
        (["wallets", "show", "--customer-id", str(UUID(int=7))], "WALLET_NOT_FOUND: ", 1),
        (["customers", "create", "--name", "x", "--email", "nobody"], "INVALID_FIELD: ", 1),
    ],
)
def test_what_is_refused_is_one_line(innosystem: Run, arguments: list[str], line: str, status: int) -> None:
    done = innosystem(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"innosystem: {line}")
    assert done.stderr.count("\n") == 1


@contextmanager
def submitting(
    environment: dict[str, str], folder: Path, *arguments: str, job_type: str = "x", file: str = "-"
) -> Iterator[subprocess.Popen[str]]:
    """Run `innosystem submit -` as a process, whose input the test ends."""
    command = ["submit", file, "--customer-id", ADA, "--job-type", job_type, *arguments]
    with subprocess.Popen(
        [sys.executable, "-m", "tools.cli", *command],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def write(process: subprocess.Popen[str], text: str) -> None:
    """Writes to a process and waits until it has read all of it."""
    assert process.stdin
    process.stdin.write(text)
    process.stdin.flush()
    pipe = process.stdin.fileno()
    until_sync(lambda: fcntl.ioctl(pipe, termios.FIONREAD, b"0000") == bytes(4), limit_seconds=30)


@pytest.mark.usefixtures("seeded")
def test_jobs_are_read_from_standard_input(platform_environment: dict[str, str], tmp_path: Path) -> None:
    with submitting(platform_environment, tmp_path) as process:
        out, err = process.communicate("{}\noops\n", timeout=60)
    assert process.returncode == 1
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["line 1", "JOB_TYPE_NOT_FOUND"],
        ["line 2", "MALFORMED_LINE"],
    ]
    assert out.split()[:2] == ["accepted", "0"]


def test_submitting_ends_though_its_input_does_not(platform_environment: dict[str, str], tmp_path: Path) -> None:
    nobody = f"unix:{tmp_path}/nobody"
    with submitting({**platform_environment, "JOBS_ADDRESS": nobody}, tmp_path) as process:
        write(process, "{}\n" * 500)
        assert process.wait(60) == 1
        assert process.stderr
        assert f"can't reach the jobs service at {nobody}" in process.stderr.read()


def test_submitting_can_be_interrupted_while_it_reads(platform_environment: dict[str, str], tmp_path: Path) -> None:
    with submitting(platform_environment, tmp_path) as process:
        write(process, "{}\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


@pytest.fixture
def unserved(innosystem: Run, seeded: Any) -> str:
    """The name of a job type, and of its queue, that no runner serves."""
    name = f"q-{uuid4()}"
    of = ("--processor-type", "ASYNC", "--standard-cost", "0.01EUR", "--queue", name)
    assert innosystem("job-types", "create", "--name", name, *of).returncode == 0
    return name


def test_submitting_that_was_killed_goes_on_when_it_is_given_again_and_no_job_is_there_twice(
    platform_environment: dict[str, str], tmp_path: Path, found: Found, jsonl: Jsonl, unserved: str
) -> None:
    def jobs() -> list[Any]:
        listed: list[Any] = found("jobs", "list", "--filter", f'queue = "{unserved}"', "--limit", "2000")
        return listed

    lines = [json.dumps({"input": n}) for n in range(600)]
    with submitting(platform_environment, tmp_path, job_type=unserved) as process:
        write(process, "\n".join(lines[:450]) + "\n")
        until_sync(lambda: bool(jobs()), limit_seconds=60)
        process.kill()
        process.wait(60)
    again = found("submit", jsonl(lines), "--customer-id", ADA, "--job-type", unserved)
    assert again["replayed"] >= 200
    assert again["accepted"] + again["replayed"] == len(set(again["job_ids"])) == len(jobs()) == 600
    # Each has one hold. The sum that the wallet holds has those of other jobs too, which come and go meanwhile.
    assert len({job["hold_id"] for job in jobs()} - {""}) == 600

    other = found("submit", jsonl(lines[:1]), "--customer-id", ADA, "--job-type", unserved, "--idempotency-key", "2")
    assert (other["accepted"], other["replayed"]) == (1, 0)


def test_an_interrupted_wait_prints_what_was_submitted_and_how_to_continue(
    platform_environment: dict[str, str], tmp_path: Path, found: Found, jsonl: Jsonl, unserved: str
) -> None:
    file, of_queue = jsonl(['{"input": 1}', "oops"]), f'queue = "{unserved}"'
    with submitting(platform_environment, tmp_path, "--wait", "--json", job_type=unserved, file=file) as process:
        until_sync(lambda: bool(found("jobs", "list", "--filter", of_queue)), limit_seconds=60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Repeat the command to continue" in err
    told = json.loads(out)
    [job] = found("jobs", "list", "--filter", of_queue)
    assert (told["accepted"] + told["replayed"], told["job_ids"]) in ((1, [job["id"]]), (0, []))
    again = found("submit", jsonl(['{"input": 1}']), "--customer-id", ADA, "--job-type", unserved)
    assert again["job_ids"] == [job["id"]]


def test_waiting_has_a_limit_and_says_that_no_runner_takes_the_jobs(
    innosystem: Run, jsonl: Jsonl, unserved: str
) -> None:
    arguments = ("--customer-id", ADA, "--job-type", unserved, "--wait", "--timeout", "2s")
    done = innosystem("submit", jsonl(['{"input": 1}']), *arguments)
    assert done.returncode == 1
    start = f"`innosystem run --handlers MODULE --queue {unserved}` starts one"
    no_runner = f"1 job waits in {unserved}, and no runner takes from it: {start}"
    timeout = "0 of 1 jobs have ended: --timeout has passed. The other jobs continue."
    assert done.stderr.splitlines() == [no_runner, timeout]
    assert done.stdout.split()[:2] == ["accepted", "1"]


@pytest.mark.usefixtures("seeded")
def test_the_wait_for_a_job_says_that_no_runner_has_its_handler(innosystem: Run) -> None:
    name = f"t-{uuid4()}"
    of = ("--standard-cost", "0EUR", "--processing-logic-id", "nobody.has-it")
    assert innosystem("job-types", "create", "--name", name, *of).returncode == 0
    done = innosystem("submit", "--job-type", name, "--customer-id", ADA, "--wait", "--timeout", "12s")
    assert "Jobs wait in default for handlers that no runner has: nobody.has-it\n" in done.stderr


def test_migrations_go_up_and_down_and_are_checked(
    innosystem: Run, found: Found, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.create_database(name := f"cli_{uuid4().hex}")
    monkeypatch.delenv("WALLETS_DATABASE_OWNER_URL")
    monkeypatch.setenv("WALLETS_DATABASE_URL", postgres.url(name))
    try:
        done = innosystem("migrate", "check", "wallets", "--json")
        assert done.returncode == 1
        assert {each["problem"] for each in json.loads(done.stdout)} == {"pending"}
        assert found("migrate", "current", "wallets") == [{"service": "wallets", "revision": None}]

        assert innosystem("migrate", "up", "wallets").stdout.startswith("wallets: an empty database -> ")
        assert "stays at" in innosystem("migrate", "up", "wallets").stdout
        assert innosystem("migrate", "check", "wallets").returncode == 0
        assert {each["state"] for each in found("migrate", "history", "wallets")} == {"applied"}

        assert innosystem("migrate", "down", "wallets", "--to", "base", "--yes").returncode == 0
        assert innosystem("migrate", "check", "wallets").returncode == 1
        wrong = innosystem("migrate", "up", "wallets", "--to", "nowhere")
        assert wrong.returncode == 1
        assert wrong.stderr.startswith("innosystem: wallets: ")
        assert wrong.stderr.count("\n") == 1
    finally:
        postgres.drop_database(name)


def test_all_services_are_migrated_when_none_is_named(found: Found, innosystem: Run) -> None:
    assert [each["service"] for each in found("migrate", "current")] == list(SERVICES)
    assert found("migrate", "check") == []
    assert innosystem("migrate", "check").stdout.startswith("Nothing is pending")
