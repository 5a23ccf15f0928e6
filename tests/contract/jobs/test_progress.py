"""What every job repository promises about progress and checkpoints."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.entities import ClaimedJob, Job, Progress, Revision
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import Failure
from services.jobs.rules.transitions.completion import Completion, Outcome, given_back
from services.jobs.rules.transitions.progress import Report
from services.kit.data.corrupt import all_understood, understood_by_key
from tests.contract.jobs.lives import claim, complete, read, running
from tests.support.jobs_work import BeginJobs

CHECKPOINT = Payload('{"row": 7}', 10)


async def report(begin: BeginJobs, job_id: UUID, lease_id: UUID, sequence: int = 1, **said: Any) -> None:
    async with begin() as work:
        await work.jobs.report([Report(job_id=job_id, lease_id=lease_id, sequence=sequence, **said)])
        await work.commit()


async def progress(begin: BeginJobs, job_id: UUID) -> tuple[float, str] | None:
    found = (await read(begin, job_id)).progress
    return None if found is None else (found.percent, found.message)


async def returned(begin: BeginJobs, job_id: UUID, lease_id: UUID) -> None:
    async with begin() as work:
        [job] = all_understood((await work.jobs.lock_many([job_id])).values())
        await work.jobs.apply([given_back(job, Completion(job_id=job_id, lease_id=lease_id), None)])
        await work.commit()


async def claimed_again(begin: BeginJobs, jobs: Sequence[Job], **values: Any) -> list[ClaimedJob]:
    async with begin() as work:
        claimed = await work.jobs.claim(claim([*jobs], **values))
        await work.commit()
    return list(claimed.jobs)


async def ended(begin: BeginJobs, job_id: UUID, lease_id: UUID, outcome: Outcome) -> None:
    async with begin() as work:
        await complete(work, job_id, Completion(job_id=job_id, lease_id=lease_id, outcome=outcome))
        await work.commit()


async def test_the_last_progress_of_a_run_is_read_with_its_job(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    assert await progress(begin, job.id) is None
    await report(begin, job.id, lease_id, 1, percent=10.0, message="reading")
    await report(begin, job.id, lease_id, 2, percent=62.5, message="writing")
    assert await progress(begin, job.id) == (62.5, "writing")
    async with begin() as work:
        found = understood_by_key(await work.jobs.get_many([job.id]))[job.id]
        assert await work.jobs.revisions([job.id, uuid7()]) == {job.id: Revision(found.version, 2)}
    assert isinstance(found.progress, Progress)
    assert job.started_at is not None
    assert found.progress.at >= job.started_at


async def test_progress_is_no_change_of_the_job(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    await report(begin, job.id, lease_id, percent=10.0)
    assert (await read(begin, job.id)).version == job.version


@pytest.mark.parametrize("sequence", [1, 2])
async def test_a_report_that_is_not_later_changes_nothing(begin: BeginJobs, sequence: int) -> None:
    [job], lease_id = await running(begin)
    await report(begin, job.id, lease_id, 2, percent=20.0)
    await report(begin, job.id, lease_id, sequence, percent=10.0)
    assert await progress(begin, job.id) == (20.0, "")


async def test_a_report_without_progress_leaves_the_last_one_and_one_without_checkpoint_too(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    await report(begin, job.id, lease_id, 1, percent=20.0, message="reading")
    await report(begin, job.id, lease_id, 2, checkpoint=CHECKPOINT)
    assert await progress(begin, job.id) == (20.0, "reading")
    await report(begin, job.id, lease_id, 3, percent=30.0)
    await returned(begin, job.id, lease_id)
    [again] = await claimed_again(begin, [job])
    assert again.checkpoint == '{"row": 7}'


async def test_the_next_run_gets_the_checkpoint_and_begins_without_progress(begin: BeginJobs) -> None:
    [job, other], lease_id = await running(begin, 2)
    await report(begin, job.id, lease_id, 5, percent=20.0, checkpoint=CHECKPOINT)
    for one in (job, other):
        await returned(begin, one.id, lease_id)
    first, second = await claimed_again(begin, [job, other])
    assert (first.checkpoint, second.checkpoint) == ('{"row": 7}', None)
    assert await progress(begin, job.id) is None
    assert first.job.lease_id is not None
    await report(begin, job.id, first.job.lease_id, 1, percent=5.0)
    assert await progress(begin, job.id) == (5.0, "")


async def test_checkpoints_count_for_what_fits_into_the_answer_of_a_claim(begin: BeginJobs) -> None:
    jobs, lease_id = await running(begin, 2)
    for job in jobs:
        await report(begin, job.id, lease_id, checkpoint=Payload('"x"', 600_000))
        await returned(begin, job.id, lease_id)
    claimed = await claimed_again(begin, jobs, bytes_max=1_000_000)
    assert [one.job.id for one in claimed] == [jobs[0].id]


async def test_what_a_job_has_left_is_removed_when_it_succeeds(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    await report(begin, job.id, lease_id, percent=20.0, checkpoint=CHECKPOINT)
    await ended(begin, job.id, lease_id, Payload("1", 1))
    assert await progress(begin, job.id) is None


async def test_what_a_job_has_left_that_failed_is_kept(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    await report(begin, job.id, lease_id, percent=20.0, checkpoint=CHECKPOINT)
    await ended(begin, job.id, lease_id, Failure(type="E", message="no", retryable=False))
    assert await progress(begin, job.id) == (20.0, "")


async def test_what_a_job_has_left_is_deleted_with_the_job(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    await report(begin, job.id, lease_id, percent=20.0, checkpoint=CHECKPOINT)
    async with begin() as work:
        assert await work.jobs.delete_many([job.id]) == 1
        assert await work.jobs.revisions([job.id]) == {}


async def test_a_run_that_only_leaves_a_checkpoint_has_no_progress_of_an_earlier_run(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    await report(begin, job.id, lease_id, percent=20.0)
    await returned(begin, job.id, lease_id)
    assert await progress(begin, job.id) == (20.0, "")
    [again] = await claimed_again(begin, [job])
    assert again.job.lease_id is not None
    await report(begin, job.id, again.job.lease_id, checkpoint=CHECKPOINT)
    assert await progress(begin, job.id) is None
    async with begin() as work:
        assert (await work.jobs.revisions([job.id]))[job.id] == (await read(begin, job.id)).revision
