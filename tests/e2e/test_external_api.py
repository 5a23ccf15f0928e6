"""Jobs of types that are HTTP endpoints, through real services, real runners and a real HTTP server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from innosystem.jobs.v1 import job_pb2, job_type_pb2, job_type_service_pb2
from services import SERVICES
from tests.e2e.outbound import start_outbound_runner
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_job
from tests.e2e.test_runner import check_ledger, settled
from tests.support.http_endpoint import RunningEndpoint, running_endpoint
from tests.support.until import until_sync

SUCCEEDED, FAILED, PENDING = (job_pb2.JOB_STATUS_SUCCEEDED, job_pb2.JOB_STATUS_FAILED, job_pb2.JOB_STATUS_PENDING)
CHARGED, RELEASED = job_pb2.BILLING_STATUS_CHARGED, job_pb2.BILLING_STATUS_RELEASED
SECRET = "only-the-endpoint-may-see-this"
SECRETS = {"KEY": SECRET}


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, fresh_database: Callable[[str], str], redis_url: str
) -> Iterator[Stack]:
    urls = {service: fresh_database(service) for service in SERVICES}
    stack = Stack(tmp_path_factory.mktemp("external-api"), urls, redis_url, key_prefix=f"{uuid4()}:")
    stack.start(*SERVICES, JOBS_RESCUE_GRACE_SECONDS="0", JOBS_UNSERVED_WAIT_SECONDS="1")
    yield stack
    stack.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint() as started:
        yield started


@pytest.fixture
def runner(running: Stack, endpoint: RunningEndpoint) -> Iterator[Process]:
    process = start_outbound_runner(running, endpoint, SECRETS)
    yield process
    assert process.stop() == 0
    check_ledger(running)


def job_type(stack: Stack, url: str, *, max_attempts: int = 1, **fields: Any) -> str:
    return stack.job_type(
        "",
        processor_type=job_type_pb2.PROCESSOR_TYPE_EXTERNAL_API,
        external_api=job_type_pb2.ExternalApi(url=url, **fields),
        max_attempts=max_attempts,
        retry_policy=job_type_pb2.RetryPolicy(initial_backoff=Duration(nanos=10_000_000)),
    )


def requests_of(endpoint: RunningEndpoint, job_id: str) -> list[dict[str, Any]]:
    return [one for one in endpoint.requests() if one["headers"].get("Idempotency-Key") == job_id]


def submitted(stack: Stack, type_name: str, input: Any = None) -> str:
    return stack.submit(new_job(stack.paying_customer(), type_name, json.dumps(input))).id


def test_a_job_is_the_response_of_its_endpoint_and_is_charged_once(
    running: Stack, runner: Process, endpoint: RunningEndpoint
) -> None:
    name = job_type(
        running,
        endpoint.url("/echo/{$.id}"),
        headers={"Authorization": "Bearer {secret:KEY}"},
        body_json='{"amount": "{$.amount}", "of": "{job.customer_id}"}',
        output_path="$.headers.Authorization",
    )
    job = settled(running, submitted(running, name, {"id": "a/b", "amount": 1.5}))

    [seen] = requests_of(endpoint, job.id)
    assert (seen["method"], seen["path"]) == ("POST", "/echo/a%2Fb")
    assert json.loads(seen["body"]) == {"amount": 1.5, "of": job.customer_id}
    assert seen["headers"]["Authorization"] == f"Bearer {SECRET}"
    # The endpoint repeats the header, and the output does not.
    assert (job.status, job.output_json, job.billing_status) == (SUCCEEDED, '"Bearer ***"', CHARGED)
    assert job.cost_cents == 5
    assert SECRET not in runner.output + runner.errors


def test_a_failure_of_the_endpoint_is_retried_with_the_same_key_and_one_for_good_is_not(
    running: Stack, runner: Process, endpoint: RunningEndpoint
) -> None:
    retried = job_type(running, endpoint.url("/sequence/503/429/200?retry-after=0"), max_attempts=5)
    gone = job_type(running, endpoint.url('/status/404?body={{"error":"gone"}}'), max_attempts=5)
    known = job_type(
        running,
        endpoint.url('/status/409?body={{"id":7}}'),
        rules=[job_type_pb2.ResponseRule(status_from=409, meaning=job_type_pb2.RESPONSE_MEANING_SUCCESS)],
    )
    unfit = job_type(running, endpoint.url("/echo/{$.id}"), max_attempts=5)

    job = settled(running, submitted(running, retried))
    assert (job.status, job.attempt, job.billing_status) == (SUCCEEDED, 3, CHARGED)
    assert len(requests_of(endpoint, job.id)) == 3
    assert job.error.type == "HTTP_429"

    job = settled(running, submitted(running, gone))
    assert (job.status, job.attempt, job.billing_status) == (FAILED, 1, RELEASED)
    assert (job.error.type, job.error.retryable) == ("HTTP_404", False)
    assert job.error.message == 'The endpoint responded with status 404: {"error": "gone"}'

    job = settled(running, submitted(running, known))
    assert (job.status, json.loads(job.output_json)) == (SUCCEEDED, {"id": 7})

    job = settled(running, submitted(running, unfit, {}))
    assert (job.status, job.error.type, requests_of(endpoint, job.id)) == (FAILED, "INVALID_INPUT", [])


def test_the_time_that_the_endpoint_asks_for_is_waited(
    running: Stack, runner: Process, endpoint: RunningEndpoint
) -> None:
    name = job_type(running, endpoint.url("/status/503?retry-after=3000"), max_attempts=2)
    job_id = submitted(running, name)

    job = until_sync(lambda: one if (one := running.job(job_id)).status == job_pb2.JOB_STATUS_SCHEDULED else None)
    assert job is not None
    assert 2900 < (job.run_at.ToDatetime() - job.error.at.ToDatetime()).total_seconds() <= 3001


def test_what_an_endpoint_may_not_do_fails_the_job(running: Stack, runner: Process, endpoint: RunningEndpoint) -> None:
    inside = f"http://10.0.0.1:{endpoint.port}/"
    errors = {
        endpoint.url("/echo", "localhost"): "HOST_NOT_ALLOWED",
        "http://169.254.169.254/latest/meta-data/": "HOST_NOT_ALLOWED",
        endpoint.url(f"/redirect/307?to={inside}"): "HOST_NOT_ALLOWED",
        endpoint.url("/circle"): "REDIRECT_REFUSED",
        endpoint.url("/huge/3000000"): "RESPONSE_TOO_LARGE",
        endpoint.url("/close"): "CONNECTION_FAILED",
    }
    jobs = {submitted(running, job_type(running, url)): error for url, error in errors.items()}

    assert {settled(running, job_id).error.type for job_id in jobs} == set(errors.values())
    for job_id, error in jobs.items():
        job = running.job(job_id)
        assert (job.status, job.error.type, job.billing_status) == (FAILED, error, RELEASED)


def test_an_endpoint_at_a_private_address_is_not_called(running: Stack, endpoint: RunningEndpoint) -> None:
    runner = start_outbound_runner(
        running,
        endpoint,
        SECRETS,
        RUNNER_HTTP_ALLOWED_HOSTS=f"http://*:{endpoint.port}",
        RUNNER_HTTP_PRIVATE_NETWORKS="10.0.0.0/8",
    )
    job = settled(running, submitted(running, job_type(running, endpoint.url("/echo", "localhost"))))

    assert (job.status, job.error.type) == (FAILED, "ADDRESS_NOT_ALLOWED")
    assert not requests_of(endpoint, job.id)
    assert runner.stop() == 0


def test_an_endpoint_that_takes_longer_than_the_timeout_of_the_job_type(
    running: Stack, runner: Process, endpoint: RunningEndpoint
) -> None:
    name = running.job_type(
        "",
        processor_type=job_type_pb2.PROCESSOR_TYPE_EXTERNAL_API,
        external_api=job_type_pb2.ExternalApi(url=endpoint.url("/slow/60")),
        timeout=Duration(seconds=1),
    )

    job = settled(running, submitted(running, name))
    assert (job.status, job.billing_status) == (FAILED, RELEASED)
    assert job.error.type in ("TIMEOUT", "ENDPOINT_TIMEOUT")


def test_a_job_whose_runner_was_killed_calls_again_with_the_same_key(running: Stack, endpoint: RunningEndpoint) -> None:
    first = start_outbound_runner(running, endpoint, SECRETS, RUNNER_LEASE_SECONDS="1")
    job_id = submitted(running, job_type(running, endpoint.url("/slow-once/{job.id}")))
    until_sync(lambda: requests_of(endpoint, job_id))
    first.kill()

    second = start_outbound_runner(running, endpoint, SECRETS)
    job = settled(running, job_id)
    assert (job.status, job.billing_status, job.rescue_count) == (SUCCEEDED, CHARGED, 1)
    assert len(requests_of(endpoint, job_id)) == 2
    assert second.stop() == 0
    check_ledger(running)


def test_a_job_waits_for_a_runner_that_calls_endpoints_and_may_be_mended_meanwhile(
    running: Stack, endpoint: RunningEndpoint
) -> None:
    other = running.start_runner("tests.e2e.handlers_for_tests")
    name = job_type(running, endpoint.url("/status/404"))
    job_id = submitted(running, name)
    done = running.submit(new_job(running.paying_customer(), running.job_type("e2e.double"), '{"n": 1}'))
    assert settled(running, done.id).status == SUCCEEDED
    assert running.job(job_id).status == PENDING

    current = running.job_types.GetJobType(job_type_service_pb2.GetJobTypeRequest(name=name), timeout=15).job_type
    current.external_api.url = endpoint.url("/status/200")
    mask = FieldMask(paths=["external_api"])
    running.job_types.UpdateJobType(
        job_type_service_pb2.UpdateJobTypeRequest(job_type=current, update_mask=mask), timeout=15
    )
    runner = start_outbound_runner(running, endpoint, SECRETS)
    assert settled(running, job_id).status == SUCCEEDED
    assert other.stop() == runner.stop() == 0


def test_a_runner_without_handlers_and_without_hosts_does_not_start(running: Stack, tmp_path: Path) -> None:
    runner = Process("innosystem.runner", environment={}, folder=tmp_path)

    assert runner.wait() == 2
    assert "No handler is registered" in runner.errors
