"""One stream of states of a job."""

from dataclasses import replace

from services.jobs.domain import JobStatus
from services.jobs.watching import _Watcher
from tests.jobs_examples import stored_job


async def test_the_last_state_is_told_also_if_the_job_is_gone_by_then() -> None:
    watcher = _Watcher()
    job = stored_job()
    done = replace(job, status=JobStatus.SUCCEEDED, version=job.version + 1)
    watcher.tell(job)
    assert await watcher.next() == job
    watcher.tell(done)
    watcher.tell(None)
    assert await watcher.next() == done
    assert await watcher.next() is None


async def test_a_state_that_is_older_than_the_last_is_not_told() -> None:
    watcher = _Watcher()
    job = replace(stored_job(), version=3)
    watcher.tell(job)
    watcher.tell(replace(job, version=2))
    watcher.tell(None)
    assert await watcher.next() == job
    assert await watcher.next() is None
