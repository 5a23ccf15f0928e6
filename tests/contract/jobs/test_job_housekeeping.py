"""What every job repository promises about leases that end, jobs that are taken back and charges that are due (D1)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.entities import Billing, BillingStatus, Charge, JobStatus, Release, Unsettled, Waiting
from services.jobs.rules.holds import Reserved
from services.jobs.rules.job_types import DEFAULT_EXPIRES_AFTER, Priority
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions import callbacks
from services.jobs.rules.transitions.callbacks import CallbackResult
from services.jobs.rules.transitions.changes import Failure, next_try
from services.jobs.rules.transitions.completion import AwaitCallback, Completion, Snooze, ending, given_back
from services.jobs.rules.transitions.control import EXPIRED, Removal, Retry
from services.jobs.rules.transitions.leasing import Renewal
from services.jobs.rules.transitions.rescue import Rescue
from services.kit.charges.callbacks import Callback
from services.kit.data.corrupt import understood
from tests.contract.jobs.lives import DEFAULT, RUNNER, claim, complete, read, running, settled, stored, succeeded
from tests.support.jobs_examples import LATER, MINUTE, NOW, new_job
from tests.support.jobs_work import BeginJobs, JobsWork

LONG_AGO = -timedelta(hours=1)
HOUR = timedelta(hours=1)

HOLD = Reserved(uuid7(), 3, 5)


def removal(
    job_id: UUID,
    status: JobStatus = JobStatus.CANCELLED,
    billing_status: BillingStatus = BillingStatus.RELEASED,
) -> Removal:
    return Removal(
        job_id=job_id,
        status=status,
        billing_status=billing_status,
        error=Failure(type=EXPIRED, message="too late", retryable=False),
        next_try_at=next_try(billing_status),
    )


async def test_a_renewal_has_leases_end_later_and_is_no_new_version(begin: BeginJobs) -> None:
    [job, other], lease_id = await running(begin, 2)
    async with begin() as work:
        renewed = await work.jobs.renew(Renewal([lease_id], [job.id], HOUR))
        await work.commit()
    after = await read(begin, job.id)
    assert renewed.job_ids == {job.id}
    assert job.lease_expires_at is not None
    assert after.lease_expires_at == renewed.lease_expires_at
    assert renewed.lease_expires_at is not None
    assert renewed.lease_expires_at >= job.lease_expires_at + HOUR - MINUTE
    assert after.version == job.version
    assert (await read(begin, other.id)).lease_expires_at == other.lease_expires_at


async def test_only_what_runs_under_one_of_the_leases_is_renewed(begin: BeginJobs) -> None:
    [[mine], lease], [[strange], _] = await running(begin), await running(begin)
    done = await succeeded(begin)
    [waiting] = await stored(begin)
    assert done.completed_lease_id is not None
    ids = [mine.id, strange.id, done.id, waiting.id, uuid7()]
    async with begin() as work:
        renewed = await work.jobs.renew(Renewal([lease, done.completed_lease_id], ids, HOUR))
        nothing = await work.jobs.renew(Renewal([uuid7()], ids, HOUR))
    assert renewed.job_ids == {mine.id}
    assert (nothing.job_ids, nothing.lease_expires_at) == (frozenset(), None)


async def test_a_returned_job_waits_again_handed_over_and_no_attempt_is_used_up(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    completion = Completion(job_id=job.id, lease_id=lease_id)
    async with begin() as work:
        await work.jobs.apply([given_back(job, completion, None)])
        await work.commit()
    after = await read(begin, job.id)
    assert Waiting.of(after) == Waiting(job.id, "default", Priority.MEDIUM, job.queued_at)
    assert (after.status, after.attempt, after.rescue_count) == (JobStatus.PENDING, 0, 0)
    assert (after.lease_id, after.lease_expires_at) == (None, None)
    assert (after.completed_lease_id, after.completion_digest) == (lease_id, completion.digest)
    assert after.dispatched_at is not None
    assert after.version == job.version + 1


async def test_a_returned_job_that_is_to_wait_is_scheduled_and_no_attempt_is_used_up(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    completion = Completion(job_id=job.id, lease_id=lease_id)
    async with begin() as work:
        await work.jobs.apply([given_back(job, completion, MINUTE)])
        await work.commit()
    after = await read(begin, job.id)
    assert (after.status, after.attempt, after.rescue_count) == (JobStatus.SCHEDULED, 0, 0)
    assert (after.lease_id, after.lease_expires_at, after.dispatched_at) == (None, None, None)
    assert after.run_at is not None
    assert timedelta(0) < after.run_at - job.queued_at < 2 * MINUTE
    assert (after.completed_lease_id, after.completion_digest) == (lease_id, completion.digest)


async def test_no_changes_change_nothing(begin: BeginJobs) -> None:
    async with begin() as work:
        await work.jobs.apply([])


async def test_only_jobs_whose_lease_has_ended_are_lost_and_up_to_a_limit(begin: BeginJobs) -> None:
    lost, _ = await running(begin, 3, lease=LONG_AGO)
    await running(begin)
    await stored(begin)
    async with begin() as work:
        found = understood(await work.jobs.lock_lost(10))
        without = [found[0].id]
        assert {job.id for job in understood(await work.jobs.lock_lost(10, without))} == {job.id for job in found[1:]}
        assert len(await work.jobs.lock_lost(2)) == 2
    assert {job.id for job in found} == {job.id for job in lost}
    assert {job.status for job in found} == {JobStatus.RUNNING}


async def test_a_rescued_job_waits_again_and_the_rescue_is_counted_in_place_of_the_attempt(begin: BeginJobs) -> None:
    [job], _ = await running(begin, lease=LONG_AGO)
    async with begin() as work:
        await work.jobs.apply([Rescue.of(job, deaths=1, early_losses=2)])
        assert await work.jobs.lock_lost(10) == []
        await work.commit()
    after = await read(begin, job.id)
    assert Waiting.of(after) == Waiting.of(job)
    assert (after.status, after.attempt, after.rescue_count) == (JobStatus.PENDING, 0, 1)
    assert (after.deaths, after.early_losses) == (1, 2)
    assert (after.lease_id, after.lease_expires_at) == (None, None)
    assert after.dispatched_at is not None
    assert after.version == job.version + 1


async def test_a_rescued_job_that_is_to_wait_is_scheduled_and_keeps_its_place_in_the_queue(begin: BeginJobs) -> None:
    [job], _ = await running(begin, lease=LONG_AGO)
    async with begin() as work:
        await work.jobs.apply([Rescue.of(job, deaths=0, early_losses=1, wait=MINUTE)])
        await work.commit()
    after = await read(begin, job.id)
    assert (after.status, after.attempt, after.rescue_count) == (JobStatus.SCHEDULED, 0, 1)
    assert (after.lease_id, after.lease_expires_at, after.dispatched_at) == (None, None, None)
    assert after.run_at is not None
    assert timedelta(0) < after.run_at - job.queued_at < 2 * MINUTE
    assert after.version == job.version + 1


async def test_a_rescued_job_whose_wait_is_over_is_queued_where_it_was(begin: BeginJobs) -> None:
    [job], _ = await running(begin, lease=LONG_AGO)
    async with begin() as work:
        await work.jobs.apply([Rescue.of(job, deaths=0, early_losses=1, wait=LONG_AGO)])
        assert await work.jobs.release_scheduled(10) == [job.id]
        await work.commit()
    assert (await read(begin, job.id)).queued_at == job.queued_at


async def test_the_jobs_that_a_runner_had_just_begun_are_counted_also_after_some_were_rescued(begin: BeginJobs) -> None:
    jobs, _ = await running(begin, 3, lease=MINUTE)
    await running(begin, lease=HOUR)
    async with begin() as work:
        assert dict(await work.jobs.begun({RUNNER}, 10 * MINUTE)) == {RUNNER: 3}
        await work.jobs.note_lost({RUNNER: 2, uuid7(): 7})
        await work.jobs.apply([Rescue.of(job, deaths=0, early_losses=1) for job in jobs[:2]])
        assert dict(await work.jobs.begun({RUNNER}, 10 * MINUTE)) == {RUNNER: 3}


@pytest.mark.parametrize("status", [JobStatus.CANCELLED, JobStatus.FAILED])
async def test_a_removed_job_is_final_with_its_reason_and_its_lease_is_over(
    begin: BeginJobs, status: JobStatus
) -> None:
    [job], _ = await running(begin)
    async with begin() as work:
        await work.jobs.apply([removal(job.id, status)])
        await work.commit()
    after = await read(begin, job.id)
    assert (after.status, after.billing_status) == (status, BillingStatus.RELEASED)
    assert (after.lease_id, after.dispatched_at, after.cost_cents) == (None, None, None)
    assert after.error is not None
    assert (after.error.type, after.error.message, after.error.retryable) == (EXPIRED, "too late", False)
    assert after.error.at == after.completed_at
    assert after.version == job.version + 1


async def test_a_retried_job_waits_as_if_it_were_new_with_all_its_attempts(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin, max_attempts=3)
    failure = Failure(type="ValueError", message="no", retryable=False)
    async with begin() as work:
        await complete(work, job.id, Completion(job_id=job.id, lease_id=lease_id, outcome=failure))
        await work.jobs.apply([Retry.of(job, HOLD)])
        await work.commit()
    after = await read(begin, job.id)
    assert (after.status, after.billing_status, after.attempt) == (JobStatus.PENDING, BillingStatus.HELD, 0)
    assert (after.hold_id, after.hold_generation) == (HOLD.hold_id, 3)
    assert (after.rescue_count, after.deaths, after.early_losses, after.snooze_count) == (0, 0, 0, 0)
    assert (after.started_at, after.completed_at, after.run_at, after.dispatched_at) == (None, None, None, None)
    assert (after.completed_lease_id, after.completion_digest) == (None, None)
    assert after.queued_at >= job.queued_at
    assert after.expires_at - after.queued_at == DEFAULT_EXPIRES_AFTER
    async with begin() as work:
        assert [one.id for one in (await work.jobs.take_withheld(DEFAULT, 10)).jobs] == [job.id]


async def test_a_free_job_that_is_retried_keeps_its_generation(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin, billing_status=BillingStatus.NOT_BILLABLE, estimated_cost_cents=0)
    failure = Failure(type="ValueError", message="no", retryable=False)
    async with begin() as work:
        await complete(work, job.id, Completion(job_id=job.id, lease_id=lease_id, outcome=failure))
        await work.jobs.apply([Retry.of(job)])
        await work.commit()
    after = await read(begin, job.id)
    assert (after.status, after.billing_status) == (JobStatus.PENDING, BillingStatus.NOT_BILLABLE)
    assert (after.hold_id, after.hold_generation) == (None, 0)


async def test_the_hold_of_a_job_without_success_is_the_settlers_at_once(begin: BeginJobs) -> None:
    held: dict[str, Any] = {"billing_status": BillingStatus.HELD, "hold_id": HOLD.hold_id}
    [failed], lease_id = await running(begin, **held)
    [cancelled] = await stored(begin, **held)
    failure = Failure(type="ValueError", message="no", retryable=False)
    async with begin() as work:
        await complete(work, failed.id, Completion(job_id=failed.id, lease_id=lease_id, outcome=failure), HOUR)
        await work.jobs.apply([removal(cancelled.id, billing_status=BillingStatus.RELEASE_DUE)])
        await work.commit()
    async with begin() as work:
        taken = await work.jobs.take_unsettled(10, MINUTE, HOUR)
        assert await work.jobs.take_unsettled(10, MINUTE, HOUR) == []
    releases = [Release(hold_id=HOLD.hold_id, job_id=job.id) for job in (failed, cancelled)]
    assert sorted(taken, key=lambda one: one.job_id) == sorted(releases, key=lambda one: one.job_id)


async def test_the_hold_audit_goes_on_and_never_back(begin: BeginJobs) -> None:
    async with begin() as work:
        since, until = await work.progress.window(HOUR)
        assert since < until
        await work.progress.move(until)
        await work.progress.move(since)
        assert (await work.progress.window(HOUR))[0] == until


async def test_a_failed_attempt_with_attempts_left_is_scheduled_and_keeps_its_error(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin, max_attempts=2)
    failure = Failure(type="E", message="no", retryable=True, retry_after=HOUR)
    async with begin() as work:
        await complete(work, job.id, Completion(job_id=job.id, lease_id=lease_id, outcome=failure))
        await work.commit()
    after = await read(begin, job.id)
    assert (after.status, after.billing_status, after.attempt) == (JobStatus.SCHEDULED, BillingStatus.UNHELD, 1)
    assert after.error is not None
    assert after.run_at == after.error.at + HOUR
    assert (after.completed_at, after.dispatched_at, after.lease_id) == (None, None, None)
    assert after.completed_lease_id == lease_id


async def test_a_snoozed_job_is_scheduled_without_an_error_and_gets_its_attempt_back(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin)
    async with begin() as work:
        await complete(work, job.id, Completion(job_id=job.id, lease_id=lease_id, outcome=Snooze(HOUR)))
        await work.commit()
    after = await read(begin, job.id)
    assert (after.status, after.attempt, after.snooze_count, after.error) == (JobStatus.SCHEDULED, 0, 1, None)
    assert after.run_at is not None
    assert after.run_at > after.created_at


async def test_the_error_of_an_earlier_attempt_stays_with_a_success(begin: BeginJobs) -> None:
    [job], lease_id = await running(begin, max_attempts=2)
    failure = Failure(type="E", message="no", retryable=True, retry_after=LONG_AGO)
    async with begin() as work:
        await complete(work, job.id, Completion(job_id=job.id, lease_id=lease_id, outcome=failure))
        assert len(await work.jobs.release_scheduled(10)) == 1
        again = claim([job])
        [claimed] = (await work.jobs.claim(again)).jobs
        await complete(work, job.id, Completion(job_id=job.id, lease_id=again.lease_id, outcome=Payload("1", 0)))
        await work.commit()
    after = await read(begin, job.id)
    assert claimed.job.attempt == 2
    assert after.status is JobStatus.SUCCEEDED
    assert after.error is not None
    assert after.error.attempt == 1


async def test_only_jobs_that_nobody_has_started_in_their_time_are_expired(begin: BeginJobs) -> None:
    [waiting] = await stored(begin, expires_at=NOW)
    [scheduled] = await stored(begin, expires_at=NOW, status=JobStatus.SCHEDULED, run_at=LATER)
    [withheld] = await stored(begin, expires_at=NOW, withheld=True)
    await stored(begin)
    [[started], lease_id] = await running(begin)
    async with begin() as work:
        await work.jobs.apply([given_back(started, Completion(job_id=started.id, lease_id=lease_id), None)])
        assert {job.id for job in understood(await work.jobs.lock_expired(10))} == {
            waiting.id,
            scheduled.id,
            withheld.id,
        }
        assert len(await work.jobs.lock_expired(2)) == 2
        await work.jobs.apply([removal(job.id) for job in (waiting, scheduled, withheld)])
        assert await work.jobs.lock_expired(10) == []


async def test_a_charge_is_the_settlers_when_the_time_of_its_runner_has_passed(begin: BeginJobs) -> None:
    due = await succeeded(begin, LONG_AGO)
    await succeeded(begin, HOUR)
    await succeeded(begin, LONG_AGO, billing_status=BillingStatus.NOT_BILLABLE, estimated_cost_cents=0)
    async with begin() as work:
        [charge] = await work.jobs.take_unsettled(10, MINUTE, HOUR)
        assert isinstance(charge, Charge)
        assert await work.jobs.take_unsettled(10, MINUTE, HOUR) == []
    assert (charge.job_id, charge.customer_id, charge.currency) == (due.id, due.customer_id, "EUR")
    assert (charge.amount_cents, charge.hold_id) == (5, None)


async def test_taken_charges_are_put_off_by_a_wait_that_doubles_up_to_the_longest(begin: BeginJobs) -> None:
    job = await succeeded(begin, LONG_AGO)

    async def again(settle_after: timedelta, longest: timedelta) -> bool:
        async with begin() as work:
            found = await work.jobs.take_unsettled(10, settle_after, longest)
            await work.commit()
        assert {charge.job_id for charge in found} <= {job.id}
        return bool(found)

    # Waits of less than nothing: a postponed job is due again immediately.
    assert [await again(-MINUTE, HOUR) for _ in range(3)] == [True, True, True]
    # The fourth wait is eight times as long, or the longest.
    assert await again(MINUTE, -MINUTE)
    assert await again(-MINUTE, HOUR)
    assert await again(MINUTE, HOUR)
    assert not await again(MINUTE, HOUR)


async def test_charges_are_taken_up_to_a_limit(begin: BeginJobs) -> None:
    for _ in range(3):
        await succeeded(begin, LONG_AGO)
    async with begin() as work:
        assert [len(await work.jobs.take_unsettled(2, MINUTE, HOUR)) for _ in range(3)] == [2, 1, 0]


async def test_a_declined_charge_is_tried_again_after_a_while_and_a_settled_one_never(begin: BeginJobs) -> None:
    soon, later, paid, blocked = [await succeeded(begin, LONG_AGO) for _ in range(4)]
    await settled(begin, soon.id, BillingStatus.DECLINED, LONG_AGO)
    await settled(begin, later.id, BillingStatus.DECLINED, HOUR)
    await settled(begin, paid.id, BillingStatus.CHARGED)
    await settled(begin, blocked.id, BillingStatus.CHARGE_BLOCKED)
    async with begin() as work:
        assert [charge.job_id for charge in await work.jobs.take_unsettled(10, MINUTE, HOUR)] == [soon.id]


async def test_a_refusal_does_not_bring_a_try_forward_that_was_put_off_for_longer(begin: BeginJobs) -> None:
    job = await succeeded(begin, LONG_AGO)
    async with begin() as work:
        assert await work.jobs.take_unsettled(10, HOUR, HOUR) != []
        await work.commit()
    await settled(begin, job.id, BillingStatus.DECLINED, LONG_AGO)
    async with begin() as work:
        assert await work.jobs.take_unsettled(10, MINUTE, HOUR) == []


async def deleted(work: JobsWork, limit: int) -> int:
    """Delete some jobs of any age; return how many."""
    return await work.jobs.delete_many(await work.jobs.lock_finished(LONG_AGO, limit))


async def test_jobs_that_are_over_and_settled_are_deleted_when_they_are_old_enough(begin: BeginJobs) -> None:
    free = await succeeded(begin, billing_status=BillingStatus.NOT_BILLABLE, estimated_cost_cents=0)
    charged, due, declined = [await succeeded(begin) for _ in range(3)]
    await settled(begin, charged.id, BillingStatus.CHARGED)
    await settled(begin, declined.id, BillingStatus.DECLINED)
    [waiting], [[at_work], _] = await stored(begin), await running(begin)
    [cancelled] = await stored(begin)
    async with begin() as work:
        await work.jobs.apply([removal(cancelled.id)])
        assert await work.jobs.lock_finished(HOUR, 10) == []
        assert [await deleted(work, 2) for _ in range(3)] == [2, 1, 0]
        left = await work.jobs.get_many([job.id for job in (free, charged, due, declined, waiting, at_work, cancelled)])
    assert left.keys() == {due.id, declined.id, waiting.id, at_work.id}


async def test_a_job_that_was_charged_and_deleted_is_not_stored_again_under_its_id(begin: BeginJobs) -> None:
    charged = await succeeded(begin)
    free = await succeeded(begin, billing_status=BillingStatus.NOT_BILLABLE, estimated_cost_cents=0)
    await settled(begin, charged.id, BillingStatus.CHARGED)
    async with begin() as work:
        assert await deleted(work, 10) == 2
        again = [new_job(charged.job_type_id, id=charged.id), new_job(free.job_type_id, id=free.id)]
        assert (await work.jobs.create_many(again)).keys() == {free.id}


async def test_a_batch_of_completions_gives_each_job_its_own_end(begin: BeginJobs) -> None:
    jobs, lease_id = await running(begin, 3, max_attempts=2)
    failure = Failure(type="E", message="no", retryable=True, retry_after=HOUR)
    first, second, third = jobs
    completions = [
        Completion(job_id=first.id, lease_id=lease_id, outcome=Payload("1", 0)),
        Completion(job_id=second.id, lease_id=lease_id, outcome=failure),
        Completion(job_id=third.id, lease_id=lease_id, outcome=replace(failure, retryable=False)),
    ]
    async with begin() as work:
        ends = [ending(job, one, settle_after=MINUTE) for one, job in zip(completions, jobs, strict=True)]
        await work.jobs.apply(ends)
        await work.commit()
    after = [await read(begin, job.id) for job in jobs]
    assert [job.status for job in after] == [JobStatus.SUCCEEDED, JobStatus.SCHEDULED, JobStatus.FAILED]
    assert [job.completed_at is None for job in after] == [False, True, False]
    assert [job.output_data for job in after] == ["1", None, None]


async def test_what_is_not_settled_is_counted_and_what_should_have_been_tried_a_minute_ago(begin: BeginJobs) -> None:
    _, declined, blocked = [await succeeded(begin, LONG_AGO) for _ in range(3)]
    await succeeded(begin, HOUR)
    await settled(begin, declined.id, BillingStatus.DECLINED, HOUR)
    await settled(begin, blocked.id, BillingStatus.CHARGE_BLOCKED)
    await settled(begin, (await succeeded(begin)).id, BillingStatus.CHARGED)
    await stored(begin)
    async with begin() as work:
        counted = await work.jobs.count_unsettled()
    assert counted == {
        BillingStatus.CHARGE_DUE: Unsettled(2, 1),
        BillingStatus.DECLINED: Unsettled(1, 0),
        BillingStatus.CHARGE_BLOCKED: Unsettled(1, 0),
    }


async def test_the_billing_statuses_and_costs_of_those_that_exist_are_read_under_a_lock(begin: BeginJobs) -> None:
    [waiting] = await stored(begin)
    done = await succeeded(begin)
    async with begin() as work:
        found = await work.jobs.lock_billing([waiting.id, done.id, uuid7()])
    assert found == {
        waiting.id: Billing(BillingStatus.UNHELD, None),
        done.id: Billing(BillingStatus.CHARGE_DUE, done.estimated_cost_cents),
    }


async def test_holds_that_could_not_be_released_are_taken_again_after_longer_and_longer(begin: BeginJobs) -> None:
    first, second = (Release(hold_id=uuid7(), job_id=uuid7()) for _ in range(2))
    async with begin() as work:
        await work.progress.keep([first, second], -MINUTE)
        await work.progress.keep([first], MINUTE)
        assert await work.progress.count() == 2
        assert len(await work.progress.take(1, MINUTE, HOUR)) == 1
        assert len(await work.progress.take(5, MINUTE, HOUR)) == 1
        assert await work.progress.take(5, MINUTE, HOUR) == []
        await work.progress.forget([first.hold_id])
        assert await work.progress.count() == 1
        await work.progress.forget([])
        await work.progress.forget([second.hold_id])
        await work.progress.keep([], MINUTE)
        assert await work.progress.count() == 0


async def awaiting(begin: BeginJobs, wait: timedelta) -> tuple[UUID, Completion]:
    [job], lease_id = await running(begin)
    outcome = AwaitCallback(Callback(job.id, job.retry_count, job.attempt, wait))
    completion = Completion(job_id=job.id, lease_id=lease_id, outcome=outcome)
    async with begin() as work:
        await work.jobs.apply([callbacks.awaiting(job, completion, outcome)])
        await work.commit()
    return job.id, completion


async def test_a_posted_job_waits_under_a_lease_that_its_runner_cannot_renew(begin: BeginJobs) -> None:
    job_id, completion = await awaiting(begin, HOUR)
    async with begin() as work:
        renewed = await work.jobs.renew(Renewal([completion.lease_id], [job_id], MINUTE))
        await work.commit()
    after = await read(begin, job_id)
    assert not renewed.job_ids
    assert after.status is JobStatus.RUNNING
    assert after.lease_expires_at == after.callback_expires_at
    assert (after.completed_lease_id, after.completion_digest) == (completion.lease_id, completion.digest)


async def test_a_wait_that_is_over_is_overdue_and_no_loss_of_its_runner(begin: BeginJobs) -> None:
    over, _ = await awaiting(begin, LONG_AGO)
    ahead, _ = await awaiting(begin, HOUR)
    [lost], _ = await running(begin, lease=LONG_AGO)
    async with begin() as work:
        overdue = {job.id for job in understood(await work.jobs.lock_overdue(1000))}
        without = {job.id for job in understood(await work.jobs.lock_overdue(1000, [over]))}
        rescued = {job.id for job in understood(await work.jobs.lock_lost(1000))}
    assert over in overdue
    assert ahead not in overdue
    assert over not in without
    assert lost.id in rescued
    assert not {over, ahead} & rescued


async def test_a_result_ends_a_run_whether_or_not_its_post_was_reported(begin: BeginJobs) -> None:
    [unreported], _ = await running(begin)
    waiting = await read(begin, (await awaiting(begin, HOUR))[0])
    for job in (unreported, waiting):
        callback = Callback(job.id, job.retry_count, job.attempt, HOUR)
        result = CallbackResult(callback=callback, outcome=Payload("1", 1))
        change = callbacks.called_back(job, result, None)
        assert change is not None
        async with begin() as work:
            await work.jobs.apply([change])
            await work.commit()
        after = await read(begin, job.id)
        assert (after.status, after.callback_expires_at, after.lease_id) == (JobStatus.SUCCEEDED, None, None)
        assert after.completed_lease_id == callback.lease_id
        assert callbacks.called_back(after, result, None) is None
