"""When the sender of claims rests, so that its next call carries more jobs."""

from typing import Any, cast

import pytest

from innosystem.runner.claiming import ClaimSender
from innosystem.runner.in_hand import JobInHand, JobsInHand


def sender(*, room: bool) -> ClaimSender:
    in_hand = cast("JobsInHand", Room(room=room))
    nothing: Any = None
    return ClaimSender(
        service=nothing,
        stub=nothing,
        runner_id="",
        lease_seconds=60,
        handlers=(),
        queues=(),
        in_hand=in_hand,
        queue=nothing,
        start=nothing,
        stopping=lambda: False,
    )


class Room:
    """Jobs in hand with room for more, or without."""

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
    job = cast("JobInHand", None)
    assert sender(room=room).rests_after([job] * jobs) is rests
