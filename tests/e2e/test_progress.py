"""Progress and checkpoints, through real services and runners that are killed."""

import asyncio
import json
from pathlib import Path

from innosystem.client import connect, watch_job
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_job
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"
LIMIT_SECONDS = 120


async def watched_until_it_says_something(stack: Stack, job_id: str) -> job_pb2.JobProgress:
    async with connect(stack.addresses["jobs"]) as channel, asyncio.timeout(LIMIT_SECONDS):
        async for job in watch_job(JobServiceStub(channel), job_id):
            if job.HasField("progress"):
                return job.progress
    raise AssertionError("the job has said nothing")


def test_a_watcher_sees_progress_and_the_next_attempt_continues_from_the_checkpoint_of_a_killed_runner(
    stack: Stack, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    stack.start("customers", "wallets")
    stack.start("jobs", JOBS_HOUSEKEEPING_SECONDS="0.2", JOBS_RESCUE_GRACE_SECONDS="0", JOBS_RESCUE_WAIT_SECONDS="0.1")
    first = runner(stack)
    job = stack.submit(
        new_job(stack.paying_customer(), stack.job_type("e2e.continues"), json.dumps({"begun": str(begun)}))
    )
    said = asyncio.run(watched_until_it_says_something(stack, job.id))
    assert (said.percent, said.message) == (25, "a quarter")
    until_sync(begun.exists)
    assert stack.job(job.id).progress == said
    first.kill()

    runner(stack)
    until_sync(lambda: stack.job(job.id).status == job_pb2.JOB_STATUS_SUCCEEDED, LIMIT_SECONDS)
    done = stack.job(job.id)
    assert json.loads(done.output_json) == {"row": 7}
    assert done.rescue_count == 1
    assert not done.HasField("progress")


def runner(stack: Stack) -> Process:
    """Start a runner whose jobs are soon given to another when it dies."""
    return stack.start_runner(HANDLERS, RUNNER_LEASE_SECONDS="2")
