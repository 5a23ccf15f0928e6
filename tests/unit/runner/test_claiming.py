"""When the stage that claims rests, so that its next call carries more jobs."""

from typing import Any, cast

import pytest

from innosystem.runner.claiming import ClaimStage
from innosystem.runner.flight import Flight, FlyingJob


def stage(*, room: bool) -> ClaimStage:
    flight = cast("Flight", Room(room=room))
    nothing: Any = None
    return ClaimStage(
        service=nothing,
        stub=nothing,
        runner_id="",
        lease_seconds=60,
        handlers=(),
        queues=(),
        flight=flight,
        queue=nothing,
        start=nothing,
        stopping=lambda: False,
    )


class Room:
    """A flight that has room for more jobs, or none."""

    def __init__(self, *, room: bool) -> None:
        self._room = room

    def room(self) -> int:
        return 10 if self._room else 0


@pytest.mark.parametrize(
    ("jobs", "room", "rests"),
    [
        (1, True, False),
        (2, True, True),
        (49, True, True),
        (50, True, False),
        (2, False, False),
    ],
)
def test_it_rests_after_a_small_batch_if_more_jobs_can_be_taken(jobs: int, room: bool, rests: bool) -> None:
    job = cast("FlyingJob", None)
    assert stage(room=room).rests_after([job] * jobs) is rests
