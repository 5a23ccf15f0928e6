"""`innosystem runners`, with a real runner."""

import json
import os
import socket
from asyncio import to_thread
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from innosystem.client import Innosystem, new_id
from innosystem.jobs.v1.job_service_pb2 import ClaimJobsRequest
from innosystem.jobs.v1.runner_pb2 import RUNNER_STATE_STOPPED, RunnerInfo
from tests.integration.tools.cli.conftest import Found, Run
from tests.support.until import until, until_sync
from tools.cli.connect import platform

ADA = "01990000-0000-7000-8000-000000000201"


def waiting_in(queue: str, found: Found, folder: Path) -> None:
    """Submit a job of a queue that no runner takes from."""
    found("seed")
    of = ("--processor-type", "ASYNC", "--standard-cost-cents", "0")
    found("job-types", "create", "--name", queue, *of, "--queue", queue)
    file = folder / "jobs.jsonl"
    file.write_text('{"input": 1}\n')
    found("submit", str(file), "--customer-id", ADA, "--job-type", queue)


@pytest.fixture
def runner(found: Found) -> dict[str, Any]:
    """Return the runner of the platform."""
    [one] = until_sync(lambda: found("runners", "--queue", "default"))
    return dict(one)


def test_a_runner_is_listed_and_shown_by_the_start_of_its_id(
    runner: dict[str, Any], found: Found, innosystem: Run
) -> None:
    assert (runner["state"], runner["host"]) == ("RUNNER_STATE_ACTIVE", socket.gethostname())
    assert (runner["queues"], runner["handlers"]) == (["default"], ["python.source-stats"])
    assert (runner["slots"], runner["busy"]) == (32, 0)
    os.kill(runner["process_id"], 0)
    assert found("runners", "show", runner["id"][:20])["id"] == runner["id"]
    assert runner["id"] in innosystem("runners", "list").stdout
    assert innosystem("runners", "--handler", "python.source-stats", "-o", "name").stdout == f"{runner['id']}\n"
    assert innosystem("runners", "--handler", "nothing").stdout == "No runners found.\n"
    assert innosystem("runners", "show", str(uuid4())).stderr.startswith("innosystem: RUNNER_NOT_FOUND: ")


@pytest.mark.usefixtures("runner")
def test_jobs_in_a_queue_that_no_runner_takes_from_are_named(found: Found, innosystem: Run, tmp_path: Path) -> None:
    queue = f"q-{uuid4().hex[:8]}"
    waiting_in(queue, found, tmp_path)
    start = f"`innosystem run --handlers MODULE --queue {queue}` starts one"
    line = f"1 job waits in {queue}, and no runner takes from it: {start}\n"
    assert innosystem("queue", queue).stderr.endswith(line)
    done = innosystem("runners", "--queue", queue)
    assert (done.stdout, done.stderr) == ("No runners found.\n", line)
    assert line in innosystem("runners").stderr
    # Programs get documents only.
    assert innosystem("runners", "--queue", queue, "-o", "json").stderr == ""
    assert {one["runners"] for one in found("queue", queue)} == {0}
    assert {one["runners"] for one in found("queue", "default")} == {1}


async def test_runners_that_ended_are_listed_only_when_all_are_asked_for(innosystem: Run) -> None:
    queue = f"q-{uuid4().hex[:8]}"
    runner_id = str(new_id())
    async with platform() as client:
        await announce_the_end(client, runner_id, queue)

    async def listed() -> bool:
        # The command has a loop of its own.
        done = await to_thread(innosystem, "runners", "--all", "--queue", queue, "-o", "json")
        return [one["state"] for one in json.loads(done.stdout)] == ["RUNNER_STATE_STOPPED"]

    await until(listed)
    assert json.loads((await to_thread(innosystem, "runners", "--queue", queue, "--json")).stdout) == []


async def announce_the_end(client: Innosystem, runner_id: str, queue: str) -> None:
    info = RunnerInfo(state=RUNNER_STATE_STOPPED)
    request = ClaimJobsRequest(runner_id=runner_id, lease_id=str(new_id()), queues=[queue], info=info)
    await client.jobs.ClaimJobs(request)
