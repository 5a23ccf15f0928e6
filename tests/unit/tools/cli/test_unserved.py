"""Which waiting jobs no runner takes, in words."""

from typing import Any

import pytest

from innosystem.jobs.v1.job_service_pb2 import QueueStats
from innosystem.jobs.v1.runner_pb2 import Runner
from tools.cli.unserved import described, stuck

NO_RUNNER = "and no runner takes from it: `innosystem run --handlers MODULE --queue"


def stats(queue: str = "a", **values: Any) -> QueueStats:
    return QueueStats(queue=queue, **{"runners": 0, **values})


@pytest.mark.parametrize(
    ("counted", "lines"),
    [
        ([stats()], []),
        ([stats(running=3)], []),
        ([stats(waiting=5, runners=1)], []),
        # A lost runner has the job that runs.
        ([stats(waiting=5), stats(running=1)], [f"5 jobs wait in a, {NO_RUNNER} a` starts one"]),
        # A pause, which ends otherwise.
        ([stats(waiting=5, paused=True)], []),
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
        # The handlers do not matter before a runner takes from the queue.
        (
            [stats(waiting=2, unserved=2, unserved_handlers=["x"])],
            [f"2 jobs wait in a, {NO_RUNNER} a` starts one"],
        ),
    ],
)
def test_the_queues_that_lack_a_runner_or_a_handler_are_named(counted: list[QueueStats], lines: list[str]) -> None:
    assert described(stuck(counted, [])) == lines


@pytest.mark.parametrize(
    ("runners", "is_named"),
    [
        ([], True),
        ([Runner(host="here", queues=["a"])], True),
        ([Runner(queues=["other"])], True),
        # One of the first release, which does not describe itself, may have the job that runs.
        ([Runner()], False),
        ([Runner(queues=["a"])], False),
        # A service of a release that does not know its runners.
        (None, False),
    ],
    ids=["none", "lost", "first release elsewhere", "first release", "first release here", "not known"],
)
def test_beside_a_running_job_a_queue_has_a_runner_only_if_one_of_the_first_release_may_have_it(
    runners: list[Runner] | None, is_named: bool
) -> None:
    found = stuck([stats(waiting=2, running=1)], runners)
    assert [(one.cause, one.jobs) for one in found] == ([("no runner", 2)] if is_named else [])


def test_of_the_handlers_only_those_that_are_needed_are_named() -> None:
    counted = [stats(waiting=9, runners=1, unserved=2, unserved_handlers=["old", "greet"])]
    assert described(stuck(counted, []), {"greet"}) == ["Jobs wait in a for handlers that no runner has: greet"]
    assert described(stuck(counted, []), {"other"}) == []
