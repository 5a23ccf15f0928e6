"""All leases are renewed in requests within the bounds of the contract, and only by the run that has them."""

from collections.abc import Sequence

import pytest

from innosystem.client import new_id
from innosystem.runner.in_hand import JobInHand, Leases
from innosystem.runner.lease_batches import JOBS_MAX, Batch, Renewal, batches, renew_divided
from innosystem.runner.queue import PoppedId


def leased(lease_id: str, job_id: str = "") -> JobInHand:
    job = JobInHand(PoppedId(job_id or str(new_id()), "jobs:p1:pending"))
    job.lease_id = lease_id
    return job


def test_requests_are_of_a_bounded_size_and_the_jobs_of_a_lease_are_together() -> None:
    jobs = [leased(f"{n % 3}") for n in range(JOBS_MAX * 2 + 1)]

    split = list(batches(jobs))

    assert [len(batch) for batch in split] == [JOBS_MAX, JOBS_MAX, 1]
    assert [job.lease_id for batch in split for job in batch] == sorted(job.lease_id for job in jobs)
    assert list(batches([])) == []


class Service:
    """A service that renews requests, unless they contain a locked job, or it is down or silent."""

    def __init__(self, *locked: JobInHand, down: bool = False, silent: bool = False) -> None:
        self.locked = set(locked)
        self.down = down
        self.silent = silent
        self.asked = 0
        self.renewed: list[JobInHand] = []

    def send(self, batches: Sequence[Batch], divided: bool) -> list[Renewal]:
        assert divided is bool(self.asked)
        self.asked += len(batches)
        return [self.renew(batch) for batch in batches]

    def renew(self, batch: Batch) -> Renewal:
        if self.down:
            return Renewal.UNAVAILABLE
        if self.silent or self.locked.intersection(batch):
            return Renewal.HELD_UP
        self.renewed += batch
        return Renewal.RENEWED


@pytest.mark.parametrize("count", [1, 2, 30, 1000, 3001])
def test_all_leases_are_renewed_but_of_those_jobs_that_are_locked(count: int) -> None:
    jobs = [leased(str(n)) for n in range(count)]
    service = Service(jobs[0], jobs[-1], jobs[count // 2])

    left = renew_divided(list(batches(jobs)), service.send)

    assert set(left) == service.locked
    assert len(left) == len(service.locked)
    assert set(service.renewed) == set(jobs) - service.locked
    assert len(service.renewed) == len(set(service.renewed))
    assert service.asked < 120


@pytest.mark.parametrize(("service", "asked"), [(Service(down=True), 4), (Service(silent=True), 4 + 8)])
def test_an_unavailable_service_does_not_receive_ever_smaller_parts(service: Service, asked: int) -> None:
    jobs = [leased(str(n)) for n in range(3500)]

    left = renew_divided(list(batches(jobs)), service.send)

    assert set(left) == set(jobs)
    assert len(left) == len(jobs)
    assert service.asked == asked


def test_an_earlier_run_of_a_job_does_not_remove_the_lease_of_a_later_one() -> None:
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
