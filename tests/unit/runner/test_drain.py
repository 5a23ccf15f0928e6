"""A drain is complete only if every job was finished or returned."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
import structlog

from innosystem.client import new_id
from innosystem.runner.drain import Drain
from innosystem.runner.in_hand import JobsInHand
from innosystem.runner.queue import PoppedId
from innosystem.runner.returning import ReturnSender
from innosystem.runner.runs import Runs
from innosystem.runner.service_client import ServiceClient

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub

LIMIT_SECONDS = 10


class Handing:
    """Runs that return their jobs immediately: with success, or not."""

    def __init__(self, in_hand: JobsInHand, returns: ReturnSender, *, succeeds: bool) -> None:
        self._in_hand = in_hand
        self._returns = returns
        self._succeeds = succeeds

    async def hand_back(self, seconds: float) -> None:
        for job in self._in_hand.jobs:
            if self._succeeds:
                self._in_hand.remove(job)
            else:
                self._returns.drop([job], "the service is unavailable")


async def nothing_to_stop() -> None:
    return


@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_job_that_could_not_be_returned_makes_the_drain_incomplete(succeeds: bool) -> None:
    in_hand = JobsInHand(1)
    in_hand.add(PoppedId(str(new_id()), "jobs:p1:pending")).stage = "run"
    returns = ReturnSender(service=ServiceClient("jobs"), stub=cast("JobServiceAsyncStub", None), in_hand=in_hand)
    handing = cast("Runs", Handing(in_hand, returns, succeeds=succeeds))
    drain = Drain(seconds=0, in_hand=in_hand, runs=handing, returns=returns)

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await drain.run(nothing_to_stop()) is succeeds
    assert in_hand.jobs == []


async def test_a_drain_says_what_a_second_signal_does() -> None:
    in_hand = JobsInHand(1)
    in_hand.add(PoppedId(str(new_id()), "jobs:p1:pending")).stage = "run"
    returns = ReturnSender(service=ServiceClient("jobs"), stub=cast("JobServiceAsyncStub", None), in_hand=in_hand)
    handing = cast("Runs", Handing(in_hand, returns, succeeds=True))
    drain = Drain(seconds=2, in_hand=in_hand, runs=handing, returns=returns)

    with structlog.testing.capture_logs() as lines:
        drain.stop()
        drain.stop()
        await drain.run(nothing_to_stop())
        await drain.run(nothing_to_stop())

    first, second = (line for line in lines if line["event"] == "draining")
    assert (first["jobs"], "up to 2 s" in first["note"], "second signal" in first["note"]) == (1, True, True)
    assert (second["jobs"], "note" in second) == (0, False)
