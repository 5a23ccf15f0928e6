"""Commands that take jobs back, run them again, watch them, and pause and resume, against real services."""

import json
from pathlib import Path

import grpc
import pytest

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.wallets.v1.wallet_service_pb2 import ReleaseHoldRequest
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.integration.tools.cli.conftest import Found, Run
from tests.support.until import until_sync
from tests.unit.tools.cli.test_confirmation import Terminal

ADA = "01990000-0000-7000-8000-000000000201"


@pytest.fixture
def job_type(innosystem: Run) -> str:
    """The name of a job type whose queue no runner serves."""
    assert innosystem("seed").returncode == 0
    name = f"held-{new_id()}"
    done = innosystem(
        "job-types",
        "create",
        "--name",
        name,
        "--processor-type",
        "ASYNC",
        "--queue",
        "nobody",
        "--standard-cost-cents",
        "1",
    )
    assert done.returncode == 0, done.stderr
    return name


@pytest.fixture
def waiting(innosystem: Run, job_type: str, tmp_path: Path) -> list[str]:
    """The IDs of two jobs that nobody runs."""
    ids = [str(new_id()), str(new_id())]
    file = tmp_path / "jobs.jsonl"
    lines = [{"job_id": one, "job_type": job_type, "labels": {"of": job_type}} for one in ids]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = innosystem("submit", str(file), "--customer-id", ADA)
    assert done.returncode == 0, done.stderr
    return ids


def test_jobs_are_cancelled_by_id_and_run_again_by_filter(found: Found, waiting: list[str], job_type: str) -> None:
    cancelled = found("jobs", "cancel", *waiting, "--reason", "a mistake")
    assert {job["status"] for job in cancelled["jobs"]} == {"JOB_STATUS_CANCELLED"}
    assert {job["error"]["message"] for job in cancelled["jobs"]} == {"a mistake"}
    # Their holds are released in a moment.
    until_sync(lambda: found("jobs", "list", "--filter", f'labels.of = "{job_type}" AND billing_status = RELEASED'))
    again = found("jobs", "retry", "--filter", f'labels.of = "{job_type}"', "--yes")
    assert sorted(job["id"] for job in again["jobs"]) == sorted(waiting)
    assert {job["status"] for job in again["jobs"]} == {"JOB_STATUS_PENDING"}


def test_a_dry_run_says_what_becomes_of_each_named_job(innosystem: Run, found: Found, waiting: list[str]) -> None:
    first, second = waiting
    unknown = str(new_id())
    one = innosystem("jobs", "cancel", first, "--dry-run")
    assert (one.returncode, one.stdout) == (0, "")
    assert one.stderr == (
        "To be cancelled: 1 job of 1 customer (1 PENDING).\n0.01 EUR that is reserved for them is free again.\n"
        f"  {first}\nNothing was done: --dry-run.\n"
    )
    assert found("jobs", "show", first)["status"] == "JOB_STATUS_PENDING"
    done = innosystem("jobs", "cancel", first)
    assert (done.returncode, done.stderr) == (0, "")
    again = innosystem("jobs", "cancel", first)
    assert (again.returncode, again.stderr) == (0, f"Job {first} was CANCELLED before, and is not changed.\n")
    mixed = innosystem("jobs", "cancel", first, second, unknown, "--dry-run")
    assert mixed.returncode == 1
    assert f"  {second}\nNot to be cancelled: job {first} is CANCELLED.\n" in mixed.stderr
    assert f"Not to be cancelled: no job has the ID {unknown}.\n" in mixed.stderr


def test_a_job_that_was_submitted_before_and_did_not_succeed_is_retried_by_its_id(
    innosystem: Run, job_type: str, tmp_path: Path
) -> None:
    line = ("submit", "--job-type", job_type, "--customer-id", ADA, "--input", "1")
    job_id = innosystem(*line).stdout.strip()
    assert "another --idempotency-key makes another job" in innosystem(*line).stderr
    assert innosystem("jobs", "cancel", job_id).returncode == 0
    again = innosystem(*line)
    assert f"It is CANCELLED: `innosystem jobs retry {job_id}` runs it again." in again.stderr
    assert "--idempotency-key" not in again.stderr
    file = tmp_path / "again.jsonl"
    file.write_text(json.dumps({"job_type": job_type, "input": 1}) + "\n")
    of_file = innosystem("submit", str(file), "--customer-id", ADA)
    assert "1 of them was FAILED or CANCELLED: `innosystem jobs retry ID` runs it again" in of_file.stdout
    assert job_id in innosystem("submit", str(file), "--customer-id", ADA, "-o", "json").stdout


def test_a_priority_is_typed_as_in_a_file_and_a_start_of_an_id_suffices(
    innosystem: Run, job_type: str, tmp_path: Path
) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps({"job_type": job_type, "priority": "high", "customer_id": ADA}) + "\n")
    assert innosystem("submit", str(file)).returncode == 0
    file.write_text(json.dumps({"job_type": job_type}) + "\n")
    again = innosystem("submit", str(file), "--priority", "high", "--customer-id", ADA.replace("-", "")[:-1] + "1")
    assert "replayed  1" in again.stdout
    unique = innosystem("submit", str(file), "--customer-id", "ffffffff")
    assert "no customer has an ID that starts with ffffffff" in unique.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [("cancel", "No jobs that can be cancelled match.\n"), ("retry", "No jobs that can be run again match.\n")],
)
@pytest.mark.parametrize("option", ["--dry-run", "--yes"])
def test_a_filter_that_nothing_matches_is_told(innosystem: Run, command: str, told: str, option: str) -> None:
    done = innosystem("jobs", command, "--filter", 'labels.of = "nothing"', option)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", told)


def test_a_filter_changes_no_more_than_the_limit(found: Found, waiting: list[str], job_type: str) -> None:
    cancelled = found("jobs", "cancel", "--filter", f'labels.of = "{job_type}"', "--limit", "1", "--yes")
    assert len(cancelled["jobs"]) == 1


def test_what_a_filter_changes_is_told_and_agreed_to_before(
    innosystem: Run, found: Found, waiting: list[str], job_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_type = ("--filter", f'labels.of = "{job_type}"')
    plan = "To be cancelled: 2 jobs of 1 customer (2 PENDING).\n0.02 EUR that is reserved for them is free again.\n"

    def unchanged() -> bool:
        return {job["status"] for job in found("jobs", "list", *of_type)} == {"JOB_STATUS_PENDING"}

    tried = innosystem("jobs", "cancel", *of_type, "--dry-run")
    assert (tried.returncode, tried.stdout) == (0, "")
    assert tried.stderr == plan + "Nothing was done: --dry-run.\n"
    assert unchanged()
    unasked = innosystem("jobs", "cancel", *of_type)
    assert unasked.returncode == 1
    assert unasked.stderr == f"{plan}innosystem: nothing was done: give --yes to do it, or --dry-run to see the plan\n"
    assert unchanged()
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    assert innosystem("jobs", "cancel", *of_type).returncode == 1
    assert unchanged()
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    agreed = innosystem("jobs", "cancel", *of_type)
    assert agreed.returncode == 0, agreed.stderr
    assert all(job_id in agreed.stdout for job_id in waiting)
    again = innosystem("jobs", "retry", *of_type, "--dry-run")
    assert again.stderr.startswith(
        "To be run again: 2 jobs of 1 customer (2 CANCELLED).\n0.02 EUR is reserved for them again.\n"
    )
    assert innosystem("jobs", "cancel", *of_type).stderr == "No jobs that can be cancelled match.\n"


@pytest.mark.parametrize("blank", [" ", "\t", "  \n "])
def test_a_blank_filter_changes_no_job(innosystem: Run, found: Found, waiting: list[str], blank: str) -> None:
    done = innosystem("jobs", "cancel", "--filter", blank, "--yes")
    assert done.returncode == 2
    assert "use --all for that" in done.stderr
    assert {found("jobs", "show", job_id)["status"] for job_id in waiting} == {"JOB_STATUS_PENDING"}


def test_all_jobs_are_cancelled_by_saying_so(innosystem: Run, found: Found, waiting: list[str]) -> None:
    told = innosystem("jobs", "cancel", "--all")
    assert told.returncode == 1
    assert "To be cancelled: " in told.stderr
    assert innosystem("jobs", "cancel", "--all", "--yes").returncode == 0
    assert {found("jobs", "show", job_id)["status"] for job_id in waiting} == {"JOB_STATUS_CANCELLED"}
    assert innosystem("jobs", "cancel", "--all", "--filter", "status = PENDING").returncode == 2


def test_what_can_not_be_changed_is_named_and_the_command_fails(innosystem: Run, waiting: list[str]) -> None:
    unknown = str(new_id())
    done = innosystem("jobs", "cancel", waiting[0], unknown)
    assert done.returncode == 1
    assert waiting[0] in done.stdout
    assert f"JOB_NOT_FOUND: No job has the ID {unknown}" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["id", "--filter", "status = FAILED"]], ids=["nothing", "both"])
def test_jobs_are_named_in_one_way(innosystem: Run, arguments: list[str]) -> None:
    done = innosystem("jobs", "retry", *arguments)
    assert done.returncode == 2
    assert "by exactly one of their IDs, --filter or --all" in done.stderr


def test_jobs_have_the_same_columns_in_every_command(innosystem: Run, waiting: list[str], job_type: str) -> None:
    titles = "id type status billing try created at starts took cost queue customer error"
    cancelled = innosystem("jobs", "cancel", waiting[0])
    listed = innosystem("jobs", "list", "--filter", f'labels.of = "{job_type}"')
    for done in (cancelled, listed):
        assert " ".join(done.stdout.splitlines()[0].split()) == titles
    row = next(line for line in listed.stdout.splitlines() if line.startswith(waiting[0]))
    assert job_type in row
    assert "Ada Example" in row
    assert row.count("CANCELLED") == 1
    assert "cancelled by request" in row


def test_names_of_jobs_are_ids_and_programs_get_the_type_by_name(
    innosystem: Run, found: Found, waiting: list[str], job_type: str
) -> None:
    of_type = ("jobs", "list", "--filter", f'labels.of = "{job_type}"')
    assert sorted(innosystem(*of_type, "-o", "name").stdout.split()) == sorted(waiting)
    assert {job["job_type"] for job in found(*of_type)} == {job_type}
    cut = innosystem(*of_type, "-o", "name", "--limit", "1")
    assert cut.stdout.count("\n") == 1
    assert cut.stderr == "1 of 2 shown; --limit 2 for more\n"


def test_a_job_that_is_cancelled_is_watched_until_its_money_is_free(
    innosystem: Run, found: Found, waiting: list[str]
) -> None:
    found("jobs", "cancel", *waiting)
    done = innosystem("jobs", "watch", waiting[0])
    assert done.returncode == 1, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("CANCELLED  RELEASED     try 0/10")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


@pytest.mark.usefixtures("job_type")
def test_a_queue_is_paused_and_resumed(innosystem: Run, found: Found) -> None:
    assert innosystem("queue", "pause", "nobody").stdout == "nobody is paused.\n"
    assert {one["paused"] for one in found("queue", "nobody")} == {True}
    assert innosystem("queue", "resume", "nobody").returncode == 0
    assert {one["paused"] for one in found("queue", "nobody")} == {False}


@pytest.mark.usefixtures("job_type")
def test_a_pause_is_said_to_programs_as_well(found: Found) -> None:
    assert found("queue", "pause", "nobody") == {"queue": "nobody", "paused": True}
    assert found("queue", "resume", "nobody") == {"queue": "nobody", "paused": False}


def test_a_misspelt_queue_is_not_resumed(innosystem: Run) -> None:
    done = innosystem("queue", "resume", "defalt")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the queue 'defalt', and it is not paused: is it misspelt?" in done.stderr


def test_paused_job_types_are_visible_beside_their_queues(innosystem: Run, job_type: str) -> None:
    assert innosystem("job-types", "pause", job_type).returncode == 0
    done = innosystem("queue", "nobody")
    assert f"{job_type} (queue nobody)" in done.stderr
    assert innosystem("job-types", "resume", job_type).returncode == 0
    assert job_type not in innosystem("queue", "nobody").stderr


def test_a_misspelt_queue_is_not_paused_unless_that_is_meant(innosystem: Run, found: Found) -> None:
    done = innosystem("queue", "pause", "defalt")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no job and no job type uses the queue 'defalt': is it misspelt?" in done.stderr
    assert not any(one["paused"] for one in found("queue", "defalt"))
    assert innosystem("queue", "pause", "defalt", "--unused").stdout == "defalt is paused.\n"
    assert innosystem("queue", "resume", "defalt").returncode == 0


def test_a_job_type_is_paused_and_resumed_by_its_name(innosystem: Run, found: Found, job_type: str) -> None:
    assert innosystem("job-types", "pause", job_type).stdout == f"{job_type} is paused.\n"
    assert found("job-types", "show", job_type)["paused"] is True
    assert innosystem("job-types", "resume", job_type).returncode == 0
    assert found("job-types", "show", job_type)["paused"] is False


def test_a_declined_job_is_found_and_written_off(
    found: Found, innosystem: Run, platform_environment: dict[str, str], waiting: list[str]
) -> None:
    job_id = waiting[0]
    decline(platform_environment, job_id)
    listed = found("jobs", "list", "--filter", "billing_status = DECLINED")
    assert [job["id"] for job in listed] == [job_id]
    unasked = innosystem("jobs", "write-off", job_id, "--reason", "the customer is gone")
    assert unasked.returncode == 1
    assert f"The charge of job {job_id} is written off: 0.01 EUR of customer {ADA}, now DECLINED." in unasked.stderr
    tried = innosystem("jobs", "write-off", job_id, "--reason", "the customer is gone", "--dry-run")
    assert tried.returncode == 0
    assert found("jobs", "show", job_id)["billing_status"] == "BILLING_STATUS_DECLINED"
    written = found("jobs", "write-off", job_id, "--reason", "the customer is gone", "--yes")
    assert (written["id"], written["billing_status"]) == (job_id, "BILLING_STATUS_CHARGED")
    lines = found("wallets", "show", "--customer-id", ADA, "--transactions", "2")["transactions"]
    assert [(line["kind"], line["job_id"], line["description"]) for line in lines] == [
        ("TRANSACTION_KIND_DEDUCTION", job_id, "the customer is gone"),
        ("TRANSACTION_KIND_ADJUSTMENT", job_id, "the customer is gone"),
    ]
    again = innosystem("jobs", "write-off", job_id, "--reason", "the customer is gone", "--yes")
    assert again.returncode == 1
    assert f"job {job_id} was paid or written off before" in again.stderr
    refused = innosystem("jobs", "write-off", waiting[1], "--reason", "a mistake", "--yes")
    assert refused.returncode == 1
    assert "NOTHING_TO_WRITE_OFF" in refused.stderr


def decline(environment: dict[str, str], job_id: str) -> None:
    """Takes a job to its success as a runner does whose charge was declined: its hold was released in between."""
    with (
        grpc.insecure_channel(environment["JOBS_ADDRESS"]) as jobs_channel,
        grpc.insecure_channel(environment["WALLETS_ADDRESS"]) as wallets_channel,
    ):
        jobs, lease_id = JobServiceStub(jobs_channel), str(new_id())
        claim = pb.ClaimJobsRequest(job_ids=[job_id], runner_id=str(new_id()), lease_id=lease_id)
        [claimed] = jobs.ClaimJobs(claim).jobs
        release = ReleaseHoldRequest(hold_id=claimed.job.hold_id)
        WalletServiceStub(wallets_channel).ReleaseHold(release)
        completion = pb.JobCompletion(job_id=job_id, lease_id=lease_id, output_json="1")
        jobs.CompleteJobs(pb.CompleteJobsRequest(completions=[completion]))
        declined = pb.JobSettlement(job_id=job_id, declined=pb.ChargeDeclined(reason="INSUFFICIENT_FUNDS"))
        jobs.SettleJobs(pb.SettleJobsRequest(settlements=[declined]))
