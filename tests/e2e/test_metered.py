"""Jobs that are charged what they have used: real services, real runners, and runners that die."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from innosystem.jobs.v1 import job_pb2, job_type_pb2
from innosystem.wallets.v1 import wallet_pb2, wallet_service_pb2
from services import SERVICES
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_job
from tests.e2e.test_runner import HANDLERS, balance, check_ledger, settled, statement
from tests.e2e.verifying import verified
from tests.support.until import until_sync

CHARGED, RELEASED = job_pb2.BILLING_STATUS_CHARGED, job_pb2.BILLING_STATUS_RELEASED
FUNDS, STANDARD, MAXIMUM, UNIT_CENTS = 10_000, 4, 50, 2
#: What a runner is doing when it dies. After the first two the run has to be repeated.
DEATHS = ("runner.running", "runner.before_complete", "runner.before_charge", "runner.before_settle")


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, fresh_database: Callable[[str], str], redis_url: str
) -> Iterator[Stack]:
    """The services; the runners come and go with the tests."""
    urls = {service: fresh_database(service) for service in SERVICES}
    stack = Stack(tmp_path_factory.mktemp("metered"), urls, redis_url, key_prefix=f"{uuid4()}:")
    stack.start(*SERVICES, JOBS_SETTLE_AFTER_SECONDS="1", JOBS_RESCUE_GRACE_SECONDS="0")
    yield stack
    stack.close()


@pytest.fixture
def runner(services: Stack) -> Iterator[Process]:
    """A runner, which has to end cleanly."""
    process = services.start_runner(HANDLERS)
    yield process
    assert process.stop() == 0
    check_ledger(services)


@pytest.fixture
def wallet(services: Stack) -> wallet_pb2.Wallet:
    """A wallet of a new customer."""
    return services.wallet(services.customer(), FUNDS)


def metered(stack: Stack, handler: str = "e2e.meters", **values: Any) -> str:
    metering = job_type_pb2.Metering(unit="page", unit_price_micro_cents=UNIT_CENTS * 1_000_000, max_cost_cents=MAXIMUM)
    unspecified = job_type_pb2.PROCESSOR_TYPE_UNSPECIFIED
    return stack.job_type(
        handler, processor_type=unspecified, standard_cost_cents=STANDARD, metering=metering, **values
    )


def submitted(stack: Stack, wallet: wallet_pb2.Wallet, job_type: str, *usage: int, **values: Any) -> str:
    request = new_job(wallet.customer_id, job_type, json.dumps({"usage": usage, **values}))
    stack.jobs.CreateJob(request, timeout=15)
    return request.job_id


def check_paid(stack: Stack, wallet: wallet_pb2.Wallet, *cents: int) -> None:
    """Check that these charges were made, that nothing is reserved any more, and that all books agree."""
    assert sorted(-line.amount_cents for line in statement(stack, wallet)) == sorted(cents)
    assert balance(stack, wallet) == FUNDS - sum(cents)
    request = wallet_service_pb2.GetWalletRequest(wallet_id=wallet.id)
    assert stack.wallets.GetWallet(request, timeout=15).wallet.pending_charges_cents == 0


@pytest.mark.parametrize("handler", ["e2e.meters", "e2e.meters-process", "e2e.meters-batch"])
def test_a_job_is_charged_what_it_has_reported_up_to_its_maximum(
    services: Stack, runner: Process, wallet: wallet_pb2.Wallet, handler: str
) -> None:
    job_type = metered(services, handler)
    reported: dict[tuple[int, ...], tuple[int, job_pb2.BillingStatus.ValueType]] = {
        (3, 4): (14, CHARGED),
        (25,): (MAXIMUM, CHARGED),
        (20, 20): (MAXIMUM, CHARGED),
        (): (STANDARD, CHARGED),
        (0,): (0, RELEASED),
    }
    jobs = {usage: submitted(services, wallet, job_type, *usage) for usage in reported}
    for usage, (cents, billing_status) in reported.items():
        job = settled(services, jobs[usage])
        assert (job.status, job.cost_cents) == (job_pb2.JOB_STATUS_SUCCEEDED, cents), usage
        assert job.billing_status == billing_status, usage
        assert (job.usage_units if job.HasField("usage_units") else None) == (sum(usage) if usage else None)
    check_paid(services, wallet, 14, MAXIMUM, MAXIMUM, STANDARD)


def test_only_the_usage_of_the_run_that_succeeds_is_charged(
    services: Stack, runner: Process, wallet: wallet_pb2.Wallet
) -> None:
    job_type = metered(services, max_attempts=3)
    job = settled(services, submitted(services, wallet, job_type, 3, failures=1))
    assert (job.attempt, job.usage_units, job.cost_cents) == (2, 3, 6)
    check_paid(services, wallet, 6)


def test_a_job_that_is_not_metered_has_its_price_whatever_it_reports(
    services: Stack, runner: Process, wallet: wallet_pb2.Wallet
) -> None:
    job = settled(services, submitted(services, wallet, services.job_type("e2e.meters"), 3))
    assert (job.usage_units, job.cost_cents) == (3, 5)


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("usage", [3, 0])
def test_a_runner_that_dies_at_any_step_leaves_one_charge_of_what_was_used(
    services: Stack, wallet: wallet_pb2.Wallet, tmp_path: Path, death: str, usage: int
) -> None:
    cents = usage * UNIT_CENTS
    mortal = services.start_runner(HANDLERS, INNOSYSTEM_CRASH_AT=death, RUNNER_LEASE_SECONDS="1")
    job_id = submitted(services, wallet, metered(services), usage)
    if cents or death in DEATHS[:2]:
        until_sync(lambda: not mortal.running, limit_seconds=30)
        services.start_runner(HANDLERS)
    job = settled(services, job_id)
    assert (job.cost_cents, job.usage_units) == (cents, usage)
    check_paid(services, wallet, *([cents] if cents else []))
    for process in services.processes.values():
        if process.running and process not in [services.processes[one] for one in SERVICES]:
            process.stop()
    status, told = verified(services.database_urls, tmp_path)
    assert status == 0, told
