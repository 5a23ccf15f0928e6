from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from services.jobs.rules.entities import FIXED_BYTES_MAX, Job, JobError, JobStatus
from services.jobs.rules.transitions.leasing import Choice, Claim
from services.jobs.rules.transitions.leasing import choose as choose_at
from tests.support.jobs_examples import LATER, MINUTE, NOW, stored_job

A, B, C, LEASE, OTHER, RUNNER = (UUID(int=number) for number in range(1, 7))


def claim(*job_ids: UUID, jobs: int = 3) -> Claim:
    """Has room for so many jobs with texts of a hundred bytes together."""
    return Claim(job_ids, RUNNER, LEASE, MINUTE, jobs * FIXED_BYTES_MAX + 100)


def choose(wish: Claim, jobs: Mapping[UUID, Job], paused: Collection[UUID] = (), now: datetime = NOW) -> Choice:
    return choose_at(wish, jobs, paused, now)


def test_pending_jobs_are_granted_in_the_order_of_the_claim() -> None:
    jobs = {one: stored_job(id=one) for one in (A, B, C)}
    assert choose(claim(C, A, B), jobs).granted == (C, A, B)


def test_jobs_that_are_unknown_finished_or_under_another_lease_are_left_out() -> None:
    jobs = {
        B: stored_job(id=B, status=JobStatus.SUCCEEDED),
        C: stored_job(id=C, status=JobStatus.RUNNING, lease_id=OTHER),
    }
    choice = choose(claim(A, B, C), jobs)
    assert (choice.granted, choice.repeated, choice.deferred) == ((), (), ())


def test_an_id_named_twice_is_granted_once() -> None:
    assert choose(claim(A, A), {A: stored_job(id=A)}).granted == (A,)


def test_a_job_that_runs_under_this_lease_is_answered_again() -> None:
    jobs = {A: stored_job(id=A, status=JobStatus.RUNNING, lease_id=LEASE), B: stored_job(id=B)}
    choice = choose(claim(A, B), jobs)
    assert (choice.repeated, choice.granted) == ((A,), (B,))


def test_what_does_not_fit_is_deferred_and_smaller_ones_behind_it_are_granted() -> None:
    jobs = {A: stored_job(id=A, input_bytes=60), B: stored_job(id=B, input_bytes=60), C: stored_job(id=C)}
    choice = choose(claim(A, B, C, jobs=2), jobs)
    assert (choice.granted, choice.deferred) == ((A, C), (B,))


def test_one_job_always_fits() -> None:
    jobs = {A: stored_job(id=A, input_bytes=1000), B: stored_job(id=B)}
    choice = choose(claim(A, B, jobs=1), jobs)
    assert (choice.granted, choice.deferred) == ((A,), (B,))


def test_labels_count_as_well() -> None:
    jobs = {A: stored_job(id=A, labels={"k": "v" * 90}), B: stored_job(id=B, input_bytes=10)}
    choice = choose(claim(A, B, jobs=2), jobs)
    assert (choice.granted, choice.deferred) == ((A,), (B,))


def test_paused_jobs_are_withheld_and_make_room_for_others() -> None:
    jobs = {A: stored_job(id=A, input_bytes=90), B: stored_job(id=B, input_bytes=90)}
    choice = choose(claim(A, B, jobs=1), jobs, paused={A})
    assert (choice.withheld, choice.granted, choice.deferred) == ((A,), (B,), ())


def test_a_paused_job_that_runs_under_this_lease_is_answered_again() -> None:
    choice = choose(claim(A), {A: stored_job(id=A, status=JobStatus.RUNNING, lease_id=LEASE)}, paused={A})
    assert (choice.repeated, choice.withheld) == ((A,), ())


def test_a_job_that_has_expired_is_not_started() -> None:
    choice = choose(claim(A, B), {A: stored_job(id=A, expires_at=LATER), B: stored_job(id=B)}, now=LATER)
    assert choice == Choice((), (), (), ())


def test_a_job_that_was_started_in_its_time_may_be_started_again_after_it() -> None:
    assert choose(claim(A), {A: stored_job(id=A, started_at=NOW)}, now=LATER).granted == (A,)


def test_what_the_last_error_says_counts_as_well() -> None:
    error = JobError("E", "x" * 90, retryable=True, attempt=1, at=NOW)
    choice = choose(claim(A, B, jobs=2), {A: stored_job(id=A, error=error), B: stored_job(id=B, input_bytes=20)})
    assert (choice.granted, choice.deferred) == ((A,), (B,))
