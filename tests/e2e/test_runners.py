"""Real runners in the list of runners: they appear, stop, end, and are lost when they are killed."""

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest, GetRunnerRequest, ListRunnersRequest
from innosystem.jobs.v1.runner_pb2 import Runner, RunnerState
from services import SERVICES
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_job
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"


def found(stack: Stack, runner: Process) -> Runner:
    """Wait until the runner is listed."""
    runner_id = runner.logged("runner_ready")["runner_id"]

    def look() -> Runner | None:
        request = ListRunnersRequest(filter=f'id = "{runner_id}"')
        return next(iter(stack.jobs.ListRunners(request, timeout=15).runners), None)

    return until_sync(look) or Runner()


def becomes(stack: Stack, runner: Runner, state: str, context: Callable[[], object] | None = None) -> None:
    """Wait until a runner is in a state."""

    def is_now() -> bool:
        now = stack.jobs.GetRunner(GetRunnerRequest(runner_id=runner.id), timeout=15).runner
        return RunnerState.Name(now.state) == f"RUNNER_STATE_{state}"

    until_sync(is_now, context=context)


def runners_of(stack: Stack, queue: str) -> set[int]:
    stats = stack.jobs.GetQueueStats(GetQueueStatsRequest(queues=[queue]), timeout=15)
    return {one.runners for one in stats.queues}


def test_a_runner_is_listed_while_it_works_drains_and_ends(stack: Stack, tmp_path: Path) -> None:
    stack.start(*SERVICES)
    customer_id, waits = stack.paying_customer(), stack.job_type("e2e.waits")
    job = stack.submit(new_job(customer_id, waits, json.dumps({"folder": str(tmp_path), "n": 1})))
    assert runners_of(stack, "default") == {0}

    process = stack.start_runner(HANDLERS, RUNNER_CONCURRENCY="3")
    runner = found(stack, process)
    assert (runner.host, runner.process_id) == (socket.gethostname(), process.pid)
    assert (list(runner.queues), runner.slots) == (["default"], 3)
    assert {"e2e.waits", "e2e.double"} < set(runner.handlers)
    becomes(stack, runner, "ACTIVE")
    assert runners_of(stack, "default") == {1}

    until_sync((tmp_path / "begun-1").exists)
    process.send(signal.SIGTERM)
    becomes(stack, runner, "STOPPING", context=lambda: process.output)
    assert runners_of(stack, "default") == {0}
    (tmp_path / "go").touch()
    assert process.wait() == 0
    becomes(stack, runner, "STOPPED")
    assert stack.job(job.id).status == job_pb2.JOB_STATUS_SUCCEEDED


def test_a_runner_that_is_killed_is_lost_half_a_minute_later(stack: Stack) -> None:
    stack.start(*SERVICES)
    process = stack.start_runner(HANDLERS)
    runner = found(stack, process)
    process.send(signal.SIGKILL)
    process.wait()
    # The half minute passes in the database: nothing is noted of a process that does not exist.
    with psycopg.connect(stack.database_urls["jobs"], autocommit=True) as connection:
        connection.execute("UPDATE runners SET last_seen_at = last_seen_at - interval '30 seconds'")
    becomes(stack, runner, "LOST")
    assert runners_of(stack, "default") == {0}


def test_the_last_words_of_a_runner_are_noted_although_the_service_stops_with_it(stack: Stack) -> None:
    stack.start(*SERVICES)
    process = stack.start_runner(HANDLERS)
    runner = found(stack, process)
    assert process.stop() == 0
    stack.restart("jobs")
    becomes(stack, runner, "STOPPED")


@pytest.mark.slow
def test_a_runner_is_listed_again_after_the_service_was_unavailable(stack: Stack) -> None:
    stack.start(*SERVICES)
    process = stack.start_runner(HANDLERS)
    runner = found(stack, process)
    assert stack.processes["jobs"].stop() == 0
    stack.start("jobs")
    with psycopg.connect(stack.database_urls["jobs"], autocommit=True) as connection:
        connection.execute("DELETE FROM runners")
    until_sync(lambda: found(stack, process).id == runner.id)
    assert process.stop() == 0
