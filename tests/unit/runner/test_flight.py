"""What a runner holds is bounded."""

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.flight import Flight
from innosystem.runner.queue import PoppedId


def popped() -> PoppedId:
    return PoppedId(str(new_id()), "jobs:p0:pending")


def completion(output_json: str = "1") -> job_service_pb2.JobCompletion:
    return job_service_pb2.JobCompletion(output_json=output_json)


async def test_a_slot_is_held_until_the_handler_has_ended() -> None:
    flight = Flight(slots=2)
    first, _second = flight.enter(popped()), flight.enter(popped())

    assert flight.room() == 0
    assert not flight.has_room.is_set()
    flight.finish(first, completion())
    assert flight.room() == 1
    assert flight.has_room.is_set()


async def test_it_is_empty_only_when_every_job_has_left() -> None:
    flight = Flight(slots=2)
    assert flight.empty.is_set()
    job = flight.enter(popped())
    flight.finish(job, completion())
    flight.forget_result(job)

    assert not flight.empty.is_set()
    flight.leave(job)
    flight.leave(job)
    assert flight.empty.is_set()
    assert flight.room() == 2


async def test_a_job_that_is_not_the_runners_any_more_keeps_its_slot_and_is_nothing_to_wait_for() -> None:
    flight = Flight(slots=1)
    job = flight.enter(popped())
    flight.leases.add(job)
    flight.disown(job)

    assert flight.room() == 0
    assert flight.empty.is_set()
    assert flight.jobs == []
    assert flight.leases.snapshot() == []
    flight.leave(job)
    assert flight.room() == 1


async def test_a_lease_is_kept_until_the_server_has_the_result() -> None:
    flight = Flight(slots=1)
    job = flight.enter(popped())
    flight.leases.add(job)
    flight.finish(job, completion())

    assert flight.leases.get(job.job_id) is job
    flight.forget_result(job)
    assert flight.leases.get(job.job_id) is None


async def test_results_that_nobody_takes_stop_the_runner_by_their_number() -> None:
    flight = Flight(slots=10)
    while flight.room():
        flight.finish(flight.enter(popped()), completion())

    assert 1000 < len(flight.jobs) < 3000
    flight.leave(flight.jobs[0])
    assert flight.room() == 1


async def test_charges_that_can_not_be_made_do_not_stop_the_runner() -> None:
    flight = Flight(slots=10)
    for _ in range(5000):
        job = flight.enter(popped())
        flight.finish(job, completion())
        flight.forget_result(job)

    assert (flight.room(), flight.settling) == (10, 5000)


async def test_results_that_nobody_takes_stop_the_runner_by_their_size() -> None:
    flight = Flight(slots=10)
    large = completion("x" * 1024 * 1024)
    while flight.room():
        flight.finish(flight.enter(popped()), large)

    assert 60 <= len(flight.jobs) <= 70
    for job in flight.jobs[:10]:
        flight.finish(job, completion("instead"))
    assert flight.room() == 10
