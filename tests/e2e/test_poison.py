"""A job that kills its runner, beside jobs that have done nothing."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from innosystem.jobs.v1 import job_service_pb2
from services import SERVICES
from tests.chaos.support.verifying import verify
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_job
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"
INNOCENTS = 7
SOON = {
    "JOBS_HOUSEKEEPING_SECONDS": "0.2",
    "JOBS_RESCUE_GRACE_SECONDS": "0",
    "JOBS_RESCUE_WAIT_SECONDS": "0.1",
    "JOBS_RESCUE_WAIT_MAX_SECONDS": "1",
    # Each death of a process costs the start of another one.
    "JOBS_RESCUES_MAX": "2",
}


@pytest.fixture
def running(tmp_path: Path, fresh_database: Callable[[str], str], redis_url: str) -> Iterator[Stack]:
    """The services; runners come and go with the test."""
    urls = {service: fresh_database(service) for service in SERVICES}
    stack = Stack(tmp_path, urls, redis_url, key_prefix=f"{uuid4()}:")
    stack.start("customers", "wallets")
    stack.start("jobs", **SOON)
    yield stack
    stack.close()


class Runners:
    """Some runners: whenever one has died, the next is started, as an orchestrator does it."""

    def __init__(self, stack: Stack, *, count: int = 1, processes: int) -> None:
        self._stack = stack
        self._count = count
        self._settings = {"RUNNER_LEASE_SECONDS": "2", "RUNNER_PROCESSES": str(processes)}
        self.started: list[Process] = []
        self.look()

    def look(self) -> None:
        for _ in range(self._count - sum(one.running for one in self.started)):
            self.started.append(self._stack.start_runner(HANDLERS, **self._settings))


def rows(stack: Stack, columns: str) -> dict[str, tuple[object, ...]]:
    """What the database says of each job."""
    with psycopg.connect(stack.database_urls["jobs"]) as jobs:
        found = jobs.execute(f"SELECT id::text, {columns} FROM jobs").fetchall()
    return {job_id: tuple(values) for job_id, *values in found}


@pytest.mark.slow
def test_who_kills_its_runner_fails_alone_and_the_jobs_beside_it_succeed_without_an_attempt_lost(
    running: Stack, tmp_path: Path
) -> None:
    folder = tmp_path / "signs"
    folder.mkdir()
    customer_id = running.paying_customer()
    waits, kills = running.job_type("e2e.waits"), running.job_type("e2e.poison")
    innocents = [new_job(customer_id, waits, json.dumps({"folder": str(folder), "n": n})) for n in range(INNOCENTS)]
    killer = new_job(customer_id, kills, json.dumps({"folder": str(folder), "others": INNOCENTS}))
    batch = job_service_pb2.BatchCreateJobsRequest(requests=[*innocents, killer])
    running.jobs.BatchCreateJobs(batch, timeout=15)
    runners = Runners(running, processes=INNOCENTS + 1)

    def failed() -> bool:
        runners.look()
        return rows(running, "status")[killer.job_id] == ("FAILED",)

    until_sync(failed, limit_seconds=90)
    (folder / "go").touch()
    until_sync(lambda: {status for status, *_ in rows(running, "status").values()} == {"SUCCEEDED", "FAILED"})

    # Beside the killer an innocent may have been the only other one that was just begun, once.
    after = rows(running, "status, attempt, deaths <= 1, rescue_count > 0, error->>'type'")
    assert {after[one.job_id] for one in innocents} == {("SUCCEEDED", 1, True, True, None)}
    assert after[killer.job_id][0] == "FAILED"
    assert after[killer.job_id][4] == "PROCESS_DIED"
    assert verify(running.database_urls) == []
    # It has killed two runners. From then on it was alone in a process of its own.
    assert len(runners.started) == 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_eight_that_kill_take_two_runners_each_at_most_while_their_neighbours_crowd_the_processes_for_suspects(
    running: Stack, tmp_path: Path
) -> None:
    noted = tmp_path / "kills"
    customer_id = running.paying_customer()
    naps, kills = running.job_type("e2e.naps"), running.job_type("e2e.kills")
    innocents = [new_job(customer_id, naps, json.dumps({"seconds": 0.3, "n": n})) for n in range(100)]
    killers = [new_job(customer_id, kills, json.dumps({"seconds": 0.1, "kills": str(noted)})) for _ in range(8)]
    mixed = [one for at, job in enumerate(innocents) for one in (job, *killers[at // 12 :][: at % 12 == 0])]
    running.jobs.BatchCreateJobs(job_service_pb2.BatchCreateJobsRequest(requests=mixed), timeout=15)
    runners = Runners(running, count=2, processes=1)

    def ended() -> bool:
        runners.look()
        return {status for status, *_ in rows(running, "status").values()} == {"SUCCEEDED", "FAILED"}

    until_sync(ended, limit_seconds=180)

    after = rows(running, "status, attempt, error->>'type'")
    assert {after[one.job_id] for one in innocents} == {("SUCCEEDED", 1, None)}
    assert {(after[one.job_id][0], after[one.job_id][2]) for one in killers} == {("FAILED", "PROCESS_DIED")}
    pids = {str(one.pid) for one in runners.started}
    killed_runners = Counter(job for job, pid in map(str.split, noted.read_text().splitlines()) if pid in pids)
    assert max(killed_runners.values()) <= 2
    assert verify(running.database_urls) == []
