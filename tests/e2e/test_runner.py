"""Jobs from submission to charge, through real services and a real runner."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from innosystem.client import error_from_status
from innosystem.jobs.v1 import job_pb2, job_service_pb2, job_type_pb2
from innosystem.wallets.v1 import wallet_pb2, wallet_service_pb2
from services import SERVICES
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_credit, new_job
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"
SUCCEEDED, FAILED, RUNNING = (job_pb2.JOB_STATUS_SUCCEEDED, job_pb2.JOB_STATUS_FAILED, job_pb2.JOB_STATUS_RUNNING)
CHARGED, DECLINED = job_pb2.BILLING_STATUS_CHARGED, job_pb2.BILLING_STATUS_DECLINED


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, fresh_database: Callable[[str], str], redis_url: str
) -> Iterator[Stack]:
    """The services; the runners come and go with the tests."""
    urls = {service: fresh_database(service) for service in SERVICES}
    stack = Stack(tmp_path_factory.mktemp("runner"), urls, redis_url, key_prefix=f"{uuid4()}:")
    stack.start(*SERVICES)
    yield stack
    stack.close()


@pytest.fixture
def runner(running: Stack) -> Iterator[Process]:
    """A runner, which has to end cleanly."""
    process = running.start_runner(HANDLERS)
    yield process
    if process.running:
        assert process.stop() == 0
    assert "Traceback (most recent call last)" not in process.errors
    check_ledger(running)


def check_ledger(stack: Stack) -> None:
    """Check that every charged job has its one deduction, and that every balance is the sum of its statement."""
    urls = stack.database_urls
    with psycopg.connect(urls["jobs"]) as jobs, psycopg.connect(urls["wallets"]) as wallets:
        charged = jobs.execute(
            "SELECT id, transaction_id, -cost_cents FROM jobs WHERE billing_status = 'CHARGED' ORDER BY id"
        ).fetchall()
        deducted = wallets.execute(
            "SELECT job_id, id, amount_cents FROM wallet_transactions WHERE kind = 'DEDUCTION' AND job_id IS NOT NULL"
            " ORDER BY job_id"
        ).fetchall()
        off = wallets.execute(
            "SELECT w.id FROM wallets w LEFT JOIN wallet_transactions t ON t.wallet_id = w.id GROUP BY w.id"
            " HAVING coalesce(sum(t.amount_cents), 0) <> w.current_balance_cents"
        ).fetchall()
    assert charged == deducted
    assert off == []


def settled(stack: Stack, job_id: str) -> job_pb2.Job:
    """Wait until a job is final and nothing is due any more."""
    moving = (
        job_pb2.BILLING_STATUS_HELD,
        job_pb2.BILLING_STATUS_UNHELD,
        job_pb2.BILLING_STATUS_CHARGE_DUE,
        job_pb2.BILLING_STATUS_RELEASE_DUE,
    )
    return until_sync(lambda: job if (job := stack.job(job_id)).billing_status not in moving else None) or job_pb2.Job()


def statement(stack: Stack, wallet: wallet_pb2.Wallet) -> list[wallet_pb2.Transaction]:
    request = wallet_service_pb2.ListTransactionsRequest(
        wallet_id=wallet.id, page_size=1000, order_by="sequence", filter="kind = DEDUCTION"
    )
    return list(stack.wallets.ListTransactions(request, timeout=15).transactions)


def balance(stack: Stack, wallet: wallet_pb2.Wallet) -> int:
    request = wallet_service_pb2.GetWalletRequest(wallet_id=wallet.id)
    return stack.wallets.GetWallet(request, timeout=15).wallet.current_balance_cents


def test_jobs_that_succeed_are_charged_once_each(running: Stack, runner: Process) -> None:
    customer_id = running.customer()
    wallet = running.wallet(customer_id, 10_000)
    types = [running.job_type("e2e.double"), running.job_type("e2e.thread")]
    requests = [new_job(customer_id, types[n % 2], f'{{"n": {n}}}') for n in range(100)]
    batch = job_service_pb2.BatchCreateJobsRequest(requests=requests)
    running.jobs.BatchCreateJobs(batch, timeout=15)

    done = [settled(running, request.job_id) for request in requests]

    assert {(job.status, job.billing_status, job.cost_cents, job.attempt) for job in done} == {
        (SUCCEEDED, CHARGED, 5, 1)
    }
    assert done[3].output_json.startswith('{"n": 3, ')
    assert done[4].output_json == '{"doubled": 8}'
    deductions = statement(running, wallet)
    assert sorted(one.job_id for one in deductions) == sorted(request.job_id for request in requests)
    assert {one.amount_cents for one in deductions} == {-5}
    assert {one.id for one in deductions} == {job.transaction_id for job in done}
    assert balance(running, wallet) == 10_000 - 100 * 5


def test_jobs_of_a_batch_are_called_together_and_each_is_charged_or_not_on_its_own(
    running: Stack, runner: Process
) -> None:
    customers = [running.customer() for _ in range(2)]
    wallets = [running.wallet(customer_id, 1_000) for customer_id in customers]
    job_type = running.job_type("e2e.together", processor_type=job_type_pb2.PROCESSOR_TYPE_BATCH)
    requests = [
        new_job(customer_id, job_type, f'{{"n": {n}}}' if n else '{"n": "none"}')
        for n in range(50)
        for customer_id in customers
    ]
    running.jobs.BatchCreateJobs(job_service_pb2.BatchCreateJobsRequest(requests=requests), timeout=15)

    done = [settled(running, request.job_id) for request in requests]

    assert [job.error.type for job in done[:2]] == ["INVALID_INPUT"] * 2
    for n, job in enumerate(done[2:], start=2):
        number, customer_id = n // 2, customers[n % 2]
        if number % 2:
            assert (job.status, job.error.type, job.HasField("cost_cents")) == (FAILED, "ODD", False)
        else:
            assert (job.status, job.billing_status, job.cost_cents) == (SUCCEEDED, CHARGED, 5)
            # One input of each customer did not fit, and is not called.
            assert json.loads(job.output_json) == {"jobs": 49, "customers": [customer_id]}
    assert [balance(running, wallet) for wallet in wallets] == [1_000 - 24 * 5] * 2


def test_a_handler_that_fails_fails_the_job_and_nothing_is_charged(running: Stack, runner: Process) -> None:
    customer_id = running.customer()
    wallet = running.wallet(customer_id, 100)
    fails, nul = running.job_type("e2e.fails"), running.job_type("e2e.nul")
    submitted = [
        running.submit(new_job(customer_id, job_type, text)).id
        for job_type, text in ((fails, "{}"), (fails, '{"as": "JobError"}'), (nul, "{}"))
    ]

    done = [settled(running, job_id) for job_id in submitted]

    assert {(job.status, job.billing_status) for job in done} == {(FAILED, job_pb2.BILLING_STATUS_RELEASED)}
    assert (done[0].error.type, done[0].error.message) == ("ValueError", "it is broken")
    assert (done[1].error.type, done[1].error.message) == ("INVALID_INPUT", "no such picture")
    assert "NUL" in done[2].error.message
    assert not any(job.HasField("cost_cents") for job in done)
    assert statement(running, wallet) == []
    assert balance(running, wallet) == 100


def test_what_a_wallet_can_not_pay_is_refused_before_it_is_run(running: Stack, runner: Process) -> None:
    customer_id = running.customer()
    wallet = running.wallet(customer_id, 12)
    job_type = running.job_type("e2e.double")
    requests = [new_job(customer_id, job_type, '{"n": 1}') for _ in range(5)]
    batch = job_service_pb2.BatchCreateJobsRequest(requests=requests)

    results = running.jobs.BatchCreateJobs(batch, timeout=15).results

    accepted = [request.job_id for request, one in zip(requests, results, strict=True) if one.HasField("response")]
    assert accepted == [request.job_id for request in requests[:2]]
    assert {error_from_status(one.error).reason for one in results[2:]} == {"INSUFFICIENT_FUNDS"}
    assert {settled(running, job_id).billing_status for job_id in accepted} == {CHARGED}
    assert balance(running, wallet) == 2


def before_holds(stack: Stack, customer_id: str, queue: str) -> str:
    """Submit a job, and makes of it one that was submitted before there were holds; it waits in a paused queue."""
    stack.jobs.PauseQueue(job_service_pb2.PauseQueueRequest(queue=queue), timeout=15)
    job = stack.submit(new_job(customer_id, stack.job_type("e2e.double", queue=queue), '{"n": 1}'))
    stack.wallets.ReleaseHold(wallet_service_pb2.ReleaseHoldRequest(hold_id=job.hold_id), timeout=15)
    with psycopg.connect(stack.database_urls["jobs"]) as connection:
        connection.execute("UPDATE jobs SET billing_status = 'UNHELD', hold_id = NULL WHERE id = %s", [job.id])
    return job.id


def run(stack: Stack, job_id: str, queue: str) -> job_pb2.Job:
    """Has the job run; returns it when it is settled."""
    stack.jobs.ResumeQueue(job_service_pb2.ResumeQueueRequest(queue=queue), timeout=15)
    return settled(stack, job_id)


def test_a_job_from_before_there_were_holds_that_can_not_be_paid_is_declined_visibly_until_it_is_paid(
    running: Stack,
) -> None:
    customer_id = running.customer()
    wallet = running.wallet(customer_id, 5)
    job_id = before_holds(running, customer_id, "early")
    take = wallet_service_pb2.DeductRequest(
        customer_id=customer_id, currency="EUR", amount_cents=4, idempotency_key="something else"
    )
    running.wallets.Deduct(take, timeout=15)
    runner = running.start_runner(HANDLERS, RUNNER_QUEUES="early")

    job = run(running, job_id, "early")

    assert (job.status, job.billing_status) == (SUCCEEDED, DECLINED)
    assert runner.logged("charge_declined", job_id=job_id, reason="INSUFFICIENT_FUNDS")
    declined = job_service_pb2.ListJobsRequest(filter=f'billing_status = DECLINED AND customer_id = "{customer_id}"')
    assert [one.id for one in running.jobs.ListJobs(declined, timeout=15).jobs] == [job_id]
    running.wallets.Credit(new_credit(wallet, 4), timeout=15)
    until_sync(lambda: running.job(job_id).billing_status == CHARGED, limit_seconds=60)
    assert balance(running, wallet) == 0
    assert runner.stop() == 0


def test_a_job_from_before_there_were_holds_without_a_wallet_is_blocked_visibly(running: Stack) -> None:
    customer_id = running.customer()
    running.wallet(customer_id, 5)
    job_id = before_holds(running, customer_id, "early")
    with psycopg.connect(running.database_urls["jobs"]) as connection:
        connection.execute("UPDATE jobs SET customer_id = %s WHERE id = %s", [running.customer(), job_id])
    runner = running.start_runner(HANDLERS, RUNNER_QUEUES="early")
    assert run(running, job_id, "early").billing_status == job_pb2.BILLING_STATUS_CHARGE_BLOCKED
    assert runner.stop() == 0


def test_the_request_id_of_a_submission_shows_in_the_runner(running: Stack, runner: Process) -> None:
    customer_id = running.customer()
    running.wallet(customer_id, 100)
    request_id = f"from-the-test-{uuid4()}"
    request = new_job(customer_id, running.job_type("e2e.thread"), '{"n": 1}')

    job = running.submit(request, request_id)

    line = runner.logged("job_succeeded", job_id=job.id)
    assert (line["request_id"], line["service"], line["handler"]) == (request_id, "runner", "e2e.thread")
    assert f'"request_id": "{request_id}"' in settled(running, job.id).output_json


def test_a_runner_told_to_stop_finishes_what_it_runs_and_leaves_the_rest_waiting(
    running: Stack, tmp_path: Path
) -> None:
    customer_id = running.customer()
    wallet = running.wallet(customer_id, 1000)
    job_type = running.job_type("e2e.waits")
    first = running.start_runner(HANDLERS, RUNNER_CONCURRENCY="4")
    requests = [new_job(customer_id, job_type, f'{{"n": {n}, "folder": "{tmp_path}"}}') for n in range(20)]
    running.jobs.BatchCreateJobs(job_service_pb2.BatchCreateJobsRequest(requests=requests), timeout=15)
    until_sync(lambda: len(list(tmp_path.glob("begun-*"))) == 4)

    first.send(signal.SIGTERM)
    first.logged("draining")
    (tmp_path / "go").touch()

    assert first.wait() == 0
    assert first.lines("drained")
    jobs = [running.job(request.job_id) for request in requests]
    by_status = {status: [job for job in jobs if job.status == status] for status in {job.status for job in jobs}}
    assert {job_pb2.JobStatus.Name(status): len(found) for status, found in by_status.items()} == {
        "JOB_STATUS_SUCCEEDED": 4,
        "JOB_STATUS_PENDING": 16,
    }
    assert {job.billing_status for job in by_status[SUCCEEDED]} == {CHARGED}
    # Another runner finds the rest, whose IDs the first one gave back or never took.
    second = running.start_runner(HANDLERS)
    assert {settled(running, request.job_id).billing_status for request in requests} == {CHARGED}
    assert second.stop() == 0
    assert balance(running, wallet) == 1000 - 20 * 5
    check_ledger(running)
