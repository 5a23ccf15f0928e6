"""The operator's commands for each field and each RPC, against real services."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.tools.cli.conftest import Found, Run
from tests.support.until import until_sync

ADA = "01990000-0000-7000-8000-000000000201"
STATS = "python.source-stats"


@pytest.fixture(autouse=True)
def seeded(found: Found) -> None:
    """Create the examples, unless they exist."""
    found("seed", "--beside-others")


@pytest.fixture
def job_type(found: Found) -> str:
    """The name of a new job type, and of its queue, that no runner serves."""
    name = f"t-{uuid4()}"
    found(
        "job-types",
        "create",
        "--name",
        name,
        "--processor-type",
        "ASYNC",
        "--standard-cost",
        "0.05EUR",
        "--queue",
        name,
    )
    return name


@pytest.fixture
def customer(found: Found) -> str:
    """The ID of a new customer with 10 EUR."""
    made = found("customers", "create", "--name", "Grace", "--email", f"{uuid4()}@example.com")
    customer_id = str(made["customer"]["id"])
    found("wallets", "create", "--customer-id", customer_id)
    found("wallets", "credit", "--customer-id", customer_id, "--amount", "10EUR", "--yes")
    return customer_id


def test_a_job_type_is_created_with_every_field(found: Found, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    made = found(
        *("job-types", "create", "--name", f"t-{uuid4()}", "--processor-type", "SYNC", "--standard-cost", "1.50CHF"),
        *(
            "--processing-logic-id",
            "render",
            "--description",
            "Renders",
            "--queue",
            "slow",
            "--default-priority",
            "LOW",
        ),
        *("--max-attempts", "4", "--timeout", "90s", "--expires-after", "2d", "--retry-initial-backoff", "500ms"),
        *("--retry-multiplier", "1.5", "--retry-max-backoff", "1h", "--input-schema", str(schema), "--no-enabled"),
    )
    expected = {
        "processing_logic_id": "render",
        "description": "Renders",
        "processor_type": "PROCESSOR_TYPE_SYNC",
        "standard_cost_cents": 150,
        "currency": "CHF",
        "queue": "slow",
        "default_priority": "PRIORITY_LOW",
        "max_attempts": 4,
        "timeout": "90s",
        "expires_after": "172800s",
        "retry_policy": {"initial_backoff": "0.500s", "max_backoff": "3600s", "multiplier": 1.5},
        "input_schema_json": '{"type": "object"}',
        "enabled": False,
    }
    assert {name: made[name] for name in expected} == expected


def test_an_update_changes_what_is_named_and_nothing_else(found: Found, innosystem: Run, job_type: str) -> None:
    before = found("job-types", "show", job_type)
    changed = found("job-types", "update", job_type, "--timeout", "2m", "--retry-max-backoff", "10m")
    policy = {**before["retry_policy"], "max_backoff": "600s"}
    own = {"timeout": "120s", "retry_policy": policy, "etag": changed["etag"], "updated_at": changed["updated_at"]}
    assert changed == before | own

    again = innosystem("job-types", "update", job_type, "--timeout", "2m", "--json")
    assert json.loads(again.stdout) == changed
    assert again.stderr == "Nothing was changed: the job type is so already.\n"

    stale = innosystem("job-types", "update", job_type, "--timeout", "3m", "--etag", before["etag"])
    assert (stale.returncode, stale.stderr.split(":")[1].strip()) == (1, "ETAG_MISMATCH")
    assert found("job-types", "show", job_type) == changed

    shown = innosystem("job-types", "show", job_type).stdout
    assert "timeout              2m" in shown
    assert "at most 10m" in shown


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "nothing to change: give an option"),
        (["--standard-cost", "1USD"], "priced in EUR, which can't be changed to USD"),
        (["--timeout", "30"], "'30' has no unit"),
        (["--timeout", "25h"], "--timeout: 1s to 24h"),
        (["--input-schema", "no-such-file"], "no-such-file: No such file or directory"),
    ],
)
def test_a_wrong_update_says_what_is_right(innosystem: Run, job_type: str, arguments: list[str], why: str) -> None:
    done = innosystem("job-types", "update", job_type, *arguments)
    assert done.returncode != 0
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_schema_is_removed_and_a_name_is_changed(found: Found, job_type: str, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "string"}')
    assert "input_schema_json" in found("job-types", "update", job_type, "--input-schema", str(schema))
    renamed = found("job-types", "update", job_type, "--no-input-schema", "--name", f"{job_type}.2")
    assert "input_schema_json" not in renamed
    assert renamed["name"] == f"{job_type}.2"


def test_a_disabled_job_type_accepts_no_job_until_it_is_enabled(innosystem: Run, found: Found, job_type: str) -> None:
    submit = ("submit", "--job-type", job_type, "--customer-id", ADA)
    assert innosystem("job-types", "disable", job_type).stdout == f"{job_type} is disabled.\n"
    assert "JOB_TYPE_DISABLED" in innosystem(*submit).stderr
    assert found("job-types", "enable", job_type)["enabled"] is True
    assert innosystem(*submit).returncode == 0


def test_a_job_type_is_deleted_after_a_confirmation_and_not_while_jobs_use_it(innosystem: Run, job_type: str) -> None:
    refused = innosystem("job-types", "delete", job_type)
    assert (refused.returncode, "nothing was done" in refused.stderr) == (1, True)
    used = innosystem("submit", "--job-type", job_type, "--customer-id", ADA)
    assert used.returncode == 0
    assert "JOB_TYPE_IN_USE" in innosystem("job-types", "delete", job_type, "--yes").stderr


def test_an_unused_job_type_is_deleted(innosystem: Run, job_type: str) -> None:
    assert innosystem("job-types", "delete", job_type, "--dry-run").returncode == 0
    assert innosystem("job-types", "delete", job_type, "--yes").stdout == f"{job_type} is deleted.\n"
    assert "JOB_TYPE_NOT_FOUND" in innosystem("job-types", "show", job_type).stderr


def on_a_terminal(environment: dict[str, str], folder: Path, editor: str, *arguments: str) -> tuple[int, str]:
    """Run the command with an editor, on a terminal of its own, and return its status and what it printed there."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0):
        done = subprocess.run(
            [sys.executable, "-m", "tools.cli", *arguments],
            cwd=folder,
            env={**os.environ, **environment, "EDITOR": editor, "VISUAL": "", "TERM": "dumb"},
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        os.close(theirs)
    return done.returncode, done.stdout + done.stderr


def test_a_job_type_and_a_customer_are_edited(
    platform_environment: dict[str, str], tmp_path: Path, found: Found, job_type: str, customer: str
) -> None:
    terminal = (platform_environment, tmp_path)
    before = found("job-types", "show", job_type)
    status, printed = on_a_terminal(*terminal, "sed -i s/timeout:.*/timeout:\\ 45s/", "job-types", "edit", job_type)
    assert (status, "45s" in printed) == (0, True)
    after = found("job-types", "show", job_type)
    assert after == before | {"timeout": "45s", "etag": after["etag"], "updated_at": after["updated_at"]}

    status, printed = on_a_terminal(*terminal, "true", "job-types", "edit", job_type)
    assert (status, printed.split("\n", 1)[-1].strip() or printed.strip()) == (0, "Nothing was changed.")
    assert found("job-types", "show", job_type) == after

    status, _ = on_a_terminal(*terminal, "sed -i s/^name:.*/name:\\ Ada/", "customers", "edit", customer)
    assert (status, found("customers", "show", customer)["name"]) == (0, "Ada")


def test_a_service_that_refuses_an_edit_is_quoted_and_the_text_is_kept(
    platform_environment: dict[str, str], tmp_path: Path, job_type: str
) -> None:
    # The second time the editor changes nothing, which gives up.
    editor = "sed -i s/^processing_logic_id:.*/processing_logic_id:/"
    status, printed = on_a_terminal(platform_environment, tmp_path, editor, "job-types", "edit", job_type)
    assert status == 1
    assert "nothing was changed: INVALID_FIELD" in printed
    [kept] = [Path(line.split()[4].rstrip(":")) for line in printed.splitlines() if line.startswith("Your text is in ")]
    text = kept.read_text()
    assert text.startswith("#! INVALID_FIELD")
    assert "processing_logic_id:\n" in text

    editor = "sed -i s/^processing_logic_id:.*/processing_logic_id:\\ mended/"
    resumed = ("job-types", "edit", job_type, "--from", str(kept))
    status, printed = on_a_terminal(platform_environment, tmp_path, editor, *resumed)
    kept.unlink()
    assert (status, "mended" in printed) == (0, True)


def test_a_customer_is_updated_deactivated_and_activated(innosystem: Run, found: Found, customer: str) -> None:
    assert found("customers", "update", customer, "--name", "Ada")["name"] == "Ada"
    assert "nothing to change" in innosystem("customers", "update", customer).stderr
    limits = ("customers", "limits")
    assert found(*limits, "set", customer, "--requests", "5/10", "--input-bytes-per-day", "0")["requests"] == {
        "per_second": 5,
        "burst": 10,
    }
    assert found(*limits, "set", customer, "--requests", "default", "--submissions", "7").keys() >= {"submissions"}
    assert found(*limits, "show", customer)["submissions"] == {"per_second": 7, "burst": 7}
    assert "200/400" in innosystem(*limits, "set", customer, "--requests", "fast").stderr
    assert "nothing to change" in innosystem(*limits, "set", customer).stderr
    # Without jobs there is nothing to confirm.
    assert found("customers", "deactivate", customer)["active"] is False
    refused = innosystem("submit", "--job-type", STATS, "--customer-id", customer)
    assert "CUSTOMER_INACTIVE" in refused.stderr
    assert found("customers", "activate", customer)["active"] is True


def test_a_customer_with_waiting_jobs_is_deactivated_only_after_a_confirmation(
    innosystem: Run, found: Found, customer: str, job_type: str
) -> None:
    assert innosystem("submit", "--job-type", job_type, "--customer-id", customer).returncode == 0
    refused = innosystem("customers", "deactivate", customer)
    assert refused.returncode == 1
    assert "Jobs that wait or run: 1. They are run and charged" in refused.stderr
    for arguments in (["--dry-run"], ["--dry-run", "--yes"]):
        assert innosystem("customers", "deactivate", customer, *arguments).returncode == 0
        assert found("customers", "show", customer)["active"] is True
    assert found("customers", "deactivate", customer, "--yes")["active"] is False


def test_the_owner_of_a_key_is_found_by_the_key(
    innosystem: Run, found: Found, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = found("customers", "rotate-key", customer)["api_key"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
    assert found("customers", "resolve-key")["id"] == customer
    monkeypatch.setattr("sys.stdin", io.StringIO("inno_nobodys\n"))
    assert "BAD_CREDENTIALS" in innosystem("customers", "resolve-key").stderr


def test_a_new_key_is_never_lost_whatever_the_format(innosystem: Run) -> None:
    for chosen in ("table", "wide", "json", "jsonl", "yaml", "csv", "name"):
        made = innosystem("customers", "create", "--name", "x", "--email", f"{uuid4()}@example.com", "-o", chosen)
        assert made.returncode == 0
        assert "inno_" in made.stdout + made.stderr


def test_a_wallet_for_nobody_is_refused(innosystem: Run, found: Found) -> None:
    nobody = str(uuid4())
    refused = innosystem("wallets", "create", "--customer-id", nobody)
    assert refused.returncode == 1
    assert f"no customer has the ID {nobody}: nothing was created" in refused.stderr
    assert found("wallets", "list", "--filter", f'customer_id = "{nobody}"') == []
    assert found("wallets", "create", "--customer-id", nobody, "--unknown-customer")["customer_id"] == nobody


def test_a_statement_is_that_of_a_customer_a_kind_a_time_or_a_job(innosystem: Run, found: Found, customer: str) -> None:
    of = ("--customer-id", customer)
    begun = datetime.now(UTC)
    charged = found("wallets", "deduct", *of, "--amount", "1.50EUR", "--description", "Storage", "--yes")
    job = submitted(found, customer)

    def statement(*arguments: str) -> list[int]:
        return [line["amount_cents"] for line in found("wallets", "statement", *arguments)]

    everything = statement(*of)
    assert everything[-2:] == [-150, 1000]
    assert statement(*of, "--kind", "CREDIT") == [1000]
    assert statement(*of, "--since", "1h") == everything
    assert statement(*of, "--until", "1h") == []
    assert statement(*of, "--until", begun.isoformat()) == [1000]
    assert statement(*of, "--filter", "amount_cents < -100 OR amount_cents > 100", "--kind", "DEDUCTION") == [-150]
    assert statement("--job-id", job["id"]) == [-job["cost_cents"]]
    assert found("wallets", "show-transaction", charged["transaction"]["id"])["description"] == "Storage"
    refused = innosystem("wallets", "statement")
    assert "name the wallet by its ID, by --customer-id and --currency, or by --job-id" in refused.stderr


def submitted(found: Found, customer: str) -> Any:
    """Submit a job, and return it when it is charged."""
    source = json.dumps({"path": "a.py", "source": f"# {uuid4()}\n"})
    return found("submit", "--job-type", STATS, "--customer-id", customer, "--input", source, "--wait")


def test_a_balance_of_the_past_is_shown_with_the_transactions_until_then(
    innosystem: Run, found: Found, customer: str
) -> None:
    of = ("--customer-id", customer)
    credited = found("wallets", "statement", *of)[0]["created_at"]
    found("wallets", "deduct", *of, "--amount", "4EUR", "--yes")
    then = found("wallets", "show", *of, "--at", credited)
    assert then["wallet"]["current_balance_cents"] == 1000
    assert [line["amount_cents"] for line in then["transactions"]] == [1000]
    shown = innosystem("wallets", "show", *of, "--at", credited).stdout
    assert "10.00 EUR" in shown
    assert "6.00 EUR" not in shown
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert "INVALID_FIELD" in innosystem("wallets", "show", *of, "--at", future).stderr


def test_a_wallet_is_charged_once_per_key(innosystem: Run, found: Found, customer: str) -> None:
    charge = ("wallets", "deduct", "--customer-id", customer, "--amount", "1EUR", "--idempotency-key", "k")
    refused = innosystem(*charge)
    assert (refused.returncode, "1.00 EUR is taken" in refused.stderr) == (1, True)
    assert found(*charge, "--yes")["replayed"] is False
    again = innosystem(*charge, "--yes")
    assert "Nothing was charged now" in again.stderr
    assert "The balance is 9.00 EUR." in again.stdout
    job = ("--job-id", str(uuid4()))
    assert "leave --idempotency-key out" in innosystem(*charge, *job, "--yes").stderr


def test_money_is_held_shown_and_released(innosystem: Run, found: Found, customer: str) -> None:
    job_id = str(uuid4())
    hold = found("wallets", "place-hold", "--customer-id", customer, "--job-id", job_id, "--amount", "2EUR")
    assert found("wallets", "show-hold", hold["id"]) == hold
    assert found("wallets", "holds", "--filter", f'job_id = "{job_id}"') == [hold]
    refused = innosystem("wallets", "release-hold", hold["id"])
    assert (refused.returncode, f"2.00 EUR of customer {customer}" in refused.stderr) == (1, True)
    assert found("wallets", "release-hold", hold["id"], "--yes")["state"] == "HOLD_STATE_RELEASED"


def test_money_moves_once_whatever_the_format(innosystem: Run, found: Found, customer: str) -> None:
    of = ("--customer-id", customer, "--amount", "1EUR", "--yes")
    for chosen in ("table", "wide", "json", "jsonl", "yaml", "csv", "name"):
        assert innosystem("wallets", "credit", *of, "-o", chosen).returncode == 0
    wrong = innosystem("wallets", "credit", *of, "--json", "-o", "csv")
    assert (wrong.returncode, "give one of them" in wrong.stderr) == (2, True)
    assert found("wallets", "show", "--customer-id", customer)["wallet"]["current_balance_cents"] == 1700


def test_nothing_is_left_of_a_refunded_charge(innosystem: Run, found: Found, customer: str) -> None:
    job = submitted(found, customer)
    refund = ("wallets", "refund", "--job-id", job["id"], "--all", "--yes")
    assert innosystem(*refund).returncode == 0
    assert "nothing is left of the 0.02 EUR that" in innosystem(*refund).stderr
    assert len(found("wallets", "statement", "--job-id", job["id"])) == 2


def test_one_job_is_submitted_by_options_and_waited_for(innosystem: Run, found: Found) -> None:
    source = json.dumps({"path": "a.py", "source": f"# {uuid4()}\n"})
    options = ("submit", "--job-type", STATS, "--customer-id", ADA, "--input", source, "--label", "team=blue")
    first = innosystem(*options, "--priority", "HIGH", "--max-cost", "0.02EUR")
    job_id = first.stdout.strip()
    assert (first.returncode, first.stderr) == (0, "")
    waited = innosystem(*options, "--priority", "HIGH", "--max-cost", "0.02EUR", "--wait")
    assert waited.returncode == 0
    assert "is not run again" in waited.stderr
    rows = dict(line.rstrip().split(None, 1) for line in waited.stdout.splitlines())
    assert (rows["job"], rows["status"], rows["charged"]) == (job_id, "SUCCEEDED", "0.02 EUR")
    assert json.loads(rows["output"])["lines"] == 1
    job = found("jobs", "show", job_id)
    assert (job["labels"], job["priority"]) == ({"team": "blue"}, "PRIORITY_HIGH")
    other = innosystem(*options, "--priority", "HIGH", "--max-cost", "0.02EUR", "--idempotency-key", "again")
    assert other.stdout.strip() != job_id


def test_one_job_that_fails_says_why_and_costs_nothing(innosystem: Run) -> None:
    bad = ("submit", "--job-type", STATS, "--customer-id", ADA, "--input", '{"source": "def"}', "--wait")
    done = innosystem(*bad, "--idempotency-key", str(uuid4()))
    assert done.returncode == 1
    assert "charged  nothing" in done.stdout
    assert "SyntaxError" in done.stdout


def test_one_job_that_no_runner_takes_is_waited_for_no_longer_than_was_said(innosystem: Run, job_type: str) -> None:
    done = innosystem("submit", "--job-type", job_type, "--customer-id", ADA, "--wait", "--timeout", "500ms")
    assert done.returncode == 1
    assert "--timeout has passed. The job continues; `innosystem jobs watch" in done.stderr


def test_a_job_waits_for_its_time_and_its_type_may_be_named_by_its_id(found: Found, job_type: str) -> None:
    type_id = found("job-types", "show", job_type)["id"]
    later = ("--run-at", (datetime.now(UTC) + timedelta(days=3)).isoformat())
    job = found("submit", "--job-type", type_id, "--customer-id", ADA, *later, "--job-id", str(uuid4()))
    assert (job["status"], job["job_type_id"]) == ("JOB_STATUS_SCHEDULED", type_id)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["submit"], "name a file of jobs"),
        (["submit", "--job-type", STATS], "one job by --job-type and --customer-id"),
        (["submit", "jobs.jsonl", "--input", "1"], "leave out the options of one job"),
        (["submit", "--job-type", STATS, "--customer-id", ADA, "--timeout", "1s"], "--timeout limits --wait"),
        (["submit", "--job-type", STATS, "--customer-id", ADA, "--max-cost", "1USD"], "is priced in EUR"),
        (["submit", "--job-type", STATS, "--customer-id", ADA, "--max-cost", "0EUR"], "PRICE_ABOVE_MAXIMUM"),
        (["submit", "jobs.jsonl", "-o", "csv"], "Nothing was submitted"),
    ],
)
def test_a_wrong_submission_says_what_is_right(innosystem: Run, arguments: list[str], why: str) -> None:
    done = innosystem(*arguments)
    # What the platform says is refused; what the options say is wrong usage.
    assert done.returncode == (1 if "--max-cost" in arguments else 2)
    assert why in done.stderr
    assert done.stdout == ""


def test_the_ids_of_a_file_are_printed_by_name(
    innosystem: Run, job_type: str, tmp_path: Path, found: Callable[..., Any]
) -> None:
    (tmp_path / "jobs.jsonl").write_text('{"input": 1}\n{"input": 2}\n')
    to = ("--job-type", job_type, "--customer-id", ADA)
    printed = innosystem("submit", "jobs.jsonl", *to, "-o", "name").stdout.split()
    until_sync(lambda: len(found("jobs", "list", "--filter", f'queue = "{job_type}"')) == 2)
    assert {job["id"] for job in found("jobs", "list", "--filter", f'queue = "{job_type}"')} == set(printed)
