from uuid import UUID

from services.jobs.domain import JobStatus
from services.jobs.leasing import choose
from services.jobs.repository import Claim
from tests.jobs_examples import MINUTE, stored_job

A, B, C, LEASE, OTHER, RUNNER = (UUID(int=number) for number in range(1, 7))


def claim(*job_ids: UUID, bytes_max: int = 100) -> Claim:
    return Claim(job_ids, RUNNER, LEASE, MINUTE, bytes_max)


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
    choice = choose(claim(A, B, C), jobs)
    assert (choice.granted, choice.deferred) == ((A, C), (B,))


def test_one_job_always_fits() -> None:
    jobs = {A: stored_job(id=A, input_bytes=1000), B: stored_job(id=B)}
    choice = choose(claim(A, B), jobs)
    assert (choice.granted, choice.deferred) == ((A,), (B,))


def test_labels_count_as_well() -> None:
    jobs = {A: stored_job(id=A, labels={"k": "v" * 90}), B: stored_job(id=B, input_bytes=10)}
    choice = choose(claim(A, B), jobs)
    assert (choice.granted, choice.deferred) == ((A,), (B,))
