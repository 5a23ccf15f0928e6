"""A runner renews the leases of its jobs, and gives up jobs that are no longer its own, at any stage."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest
import structlog
from google.rpc import code_pb2
from structlog.typing import EventDict

from innosystem.runner import JobContext, JobError, Snooze
from innosystem.runner.in_hand import JobInHand, Leases
from innosystem.runner.lease_renewer import LeaseRenewer
from innosystem.runner.queue import PoppedId
from innosystem.runner.stop_signal import StopReason
from innosystem.shared.transport import Transport
from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.fakes import StoredJob, status
from tests.support.until import until

AWAY = status(code_pb2.UNAVAILABLE, "DATABASE_UNAVAILABLE")


async def echo(input: Any) -> Any:
    return input


class Hold:
    """A handler that reports when it was entered, and waits until it is released."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, input: Any) -> Any:
        self.entered.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return input


@pytest.fixture
def hold(world: RunnerStack) -> Hold:
    """The state of the handler `hold`."""
    held = Hold()

    async def run(input: Any) -> Any:
        return await held(input)

    world.registry.add("hold", run)
    world.registry.add("echo", echo)
    return held


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """The log lines."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        yield captured


def logged(lines: list[EventDict], event: str, job: StoredJob | None = None) -> list[EventDict]:
    return [line for line in lines if line["event"] == event and (job is None or line["job_id"] == job.job.id)]


def end(job: StoredJob, how: str) -> str:
    """End a job's lease at the server, and return the line that the runner logs."""
    if how == "cancelled":
        job.cancel()
        return "job_cancelled"
    job.lose()
    return "lease_lost"


async def test_leases_are_renewed_every_third_of_their_time_while_handlers_run(world: RunnerStack, hold: Hold) -> None:
    job = await world.submit("hold")
    async with world.running(runner_lease_seconds=1.5) as runner:
        await until(lambda: len(job.renewed_at) >= 4)
        hold.go_on.set()
        await world.all_done()

    gaps = [after - before for before, after in pairwise(job.renewed_at)]
    assert all(gap < 1.5 for gap in gaps), gaps
    # A renewal that reaches the server late is followed by a short gap.
    assert fmean(gaps) > 0.4, gaps
    renewal = world.jobs.renewals[0]
    assert (renewal.runner_id, renewal.lease.ToMilliseconds()) == (runner.runner_id, 1500)
    assert (list(renewal.lease_ids), list(renewal.job_ids)) == ([job.lease_id], [job.job.id])


async def test_a_thread_that_is_out_of_time_keeps_its_lease_until_it_ends(
    world: RunnerStack, lines: list[EventDict]
) -> None:
    go_on = threading.Event()
    world.registry.add("slow", lambda input: go_on.wait(30))
    job = await world.submit("slow", timeout_seconds=0.05)
    async with world.running(runner_lease_seconds=1):
        await until(lambda: bool(logged(lines, "handler_overdue")))
        renewed = len(job.renewed_at)
        await until(lambda: len(job.renewed_at) >= renewed + 2)
        assert job.completion is None
        go_on.set()
        await world.all_done()

    assert job.error.type == "TIMEOUT"


async def test_a_lease_is_renewed_while_its_result_waits_to_be_taken(world: RunnerStack, hold: Hold) -> None:
    world.jobs.item_errors = [AWAY] * 1000
    job = await world.submit("echo", 1)
    async with world.running(runner_lease_seconds=1):
        await until(lambda: len(job.renewed_at) >= 3 and world.jobs.completions[job.job.id] >= 3)
        world.jobs.item_errors.clear()
        await world.all_done()

    assert job.output == 1
    assert len(world.wallets.charged) == 1


async def test_a_result_that_is_recorded_while_its_renewal_is_under_way_is_not_lost(
    world: RunnerStack, hold: Hold, lines: list[EventDict]
) -> None:
    job = await world.submit("hold", 1)
    async with world.running(runner_lease_seconds=1):
        await hold.entered.wait()
        world.jobs.completing.clear()
        hold.go_on.set()
        # Recorded without the runner's knowledge: renewals meanwhile report the job as lost.
        await until(lambda: job.completion is not None)
        asked = len(world.jobs.renewals)
        await until(lambda: len(world.jobs.renewals) >= asked + 2)
        world.jobs.completing.set()
        await world.all_done()

    assert len(world.wallets.charged) == 1
    assert not logged(lines, "lease_lost")


async def test_the_response_to_a_renewal_after_the_result_was_recorded_changes_nothing(
    world: RunnerStack, hold: Hold, lines: list[EventDict]
) -> None:
    job = await world.submit("hold", 1)
    async with world.running(runner_lease_seconds=30) as runner:
        await hold.entered.wait()
        (flying,) = runner._in_hand.jobs
        hold.go_on.set()
        await world.all_done()
        await until(lambda: runner._in_hand.jobs == [])
        for how in (StopReason.LOST, StopReason.CANCELLED):
            runner._runs.lease_ended(flying, how)

    assert job.output == 1
    assert not logged(lines, "lease_lost") + logged(lines, "job_cancelled")


@pytest.mark.parametrize("how", ["cancelled", "lost"])
async def test_a_coroutine_whose_job_is_not_the_runners_any_more_is_cancelled_and_nothing_is_reported(
    world: RunnerStack, hold: Hold, lines: list[EventDict], how: str
) -> None:
    job = await world.submit("hold")
    async with world.running(runner_lease_seconds=1, runner_concurrency=1):
        await hold.entered.wait()
        event = end(job, how)
        await hold.cancelled.wait()
        # The slot is free again.
        other = await world.submit("echo", 1)
        await until(lambda: other.done)

    assert world.jobs.completions[job.job.id] == 0
    assert logged(lines, event, job)[0]["stage"] == "run"
    assert f"job:{job.job.id}" not in world.wallets.charged


async def test_the_result_of_a_coroutine_that_swallowed_its_cancellation_is_dropped(
    world: RunnerStack, lines: list[EventDict]
) -> None:
    entered, cancelled, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(input: Any) -> str:
        entered.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        cancelled.set()
        await go_on.wait()
        return "done all the same"

    world.registry.add("stubborn", stubborn)
    world.registry.add("echo", echo)
    job = await world.submit("stubborn")
    async with world.running(runner_lease_seconds=1, runner_concurrency=1):
        await entered.wait()
        job.cancel()
        await cancelled.wait()
        other = await world.submit("echo", 1)
        asked = len(world.jobs.renewals)
        # Its slot stays taken.
        assert await world.waiting() == 1
        go_on.set()
        await until(lambda: other.done)

    assert world.jobs.completions[job.job.id] == 0
    assert len(world.jobs.renewals) <= asked + 1
    assert logged(lines, "result_dropped", job)[0]["reason"] == "cancelled"


async def test_a_thread_whose_job_is_lost_is_notified_and_keeps_its_slot_until_it_ends(
    world: RunnerStack, lines: list[EventDict]
) -> None:
    go_on = threading.Event()
    told: list[bool] = []

    def in_thread(input: Any, job: JobContext) -> str:
        limit = time.monotonic() + 30
        while not job.stop_requested() and time.monotonic() < limit:
            time.sleep(0.01)
        told.append(job.stop_requested())
        go_on.wait(30)
        return "done all the same"

    world.registry.add("in-thread", in_thread)
    world.registry.add("echo", echo)
    job = await world.submit("in-thread")
    async with world.running(runner_lease_seconds=1, runner_concurrency=1):
        await until(lambda: bool(job.lease_id))
        job.lose()
        await until(lambda: told == [True])
        other = await world.submit("echo", 1)
        assert logged(lines, "lease_lost", job)
        assert await world.waiting() == 1
        go_on.set()
        await until(lambda: other.done)

    assert world.jobs.completions[job.job.id] == 0
    assert logged(lines, "result_dropped", job)[0]["reason"] == "lost"


@pytest.mark.parametrize("how", ["cancelled", "lost"])
async def test_a_result_that_waits_behind_another_batch_is_not_sent_once_its_job_is_not_the_runners(
    world: RunnerStack, hold: Hold, lines: list[EventDict], how: str
) -> None:
    first = await world.submit("echo", 1)
    async with world.running(runner_lease_seconds=1) as runner:
        world.jobs.completing.clear()
        await until(lambda: world.jobs.completions[first.job.id] == 1)
        job = await world.submit("echo", 2)
        await until(lambda: any(each.job_id == job.job.id and each.completion for each in runner._in_hand.jobs))
        event = end(job, how)
        await until(lambda: bool(logged(lines, event, job)))
        world.jobs.completing.set()
        await until(lambda: first.done)

    assert world.jobs.completions[job.job.id] == 0
    assert logged(lines, event, job)[0]["stage"] == "complete"
    assert not logged(lines, "stage_failed")


async def test_a_job_that_is_cancelled_between_two_reports_is_not_reported_again(
    world: RunnerStack, hold: Hold, lines: list[EventDict]
) -> None:
    world.jobs.item_errors = [AWAY] * 100_000
    job = await world.submit("echo", 1)
    async with world.running(runner_lease_seconds=1):
        # By now the pauses between two reports take seconds.
        await until(lambda: world.jobs.completions[job.job.id] >= 6)
        job.cancel()
        await until(lambda: bool(logged(lines, "job_cancelled", job)))
        sent = world.jobs.completions[job.job.id]

    # Nothing is left over: otherwise the drain would have been incomplete, and the test would have failed.
    assert world.jobs.completions[job.job.id] == sent
    assert not logged(lines, "stage_failed")
    assert job.completion is None


async def test_the_same_job_under_a_new_lease_ends_its_earlier_run(
    world: RunnerStack, hold: Hold, lines: list[EventDict]
) -> None:
    job = await world.submit("hold", 1)
    async with world.running(runner_lease_seconds=60):
        await hold.entered.wait()
        # Rescued because of a wrong clock: the job waits again, and the same runner takes it.
        first_lease, job.lease_id = job.lease_id, ""
        await world.redis.lpush(world.key(), job.job.id)
        await hold.cancelled.wait()
        hold.go_on.set()
        await world.all_done()

    assert job.lease_id != first_lease
    assert (job.output, job.job.attempt) == (1, 2)
    assert world.jobs.completions[job.job.id] == 1
    assert len(logged(lines, "lease_lost", job)) == 1


async def test_an_outage_longer_than_a_lease_stops_no_handler(
    world: RunnerStack, hold: Hold, lines: list[EventDict]
) -> None:
    job = await world.submit("hold", 1)
    async with world.running(runner_lease_seconds=1):
        await hold.entered.wait()
        world.jobs.outage.on = True
        await until(lambda: bool(logged(lines, "leases_overdue")))
        assert not hold.cancelled.is_set()
        hold.go_on.set()
        world.jobs.outage.on = False
        await world.all_done()
        await until(lambda: bool(logged(lines, "leases_renewed_again")))

    assert job.output == 1
    assert len(logged(lines, "leases_not_renewed")) == len(logged(lines, "leases_overdue")) == 1


async def test_a_renewal_without_a_response_is_repeated_over_a_new_connection(
    world: RunnerStack, hold: Hold, lines: list[EventDict]
) -> None:
    job = await world.submit("hold", 1)
    async with world.running(runner_lease_seconds=1):
        await hold.entered.wait()
        world.jobs.renewing.clear()
        await until(lambda: len(world.jobs.renewals) >= 3)
        world.jobs.renewing.set()
        await until(lambda: bool(logged(lines, "leases_renewed_again")))
        hold.go_on.set()
        await world.all_done()

    assert "DEADLINE_EXCEEDED" in logged(lines, "leases_not_renewed")[0]["error"]
    assert job.output == 1


async def test_the_leases_of_more_jobs_than_a_batch_has_are_all_renewed_and_lost_ones_stop(
    world: RunnerStack, hold: Hold, lines: list[EventDict]
) -> None:
    jobs = [await world.submit("hold", n) for n in range(1500)]
    async with world.running(runner_lease_seconds=2, runner_concurrency=1500):
        await until(lambda: all(job.renewed_at for job in jobs))
        for job in jobs[::2]:
            job.lose()
        await until(lambda: sum(line["event"] == "lease_lost" for line in lines) == 750)
        hold.go_on.set()
        await until(lambda: all(job.done for job in jobs[1::2]))

    assert sum(world.jobs.completions.values()) == 750
    assert [job.output for job in jobs[1::2]] == [*range(1, 1500, 2)]


async def test_a_job_whose_claim_took_long_is_renewed_immediately(world: RunnerStack) -> None:
    leases = Leases()
    stored = world.jobs.add("echo")
    stored.lease_id = stored.job.customer_id
    late = JobInHand(PoppedId(stored.job.id, "jobs:p1:pending"), lease_id=stored.lease_id)
    late.leased_at = time.monotonic() - 900
    broken: list[BaseException] = []
    renewer = LeaseRenewer(
        transport=Transport(),
        address=world.addresses["jobs"],
        runner_id=stored.job.customer_id,
        lease_seconds=3600,
        leases=leases,
        broken=broken.append,
    )
    renewer.start(lambda job, reason: None)
    try:
        leases.add(late)
        renewer.claimed(late)
        await until(lambda: len(stored.renewed_at) == 1)
    finally:
        await renewer.close()
    assert broken == []


async def test_a_defect_in_the_renewal_does_not_go_unnoticed(world: RunnerStack) -> None:
    broken: list[BaseException] = []
    leases = Leases()
    renewer = LeaseRenewer(
        transport=Transport(),
        address=world.addresses["jobs"],
        runner_id="",
        lease_seconds=1,
        leases=leases,
        broken=broken.append,
    )
    # Neither a UUID nor any other valid value of a string field.
    leases.add(JobInHand(PoppedId("\ud800", "jobs:p1:pending")))
    renewer.start(lambda job, reason: None)
    try:
        await until(lambda: bool(broken))
    finally:
        await renewer.close()


async def test_what_a_handler_says_about_its_next_run_reaches_the_service(world: RunnerStack) -> None:
    async def later(input: Any) -> None:
        raise JobError("the other side is busy", type="BUSY", retry_after=90)

    async def not_yet(input: Any, job: JobContext) -> None:
        raise Snooze(1.5)

    world.registry.add("later", later)
    world.registry.add("not-yet", not_yet)
    failed = await world.submit("later")
    snoozed = await world.submit("not-yet")
    async with world.running():
        await world.all_done()

    assert failed.completion is not None
    assert failed.completion.retry_after.seconds == 90
    assert failed.error.retryable
    assert snoozed.completion is not None
    assert snoozed.completion.snooze.ToMilliseconds() == 1500
    assert world.wallets.charged == {}
