"""The number and size of the jobs in a runner's hands are bounded."""

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.in_hand import JobsInHand
from innosystem.runner.queue import PoppedId


def popped() -> PoppedId:
    return PoppedId(str(new_id()), "jobs:p0:pending")


def completion(output_json: str = "1") -> job_service_pb2.JobCompletion:
    return job_service_pb2.JobCompletion(output_json=output_json)


async def test_a_slot_is_held_until_the_handler_has_ended() -> None:
    in_hand = JobsInHand(slots=2)
    first, _second = in_hand.add(popped()), in_hand.add(popped())

    assert in_hand.room() == 0
    assert not in_hand.has_room.is_set()
    in_hand.finish(first, completion())
    assert in_hand.room() == 1
    assert in_hand.has_room.is_set()


async def test_it_is_empty_only_when_every_job_has_left() -> None:
    in_hand = JobsInHand(slots=2)
    assert in_hand.empty.is_set()
    job = in_hand.add(popped())
    in_hand.finish(job, completion())
    in_hand.drop_result(job)

    assert not in_hand.empty.is_set()
    in_hand.remove(job)
    in_hand.remove(job)
    assert in_hand.empty.is_set()
    assert in_hand.room() == 2


async def test_a_job_that_is_not_the_runners_any_more_keeps_its_slot_and_is_nothing_to_wait_for() -> None:
    in_hand = JobsInHand(slots=1)
    job = in_hand.add(popped())
    in_hand.leases.add(job)
    in_hand.disown(job)

    assert in_hand.room() == 0
    assert in_hand.empty.is_set()
    assert in_hand.jobs == []
    assert in_hand.leases.snapshot() == []
    in_hand.remove(job)
    assert in_hand.room() == 1


async def test_a_lease_is_kept_until_the_server_has_the_result() -> None:
    in_hand = JobsInHand(slots=1)
    job = in_hand.add(popped())
    in_hand.leases.add(job)
    in_hand.finish(job, completion())

    assert in_hand.leases.get(job.job_id) is job
    in_hand.drop_result(job)
    assert in_hand.leases.get(job.job_id) is None


async def test_unreported_results_stop_the_intake_by_their_number() -> None:
    in_hand = JobsInHand(slots=10)
    while in_hand.room():
        in_hand.finish(in_hand.add(popped()), completion())

    assert 1000 < len(in_hand.jobs) < 3000
    in_hand.remove(in_hand.jobs[0])
    assert in_hand.room() == 1


async def test_charges_that_can_not_be_made_do_not_stop_the_runner() -> None:
    in_hand = JobsInHand(slots=10)
    for _ in range(5000):
        job = in_hand.add(popped())
        in_hand.finish(job, completion())
        in_hand.drop_result(job)

    assert (in_hand.room(), in_hand.settling) == (10, 5000)


async def test_unreported_results_stop_the_intake_by_their_size() -> None:
    in_hand = JobsInHand(slots=10)
    large = completion("x" * 1024 * 1024)
    while in_hand.room():
        in_hand.finish(in_hand.add(popped()), large)

    assert 60 <= len(in_hand.jobs) <= 70
    for job in in_hand.jobs[:10]:
        in_hand.finish(job, completion("instead"))
    assert in_hand.room() == 10
