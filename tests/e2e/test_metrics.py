"""What Prometheus reads of jobs at the endpoints of the jobs service and of a runner."""

from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from innosystem.jobs.v1 import job_pb2, job_service_pb2
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_job
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"


Sample = tuple[str, frozenset[tuple[str, str]]]


def of(name: str, **labels: str) -> Sample:
    """What one sample is known by."""
    return name, frozenset(labels.items())


def read(process: Process) -> Mapping[Sample, float]:
    """All samples."""
    with urlopen(f"http://{process.logged('metrics')['address']}/metrics", timeout=10) as response:
        text = response.read().decode()
    samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
    return {of(one.name, **one.labels): one.value for one in samples}


@pytest.fixture
def running(stack: Stack) -> Stack:
    """The services, of which the jobs service serves metrics."""
    stack.start("customers", "wallets")
    stack.start("jobs", JOBS_METRICS_LISTEN_ADDRESS="127.0.0.1:0")
    return stack


def test_jobs_are_counted_by_queue_type_and_end_by_the_service_and_by_the_runner(running: Stack) -> None:
    customer_id = running.paying_customer()
    doubles, fails = running.job_type("e2e.double"), running.job_type("e2e.fails")
    jobs = [new_job(customer_id, doubles, f'{{"n": {n}}}') for n in range(3)] + [new_job(customer_id, fails, "{}")]
    running.jobs.BatchCreateJobs(job_service_pb2.BatchCreateJobsRequest(requests=jobs), timeout=15)
    cancelled = running.submit(new_job(customer_id, doubles, '{"n": 1}'))
    running.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=cancelled.id), timeout=15)
    runner = running.start_runner(HANDLERS, RUNNER_METRICS_LISTEN_ADDRESS="127.0.0.1:0")
    final = (job_pb2.JOB_STATUS_SUCCEEDED, job_pb2.JOB_STATUS_FAILED)
    until_sync(lambda: all(running.job(one.job_id).status in final for one in jobs) or None)

    service = read(running.processes["jobs"])

    def jobs_metric(name: str, **labels: str) -> float:
        return service[of(f"innosystem_jobs_{name}", **labels)]

    of_type, of_failing = {"queue": "default", "job_type": doubles}, {"queue": "default", "job_type": fails}
    assert jobs_metric("submitted_total", **of_type) == 4
    assert jobs_metric("ended_total", **of_type, status="SUCCEEDED") == 3
    assert jobs_metric("ended_total", **of_type, status="CANCELLED") == 1
    assert jobs_metric("ended_total", **of_failing, status="FAILED") == 1
    assert jobs_metric("failed_runs_total", **of_failing) == 1
    assert jobs_metric("wait_seconds_count", queue="default", priority="MEDIUM") == 4
    assert jobs_metric("run_seconds_count", **of_type) == 3
    assert jobs_metric("lifetime_seconds_count", queue="default", status="SUCCEEDED") == 3
    call = {"grpc_service": "innosystem.jobs.v1.JobService", "grpc_method": "CancelJob"}
    assert service[of("grpc_server_handled_total", **call, grpc_code="OK", caller="")] == 1
    assert service[of("grpc_server_handling_seconds_count", **call)] == 1
    sums = [value for (name, _), value in service.items() if name.startswith("innosystem_jobs_") and "_sum" in name]
    assert sums
    assert all(0 <= value < 60 for value in sums)

    ran = read(runner)
    assert ran[of("innosystem_runner_run_seconds_count", handler="e2e.double", outcome="succeeded")] == 3
    assert ran[of("innosystem_runner_run_seconds_count", handler="e2e.fails", outcome="failed")] == 1
    assert (ran[of("innosystem_runner_slots")], ran[of("innosystem_runner_stuck_handlers")]) == (32, 0)
    lag = "innosystem_runner_loop_lag_seconds"
    until_sync(lambda: read(runner)[of(f"{lag}_count")] > 0)
    assert 0 < read(runner)[of(f"{lag}_sum")] < 60


@pytest.mark.slow
def test_the_backlog_of_a_queue_that_nobody_serves_is_seen_with_its_age(running: Stack) -> None:
    customer_id = running.paying_customer()
    running.submit(new_job(customer_id, running.job_type("e2e.double", queue="lonely"), '{"n": 1}'))
    running.jobs.PauseQueue(job_service_pb2.PauseQueueRequest(queue="lonely"), timeout=15)

    def lonely(name: str) -> float | None:
        sample = of(f"innosystem_jobs_{name}", queue="lonely", priority="MEDIUM")
        return read(running.processes["jobs"]).get(sample)

    until_sync(lambda: lonely("waiting") == 1 or None, limit_seconds=30)
    until_sync(lambda: (lonely("oldest_waiting_seconds") or 0) > 0 or None, limit_seconds=30)
    assert lonely("running") == 0
    paused = of("innosystem_jobs_queue_paused", queue="lonely")
    until_sync(lambda: read(running.processes["jobs"]).get(paused) or None, limit_seconds=30)


def test_a_runner_with_an_address_that_can_t_be_used_says_so_and_ends_with_2(running: Stack, tmp_path: Path) -> None:
    environment = {
        "REDIS_URL": running.redis_url,
        "REDIS_KEY_PREFIX": f"{uuid4()}:",
        "JOBS_ADDRESS": running.addresses["jobs"],
        "WALLETS_ADDRESS": running.addresses["wallets"],
        "RUNNER_METRICS_LISTEN_ADDRESS": "9465",
    }
    runner = Process("innosystem.runner", "--handlers", HANDLERS, environment=environment, folder=tmp_path)
    running.processes["runner"] = runner

    assert runner.wait() == 2
    assert "RUNNER_METRICS_LISTEN_ADDRESS: can't serve metrics on 9465: an address is host:port" in runner.errors
