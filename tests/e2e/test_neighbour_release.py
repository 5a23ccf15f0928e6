"""While pods are replaced, services of the release before this one work on the new schema, beside those of this one.

The code of that release comes out of the repository; without its history there is nothing to run.
"""

from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration

from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_service_pb2
from innosystem.jobs.v1.job_pb2 import BillingStatus, JobStatus
from innosystem.jobs.v1.runner_pb2 import RunnerState
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from services import SERVICES
from tests.e2e.stack import Stack, new_job, refusal
from tests.e2e.verifying import verified
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"
PRICE = 5
JOBS = 20


def until_job_is(stack: Stack, job_id: str, status: str, billing_status: str) -> None:
    """Wait until a job has come so far."""

    def come() -> bool:
        job = stack.job(job_id)
        is_now = JobStatus.Name(job.status), BillingStatus.Name(job.billing_status)
        return is_now == (f"JOB_STATUS_{status}", f"BILLING_STATUS_{billing_status}")

    until_sync(come)


def start(stack: Stack, before: Mapping[str, str], *names: str) -> None:
    """Start services and, last, a runner: those in `before` are of the release before this one."""
    for name in names:
        settings = {"PYTHONPATH": before[name]} if name in before else {}
        if name == "runner":
            stack.start_runner(HANDLERS, **settings)
        else:
            stack.start(name, **settings)


def rotated(stack: Stack, customer_id: str, overlap_seconds: int) -> str:
    overlap = Duration(seconds=overlap_seconds)
    return stack.customers.RotateApiKey(
        customers.RotateApiKeyRequest(customer_id=customer_id, overlap=overlap), timeout=10
    ).api_key


def owner_of(stack: Stack, api_key: str) -> str:
    request = customers.ResolveApiKeyRequest(api_key=api_key)
    return stack.customers.ResolveApiKey(request, timeout=10).customer.id


def pay_and_run(stack: Stack) -> None:
    """What clients and runners do."""
    ada = stack.paying_customer()
    double, fails = stack.job_type("e2e.double"), stack.job_type("e2e.fails")
    done = stack.submit(new_job(ada, double, '{"n": 21}')).id
    until_job_is(stack, done, "SUCCEEDED", "CHARGED")
    broken = stack.submit(new_job(ada, fails, "{}"))
    until_job_is(stack, broken.id, "FAILED", "RELEASED")
    again = stack.jobs.RetryJob(job_service_pb2.RetryJobRequest(job_id=broken.id), timeout=10).job
    assert again.hold_id != broken.hold_id
    until_job_is(stack, broken.id, "FAILED", "RELEASED")
    later = new_job(ada, double, '{"n": 1}')
    later.run_at.GetCurrentTime()
    later.run_at.seconds += 3600
    stack.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=stack.submit(later).id), timeout=10)
    until_job_is(stack, later.job_id, "CANCELLED", "RELEASED")
    stack.wallets.Refund(wallets.RefundRequest(job_id=done, idempotency_key="never worked"), timeout=10)


def operate(stack: Stack) -> None:
    """What operators do: pauses, holds, a charge that nobody pays and that is written off, keys, a deletion."""
    ada = stack.customer()
    stack.wallet(ada, PRICE)
    double = stack.job_type("e2e.double")
    stack.jobs.PauseQueue(job_service_pb2.PauseQueueRequest(queue="default"), timeout=10)
    unpaid = stack.submit(new_job(ada, double, '{"n": 1}'))
    stack.wallets.ReleaseHold(wallets.ReleaseHoldRequest(hold_id=unpaid.hold_id), timeout=10)
    fee = wallets.DeductRequest(customer_id=ada, currency="EUR", amount_cents=PRICE, idempotency_key="fee")
    stack.wallets.Deduct(fee, timeout=10)
    stack.jobs.ResumeQueue(job_service_pb2.ResumeQueueRequest(queue="default"), timeout=10)
    until_job_is(stack, unpaid.id, "SUCCEEDED", "DECLINED")
    stack.jobs.WriteOffJob(job_service_pb2.WriteOffJobRequest(job_id=unpaid.id, reason="a courtesy"), timeout=10)
    until_job_is(stack, unpaid.id, "SUCCEEDED", "CHARGED")
    stack.wallets.ReleaseHold(wallets.ReleaseHoldRequest(hold_id=str(uuid4())), timeout=10)
    first = rotated(stack, ada, 3600)
    second = rotated(stack, ada, 3600)
    assert [owner_of(stack, key) for key in (first, second)] == [ada, ada]
    stack.customers.DeleteCustomer(customers.DeleteCustomerRequest(customer_id=ada), timeout=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    [
        ("customers", "wallets", "jobs", "runner"),
        ("jobs",),
        ("customers", "wallets", "runner"),
    ],
    ids=["all", "the jobs service", "all but the jobs service"],
)
def test_of_the_release_before_this_one_there_work_on_the_new_schema(
    before: tuple[str, ...],
    code_before: str,
    stacks: tuple[Stack, Stack, Mapping[str, str]],
    tmp_path: Path,
) -> None:
    stack, _, urls = stacks
    start(stack, dict.fromkeys(before, code_before), *SERVICES, "runner")
    pay_and_run(stack)
    operate(stack)
    status, told = verified(urls, tmp_path)
    assert status == 0, told


@pytest.mark.slow
def test_replicas_of_both_releases_work_side_by_side(
    code_before: str, stacks: tuple[Stack, Stack, Mapping[str, str]], tmp_path: Path
) -> None:
    old, new, urls = stacks
    start(old, dict.fromkeys(SERVICES, code_before), "customers", "wallets")
    start(new, {}, "customers", "wallets")
    # The jobs services of each release ask the others of the other one, and so do the runners.
    for service in ("customers", "wallets"):
        old.addresses[service], new.addresses[service] = new.addresses[service], old.addresses[service]
    start(old, {"jobs": code_before}, "jobs")
    start(new, {}, "jobs")
    old.addresses["jobs"], new.addresses["jobs"] = new.addresses["jobs"], old.addresses["jobs"]
    start(old, {"runner": code_before}, "runner")
    start(new, {}, "runner")

    submitted = [(stack, job) for stack in (old, new) for job in jobs_of(stack)]
    for stack, job_id in submitted:
        until_job_is(stack, job_id, "SUCCEEDED", "CHARGED")
    status, told = verified(urls, tmp_path)
    assert status == 0, told


def jobs_of(stack: Stack) -> list[str]:
    ada, double = stack.paying_customer(), stack.job_type("e2e.double")
    return [stack.submit(new_job(ada, double, f'{{"n": {number}}}')).id for number in range(JOBS)]


@pytest.mark.slow
def test_keys_that_either_release_has_made_or_replaced_work_with_both(
    code_before: str, stacks: tuple[Stack, Stack, Mapping[str, str]]
) -> None:
    old, new, _ = stacks
    start(old, {"customers": code_before}, "customers")
    start(new, {}, "customers")
    for maker, other in ((old, new), (new, old)):
        ada = maker.customer()
        made = rotated(maker, ada, 3600)
        replaced = rotated(other, ada, 3600)
        assert {owner_of(stack, key) for stack in (old, new) for key in (made, replaced)} == {ada}
        for one in new.customers.ListApiKeys(customers.ListApiKeysRequest(customer_id=ada), timeout=10).api_keys:
            revoke = customers.RevokeApiKeyRequest(customer_id=ada, api_key_id=one.id)
            new.customers.RevokeApiKey(revoke, timeout=10)
        for stack, key in product((old, new), (made, replaced)):
            error = refusal(partial(owner_of, stack, key))
            assert error is not None
            assert error.reason == "BAD_CREDENTIALS"


@pytest.mark.slow
def test_a_runner_of_the_release_before_this_one_is_listed_when_it_takes_jobs(
    code_before: str, stacks: tuple[Stack, Stack, Mapping[str, str]]
) -> None:
    stack, _, _ = stacks
    start(stack, {"runner": code_before}, *SERVICES, "runner")
    jobs_of(stack)

    def listed() -> list[tuple[str, str]]:
        found = stack.jobs.ListRunners(job_service_pb2.ListRunnersRequest(), timeout=10).runners
        return [(RunnerState.Name(one.state), one.version) for one in found]

    until_sync(lambda: listed() == [("RUNNER_STATE_ACTIVE", "")])
    stats = stack.jobs.GetQueueStats(job_service_pb2.GetQueueStatsRequest(queues=["default"]), timeout=10)
    assert {one.runners for one in stats.queues} == {1}


@pytest.mark.slow
def test_a_runner_of_this_release_works_and_ends_with_a_service_that_has_no_list_of_runners(
    code_before: str, stacks: tuple[Stack, Stack, Mapping[str, str]]
) -> None:
    stack, _, _ = stacks
    start(stack, dict.fromkeys(SERVICES, code_before), *SERVICES)
    runner = stack.start_runner(HANDLERS)
    for job_id in jobs_of(stack):
        until_job_is(stack, job_id, "SUCCEEDED", "CHARGED")
    assert runner.stop() == 0
    assert not runner.lines("runner_broken")
