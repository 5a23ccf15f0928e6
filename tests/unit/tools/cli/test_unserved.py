"""Which waiting jobs no runner takes, in words."""

from typing import Any

import pytest

from innosystem.jobs.v1.job_service_pb2 import QueueStats
from tools.cli.unserved import unserved

NO_RUNNER = "and no runner takes from it: `innosystem run --handlers MODULE --queue"


def stats(queue: str = "a", **values: Any) -> QueueStats:
    return QueueStats(queue=queue, **{"runners": 0, **values})


@pytest.mark.parametrize(
    ("counted", "lines"),
    [
        ([stats()], []),
        ([stats(running=3)], []),
        ([stats(waiting=5, runners=1)], []),
        # A runner that does not describe itself.
        ([stats(waiting=5), stats(running=1)], []),
        (
            [stats(waiting=1)],
            [f"1 job waits in a, {NO_RUNNER} a` starts one"],
        ),
        (
            [stats(waiting=1200), stats(waiting=34), stats("b", waiting=1, runners=2), stats("0", waiting=2)],
            [
                f"2 jobs wait in 0, {NO_RUNNER} 0` starts one",
                f"1,234 jobs wait in a, {NO_RUNNER} a` starts one",
            ],
        ),
        (
            [
                stats(waiting=9, runners=1, unserved=2, unserved_handlers=["y", "x"]),
                stats(waiting=9, runners=1, unserved=1, unserved_handlers=["x", "z"]),
            ],
            ["3 jobs wait in a for handlers that no runner has: x, y, z"],
        ),
        # A service of a release that does not count runners.
        ([QueueStats(queue="a", waiting=5)], []),
        # The handlers do not matter before a runner takes from the queue.
        (
            [stats(waiting=2, unserved=2, unserved_handlers=["x"])],
            [f"2 jobs wait in a, {NO_RUNNER} a` starts one"],
        ),
    ],
)
def test_the_queues_that_lack_a_runner_or_a_handler_are_named(counted: list[QueueStats], lines: list[str]) -> None:
    assert unserved(counted) == lines


def test_of_the_handlers_only_those_that_are_needed_are_named() -> None:
    counted = [stats(waiting=9, runners=1, unserved=2, unserved_handlers=["old", "greet"])]
    assert unserved(counted, {"greet"}) == ["Jobs wait in a for handlers that no runner has: greet"]
    assert unserved(counted, {"other"}) == []
