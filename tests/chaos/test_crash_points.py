"""What happens when it dies: each row of the table in docs/reliability.md, at that very line.

In each test a process dies, and then nothing is done but to start it again or to let another continue. Every job has
one attempt, so that whatever used one up by mistake would fail it, and has to be charged exactly once.
"""

import signal
from pathlib import Path

import grpc
import pytest

from services import SERVICES
from tests.chaos.support.arena import Arena, expect_death
from tests.e2e.load import Load
from tests.e2e.stack import refusal
from tests.support.until import until_sync

pytestmark = pytest.mark.slow

LONG_LEASE_SECONDS = 60


# after insert, before LPUSH; Redis down


def test_a_job_that_was_stored_but_not_pushed_is_pushed_by_the_reconciler(arena: Arena) -> None:
    jobs = arena.arm("jobs", "jobs.submit.before_push")
    request = arena.request()

    assert refusal(lambda: arena.stack.submit(request)) is not None
    expect_death(jobs)
    assert arena.state(request.job_id) == ("PENDING", "HELD")
    assert arena.row(request.job_id)["dispatched_at"] is not None
    assert arena.waiting_ids() == []

    arena.start("jobs")
    assert arena.stack.jobs.CreateJob(request, timeout=15).replayed
    arena.runner()
    arena.expect_success(request.job_id)
    assert arena.executions(request.job_id) == 1


def test_jobs_that_were_accepted_while_redis_was_down_are_run_when_it_is_back(arena: Arena) -> None:
    arena.runner()
    arena.redis.stop()

    submitted = arena.submit_many(20)
    assert {arena.state(job_id) for job_id in submitted} == {("PENDING", "HELD")}

    arena.redis.start()
    arena.expect_success(*submitted)


# after BRPOP, before ClaimJobs; ClaimJobs reply lost


def test_a_job_whose_id_was_popped_but_not_claimed_is_pushed_again(arena: Arena) -> None:
    job_id = arena.submit()
    runner = arena.runner(crash_at="runner.before_claim")

    expect_death(runner)
    assert arena.state(job_id) == ("PENDING", "HELD")
    assert arena.executions(job_id) == 0

    arena.runner()
    arena.expect_success(job_id)
    assert arena.row(job_id)["rescue_count"] == 0
    assert arena.executions(job_id) == 1


def test_a_runner_whose_claim_was_not_answered_gets_the_same_jobs_under_the_same_lease(arena: Arena) -> None:
    jobs = arena.arm("jobs", "jobs.claim.before_reply")
    job_id = arena.submit()
    arena.runner(lease_seconds=LONG_LEASE_SECONDS)

    expect_death(jobs)
    claimed = arena.row(job_id)
    assert (claimed["status"], claimed["attempt"]) == ("RUNNING", 1)
    assert arena.executions(job_id) == 0

    arena.start("jobs")
    arena.expect_success(job_id)
    assert arena.row(job_id)["completed_lease_id"] == claimed["lease_id"]
    assert arena.row(job_id)["rescue_count"] == 0
    assert arena.executions(job_id) == 1


def test_a_job_whose_claim_was_not_answered_is_rescued_if_its_runner_is_gone_as_well(arena: Arena) -> None:
    jobs = arena.arm("jobs", "jobs.claim.before_reply")
    job_id = arena.submit()
    runner = arena.runner()

    expect_death(jobs)
    runner.kill()
    assert arena.state(job_id) == ("RUNNING", "HELD")

    arena.start("jobs")
    arena.runner()
    arena.expect_success(job_id)
    assert arena.row(job_id)["rescue_count"] == 1
    assert arena.executions(job_id) == 1


# runner killed while RUNNING


def test_a_job_whose_runner_was_killed_is_rescued_and_run_again(arena: Arena) -> None:
    job_id = arena.submit()
    runner = arena.runner(crash_at="runner.running")

    expect_death(runner)
    killed = arena.row(job_id)
    assert (killed["status"], killed["attempt"]) == ("RUNNING", 1)

    arena.runner()
    arena.expect_success(job_id)
    assert arena.row(job_id)["rescue_count"] == 1
    assert arena.row(job_id)["completed_lease_id"] != killed["lease_id"]


def test_a_job_whose_runner_was_killed_before_it_could_report_is_run_again(arena: Arena) -> None:
    job_id = arena.submit()
    runner = arena.runner(crash_at="runner.before_complete")

    expect_death(runner)
    assert arena.state(job_id) == ("RUNNING", "HELD")
    assert arena.executions(job_id) == 1

    arena.runner()
    arena.expect_success(job_id)
    assert arena.row(job_id)["rescue_count"] == 1
    assert arena.executions(job_id) == 2


# runner frozen, then back


def test_a_runner_that_was_frozen_longer_than_its_lease_is_told_that_it_lost_the_job(
    arena: Arena, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job_id = arena.submit("chaos.waits", until=str(go))
    frozen = arena.runner()
    arena.until_begun(job_id)

    frozen.send(signal.SIGSTOP)
    arena.runner()
    arena.until_begun(job_id, times=2)
    go.touch()
    arena.expect_success(job_id)
    done = arena.row(job_id)
    frozen.send(signal.SIGCONT)

    # It finds out by the renewal or by the response to its result, whichever is first.
    until_sync(lambda: frozen.lines("lease_lost", job_id=job_id) + frozen.lines("result_refused", job_id=job_id))
    assert not frozen.lines("job_charged", job_id=job_id)
    assert arena.row(job_id) == done
    arena.expect_success(job_id)
    assert done["rescue_count"] == 1
    # It continues with other jobs.
    arena.expect_success(*arena.submit_many(10))
    assert frozen.stop() == 0


# after CompleteJobs, before Deduct


def test_a_result_that_was_stored_and_not_answered_is_reported_again_and_charged_once(arena: Arena) -> None:
    jobs = arena.arm("jobs", "jobs.complete.before_reply")
    job_id = arena.submit()
    arena.runner(lease_seconds=LONG_LEASE_SECONDS)

    expect_death(jobs)
    assert arena.state(job_id) == ("SUCCEEDED", "CHARGE_DUE")
    assert arena.deductions(job_id) == []

    arena.start("jobs")
    arena.expect_success(job_id)
    assert arena.executions(job_id) == 1


def test_a_charge_that_its_runner_did_not_live_to_make_is_made_by_the_settler(arena: Arena) -> None:
    job_id = arena.submit()
    runner = arena.runner(crash_at="runner.before_charge")

    # Nobody is left but the services.
    expect_death(runner)
    arena.expect_success(job_id)
    assert arena.executions(job_id) == 1


@pytest.mark.parametrize("point", ["jobs.settler.before_deduct", "jobs.settler.before_settle"])
def test_a_settler_that_dies_is_followed_by_another(arena: Arena, point: str) -> None:
    jobs = arena.arm("jobs", point)
    job_id = arena.submit()
    expect_death(arena.runner(crash_at="runner.before_charge"))

    expect_death(jobs)
    assert arena.state(job_id) == ("SUCCEEDED", "CHARGE_DUE")
    assert len(arena.deductions(job_id)) == (1 if point.endswith("before_settle") else 0)

    arena.start("jobs")
    arena.expect_success(job_id)


# Deduct applied, reply lost


def test_a_charge_that_was_made_and_not_answered_is_asked_for_again_and_made_once(arena: Arena) -> None:
    wallets = arena.arm("wallets", "wallets.deduct.before_reply")
    job_id = arena.submit()
    arena.runner()

    expect_death(wallets)
    [(transaction_id, _)] = arena.deductions(job_id)
    assert arena.state(job_id) == ("SUCCEEDED", "CHARGE_DUE")

    arena.start("wallets")
    arena.expect_success(job_id)
    assert str(arena.row(job_id)["transaction_id"]) == transaction_id


# after Deduct, before SettleJobs


def test_a_charge_that_was_made_and_not_recorded_is_recorded_by_the_settler(arena: Arena) -> None:
    job_id = arena.submit()
    runner = arena.runner(crash_at="runner.before_settle")

    expect_death(runner)
    [(transaction_id, _)] = arena.deductions(job_id)

    arena.expect_success(job_id)
    assert str(arena.row(job_id)["transaction_id"]) == transaction_id


# Redis emptied


def test_all_jobs_that_waited_when_redis_was_emptied_are_run(arena: Arena) -> None:
    submitted = arena.submit_many(200)
    until_sync(lambda: set(arena.waiting_ids()) == set(submitted))

    arena.empty_redis()
    assert arena.waiting_ids() == []

    arena.runner()
    arena.expect_success(*submitted)
    assert {arena.executions(job_id) for job_id in submitted} == {1}


# PostgreSQL restarted


def test_when_postgresql_is_restarted_under_load_every_job_that_was_accepted_is_done_and_charged(arena: Arena) -> None:
    arena.runner(lease_seconds=LONG_LEASE_SECONDS)

    with Load(arena.submissions()) as load:
        until_sync(lambda: len(load.returned) > 50)
        arena.postgres.stop(mode="immediate")
        until_sync(lambda: load.errors)
        arena.postgres.start()
        before = len(load.returned)
        until_sync(lambda: len(load.returned) > before + 50)

    assert load.codes == {grpc.StatusCode.UNAVAILABLE}, {str(error) for error in load.errors}
    arena.expect_success(*load.returned)
    # The others were refused, or stored without a response: then they are done too.
    arena.expect_rest(one.key for one in load.outcomes)


# any service rolled


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_rolled_under_load_costs_nothing(arena: Arena, service: str) -> None:
    runner = arena.runner(lease_seconds=LONG_LEASE_SECONDS)

    with Load(arena.submissions()) as load:
        until_sync(lambda: len(load.returned) > 50)
        assert arena.stack.processes[service].stop() == 0
        arena.start(service)
        before = len(load.returned)
        until_sync(lambda: len(load.returned) > before + 50)

    assert load.codes <= {grpc.StatusCode.UNAVAILABLE}, {str(error) for error in load.errors}
    arena.expect_success(*load.returned)
    arena.expect_rest(one.key for one in load.outcomes)
    assert runner.stop() == 0


# runner pod scaled in


def test_a_runner_that_is_told_to_stop_hands_back_what_it_can_not_finish(arena: Arena, tmp_path: Path) -> None:
    go = tmp_path / "go"
    submitted = [arena.submit("chaos.waits", until=str(go)) for _ in range(3)]
    runner = arena.runner(lease_seconds=LONG_LEASE_SECONDS, RUNNER_DRAIN_SECONDS="2")
    for job_id in submitted:
        arena.until_begun(job_id)

    assert runner.stop() == 0
    for job_id in submitted:
        returned = arena.row(job_id)
        assert (returned["status"], returned["attempt"], returned["rescue_count"]) == ("PENDING", 0, 0)

    go.touch()
    arena.runner()
    arena.expect_success(*submitted)
    assert {arena.row(job_id)["rescue_count"] for job_id in submitted} == {0}
    assert {arena.executions(job_id) for job_id in submitted} == {2}
