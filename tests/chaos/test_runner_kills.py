"""Runners that die beside their charge, one after the other, until none is left: the services set the books right."""

import pytest

from tests.chaos.support.arena import Arena, expect_death
from tests.chaos.support.verifying import verify

pytestmark = pytest.mark.slow

DEATHS = 25


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("point", "charged"),
    [
        # between CompleteJobs and Deduct
        ("runner.before_charge", False),
        # between Deduct and SettleJobs
        ("runner.before_settle", True),
    ],
)
def test_the_books_are_right_when_every_runner_there_was_has_died_beside_its_charge(
    arena: Arena, point: str, charged: bool
) -> None:
    submitted: list[str] = []
    for _ in range(DEATHS):
        runner = arena.runner(crash_at=point)
        submitted.append(arena.submit())
        expect_death(runner)
        assert arena.row(submitted[-1])["status"] == "SUCCEEDED"
        if charged:
            assert len(arena.deductions(submitted[-1])) == 1

    runners = [process for name, process in arena.stack.processes.items() if name.startswith("runner")]
    assert len(runners) == DEATHS
    assert not any(runner.running for runner in runners)
    arena.expect_success(*submitted)
    assert {arena.executions(job_id) for job_id in submitted} == {1}
    assert verify(arena.stack.database_urls) == []
