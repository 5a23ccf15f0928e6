"""From 0.1.0, which knows no callers, to services that authenticate them, without a failed call or a wrong charge."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
import pytest

from innosystem.customers.v1.customer_service_pb2 import ListCustomersRequest
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest
from innosystem.wallets.v1.wallet_service_pb2 import ListWalletsRequest
from services import SERVICES
from tests.e2e.load import Load
from tests.e2e.stack import Stack, new_job
from tests.e2e.verifying import verified
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.refusals import reason_of
from tests.support.rpc.tenants import stubs
from tests.support.until import until_sync
from tools.local.credentials import Credentials, create_credentials

HANDLERS = "tests.e2e.handlers_for_tests"
JOBS = 20
SOME = 30
OPEN = {"INNOSYSTEM_AUTH": "off"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def issued(tmp_path: Path) -> Credentials:
    return create_credentials(tmp_path / "credentials")


def operator(stack: Stack, issued: Credentials) -> JobsStack:
    """Return the services as an operator uses them, who repeats what a server that stops has refused."""
    token = issued.operator["INNOSYSTEM_TOKEN"]
    return stubs(lambda _: token, [stack.retrying_channel(service) for service in SERVICES])


def charges(urls: Mapping[str, str]) -> Counter[str]:
    with psycopg.connect(urls["wallets"]) as connection:
        found = connection.execute("SELECT job_id::text FROM wallet_transactions WHERE kind = 'DEDUCTION'")
        return Counter(job_id for (job_id,) in found.fetchall())


def until_charged(stack: Stack, jobs: list[str], urls: Mapping[str, str], folder: Path) -> None:
    """Wait until jobs are charged, each once, and the books are right."""
    until_sync(lambda: charges(urls).keys() >= set(jobs), context=lambda: charges(urls))
    assert charges(urls) == Counter(jobs)
    until_sync(lambda: verified(urls, folder)[0] == 0, context=lambda: verified(urls, folder)[1])


@pytest.mark.parametrize(
    "before",
    [("runner",), ("wallets",), ("jobs",), ("wallets", "runner"), ("jobs", "runner")],
    ids=["an old runner", "old wallets", "an old jobs service", "new jobs alone", "new wallets alone"],
)
def test_with_keys_of_charges_each_job_is_charged_once_whatever_is_of_the_release_before(
    before: tuple[str, ...],
    code_before: str,
    stacks: tuple[Stack, Stack, Mapping[str, str]],
    issued: Credentials,
    tmp_path: Path,
) -> None:
    stack, _, urls = stacks
    stack.issued = issued
    for service in SERVICES:
        stack.start(service, **OPEN, **({"PYTHONPATH": code_before} if service in before else {}))
    stack.start_runner(HANDLERS, **({"PYTHONPATH": code_before} if "runner" in before else {}))

    customer, double = stack.paying_customer(), stack.job_type("e2e.double")
    jobs = [stack.submit(new_job(customer, double, '{"n": 1}')).id for _ in range(JOBS)]

    until_charged(stack, jobs, urls, tmp_path)


def test_a_runner_of_the_release_before_gets_no_jobs_where_callers_authenticate_and_loses_none(
    code_before: str, stacks: tuple[Stack, Stack, Mapping[str, str]], issued: Credentials, tmp_path: Path
) -> None:
    stack, _, urls = stacks
    stack.issued = issued
    stack.start(*SERVICES, JOBS_RECONCILE_SECONDS="1")
    old = stack.start_runner(HANDLERS, PYTHONPATH=code_before)
    known = operator(stack, issued)
    customer = known.customer()
    double = known.job_type(processing_logic_id="e2e.double").name
    jobs = [known.jobs.CreateJob(new_job(customer, double, '{"n": 1}')).job.id for _ in range(JOBS)]
    # It has taken their IDs from the list, and was refused.
    until_sync(lambda: stack.processes["jobs"].lines("call", code="UNAUTHENTICATED"), context=lambda: old.output)
    assert {known.get(one).status for one in jobs} == {job_pb2.JOB_STATUS_PENDING}
    old.kill()

    stack.start_runner(HANDLERS)

    until_charged(stack, jobs, urls, tmp_path)


def test_authentication_is_switched_on_under_load_and_no_call_fails(
    code_before: str, stacks: tuple[Stack, Stack, Mapping[str, str]], issued: Credentials, tmp_path: Path
) -> None:
    stack, _, urls = stacks
    stack.issued = issued
    shared = {f"{service.upper()}_REUSE_PORT": "true" for service in SERVICES}
    # 1. The new services: they have their tokens and keys, and demand none.
    stack.start(*SERVICES, **OPEN, **shared)
    first = dict(stack.processes)
    old = stack.start_runner(HANDLERS, PYTHONPATH=code_before)
    known = operator(stack, issued)
    customer = known.customer()
    double = known.job_type(processing_logic_id="e2e.double").name

    def submission() -> tuple[str, Callable[[], object]]:
        request = new_job(customer, double, '{"n": 1}')
        return request.job_id, lambda: known.jobs.CreateJob(request, timeout=20)

    def until_more_charged() -> None:
        before = charges(urls).total()
        until_sync(lambda: charges(urls).total() > before + SOME)

    with Load(submission) as load:
        until_more_charged()
        # 2. Each caller gets a credential, here the runner.
        stack.start_runner(HANDLERS)
        assert old.stop() == 0
        until_more_charged()
        # 3. The services demand them, a replica after the other.
        for service in SERVICES:
            stack.start(service, **shared)
            assert first[service].stop() == 0
        until_more_charged()

    assert load.errors == []
    for service in SERVICES:
        assert [one["level"] for one in first[service].lines("authentication_off")] == ["warning"]
        assert not stack.processes[service].lines("authentication_off")
    assert_nobody_is_let_in(stack)
    until_charged(stack, load.returned, urls, tmp_path)


def assert_nobody_is_let_in(stack: Stack) -> None:
    """Check that each service refuses callers without credentials."""
    strangers = stubs(lambda _: "", [stack.channel(service) for service in SERVICES])
    calls: list[Callable[[], object]] = [
        lambda: strangers.customers.ListCustomers(ListCustomersRequest()),
        lambda: strangers.wallets.ListWallets(ListWalletsRequest()),
        lambda: strangers.jobs.ListJobs(ListJobsRequest()),
    ]
    assert [reason_of(call) for call in calls] == ["NO_CREDENTIALS"] * len(SERVICES)
