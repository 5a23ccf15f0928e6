"""All leases are renewed in requests within the bounds of the contract, and only by the run that has them."""

from innosystem.client import new_id
from innosystem.runner.flight import FlyingJob
from innosystem.runner.leases import JOBS_MAX, LEASES_MAX, Leases, renewals
from innosystem.runner.queue import PoppedId


def leased(lease_id: str, job_id: str = "") -> FlyingJob:
    job = FlyingJob(PoppedId(job_id or str(new_id()), "jobs:p1:pending"))
    job.lease_id = lease_id
    return job


def test_the_jobs_of_one_claim_are_renewed_in_one_request_that_names_their_lease_once() -> None:
    jobs = [leased("b"), leased("a"), leased("b")]

    (renewal,) = renewals(jobs)

    assert sorted(renewal.lease_ids) == ["a", "b"]
    assert {job.job_id for job in renewal.jobs} == {job.job_id for job in jobs}


def test_a_request_has_at_most_as_many_leases_as_the_contract_says() -> None:
    jobs = [leased(f"{n:05}") for n in range(LEASES_MAX * 2 + 1)]

    split = list(renewals(jobs))

    assert [len(renewal.lease_ids) for renewal in split] == [LEASES_MAX, LEASES_MAX, 1]
    assert [job for renewal in split for job in renewal.jobs] == jobs


def test_a_request_has_at_most_as_many_jobs_as_the_contract_says_and_all_their_leases() -> None:
    jobs = [leased(f"{n // 900:05}") for n in range(JOBS_MAX + 900)]

    split = list(renewals(jobs))

    assert [len(renewal.jobs) for renewal in split] == [JOBS_MAX, 900]
    for renewal in split:
        assert set(renewal.lease_ids) == {job.lease_id for job in renewal.jobs}
        assert len(renewal.lease_ids) == len(set(renewal.lease_ids))
    assert [job for renewal in split for job in renewal.jobs] == jobs


def test_there_is_nothing_to_send_for_no_jobs() -> None:
    assert list(renewals([])) == []


def test_an_earlier_run_of_a_job_does_not_take_the_lease_of_a_later_one_away() -> None:
    leases = Leases()
    earlier = leased("first")
    later = leased("second", earlier.job_id)
    leases.add(earlier)
    leases.add(later)

    leases.remove(earlier)

    assert leases.get(earlier.job_id) is later
    assert leases.snapshot() == [later]
    leases.remove(later)
    leases.remove(later)
    assert leases.snapshot() == []
