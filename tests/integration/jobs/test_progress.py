"""ReportProgress over gRPC: who is heard, what is refused, and what GetJob and ClaimJobs return of it."""

from datetime import UTC
from typing import Any
from uuid import uuid4

import pytest

from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.refusals import Stored, details

KIBIBYTE = 1024


def report(world: JobsStack, job: job_pb2.Job, lease_id: str, **said: Any) -> pb.ProgressReportResult:
    one = pb.ProgressReport(**{"job_id": job.id, "lease_id": lease_id, "sequence": 1, **said})
    [result] = world.jobs.ReportProgress(pb.ReportProgressRequest(reports=[one])).results
    return result


def half(message: str = "half") -> job_pb2.JobProgress:
    return job_pb2.JobProgress(percent=50, message=message)


def test_progress_is_returned_with_the_job_and_changes_nothing_else_of_it(world: JobsStack) -> None:
    job, lease_id = world.running()
    before = world.get(job.id)
    assert report(world, job, lease_id, progress=half()) == pb.ProgressReportResult()
    after = world.get(job.id)
    assert (after.progress.percent, after.progress.message) == (50, "half")
    assert after.progress.at.ToDatetime(UTC) >= after.started_at.ToDatetime(UTC)
    after.ClearField("progress")
    assert after == before


def test_the_next_run_is_given_the_checkpoint(world: JobsStack) -> None:
    job, lease_id = world.running()
    report(world, job, lease_id, checkpoint_json='{"row": 12345678901234567890123}')
    world.jobs.ReturnJobs(pb.ReturnJobsRequest(returns=[pb.JobReturn(job_id=job.id, lease_id=lease_id)]))
    [claimed] = world.claim(job.id, lease_id=str(uuid4())).jobs
    assert claimed.checkpoint_json == '{"row": 12345678901234567890123}'


def test_a_job_that_is_retried_after_it_has_failed_continues_from_its_checkpoint(world: JobsStack) -> None:
    job, lease_id = world.running()
    report(world, job, lease_id, progress=half(), checkpoint_json="7")
    error = job_pb2.JobError(type="E", message="no")
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=error))
    assert world.get(job.id).progress.percent == 50
    world.released(job.id)
    retried = world.jobs.RetryJob(pb.RetryJobRequest(job_id=job.id)).job
    assert not world.get(retried.id).HasField("progress")
    [claimed] = world.claim(job.id, lease_id=str(uuid4())).jobs
    assert claimed.checkpoint_json == "7"


def test_nothing_is_left_of_a_job_that_succeeds(world: JobsStack, stored: Stored) -> None:
    job, lease_id = world.running()
    report(world, job, lease_id, progress=half(), checkpoint_json="7")
    world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
    assert not world.get(job.id).HasField("progress")
    assert stored.execute("SELECT 1 FROM job_progress WHERE job_id = %s", job.id) == []


def test_a_run_whose_lease_was_lost_is_not_heard(world: JobsStack, stored: Stored) -> None:
    job, lease_id = world.running()
    world.jobs.ReturnJobs(pb.ReturnJobsRequest(returns=[pb.JobReturn(job_id=job.id, lease_id=lease_id)]))
    with stored.unchanged():
        details(report(world, job, lease_id, progress=half()).error, "LEASE_LOST")
    world.claim(job.id, lease_id=str(uuid4()))
    with stored.unchanged():
        details(report(world, job, lease_id, progress=half(), checkpoint_json="1").error, "LEASE_LOST")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"job_id": "nonsense"}, "reports[0].job_id"),
        ({"sequence": 0}, "reports[0].sequence"),
        ({"progress": job_pb2.JobProgress(percent=100.1)}, "reports[0].progress.percent"),
        ({"progress": job_pb2.JobProgress(percent=float("nan"))}, "reports[0].progress.percent"),
        ({"progress": job_pb2.JobProgress(message="x" * 501)}, "reports[0].progress.message"),
        ({"progress": job_pb2.JobProgress(message="\x00")}, "reports[0].progress.message"),
        ({"checkpoint_json": "{"}, "reports[0].checkpoint_json"),
        ({"checkpoint_json": '"\\u0000"'}, "reports[0].checkpoint_json"),
        ({"checkpoint_json": f'"{"x" * 256 * KIBIBYTE}"'}, "reports[0].checkpoint_json"),
        ({"checkpoint_json": f'"{"x" * 1100 * KIBIBYTE}"'}, "reports[0].checkpoint_json"),
    ],
    ids=[
        "no ID", "no sequence", "too much", "no number", "a long message", "NUL", "no JSON", "NUL in JSON",
        "too large", "far too large",
    ],
)  # fmt: skip
def test_a_bad_report_is_refused_alone(world: JobsStack, stored: Stored, said: dict[str, Any], field: str) -> None:
    job, lease_id = world.running()
    with stored.unchanged():
        error = details(report(world, job, lease_id, **said).error, "INVALID_FIELD")
    assert [one.field for one in error.violations] == [field]


def test_the_largest_checkpoint_is_stored(world: JobsStack) -> None:
    job, lease_id = world.running()
    text = f'"{"x" * (256 * KIBIBYTE - 2)}"'
    assert not report(world, job, lease_id, checkpoint_json=text).HasField("error")
