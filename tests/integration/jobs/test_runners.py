"""Runners over gRPC: who takes jobs from which queues, and that a claim needs nothing of the list."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.runner_pb2 import (
    RUNNER_STATE_ACTIVE,
    RUNNER_STATE_LOST,
    RUNNER_STATE_STOPPED,
    RUNNER_STATE_STOPPING,
    Runner,
    RunnerInfo,
    RunnerState,
)
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.refusals import Refused, Stored
from tests.support.until import until_sync


def get(world: JobsStack, runner_id: str) -> Runner:
    return world.jobs.GetRunner(pb.GetRunnerRequest(runner_id=runner_id)).runner


def listed(world: JobsStack, filter: str, **values: Any) -> list[Runner]:
    request = pb.ListRunnersRequest(filter=filter, page_size=1000, **values)
    return list(world.jobs.ListRunners(request).runners)


def runners_of(world: JobsStack, queue: str) -> list[int]:
    """Return how many runners take from each priority of a queue."""
    return [one.runners for one in world.jobs.GetQueueStats(pb.GetQueueStatsRequest(queues=[queue])).queues]


def becomes(world: JobsStack, runner_id: str, state: "RunnerState.ValueType") -> None:
    until_sync(lambda: get(world, runner_id).state == state)


def test_a_runner_is_listed_as_it_described_itself(world: JobsStack) -> None:
    info = RunnerInfo(host="pod-1", process_id=7, version="0.2.0", language="go 1.22", slots=8, busy=2, processes=3)
    info.uptime.FromSeconds(3600)
    runner = world.runner(handlers=["greet", "add"], queues=["described", "other"], info=info)
    assert (runner.state, runner.host, runner.process_id) == (RUNNER_STATE_ACTIVE, "pod-1", 7)
    assert (runner.version, runner.language) == ("0.2.0", "go 1.22")
    assert (runner.slots, runner.busy, runner.processes) == (8, 2, 3)
    assert (list(runner.queues), list(runner.handlers)) == (["described", "other"], ["greet", "add"])
    assert runner.last_seen_at.ToNanoseconds() - runner.started_at.ToNanoseconds() == 3600 * 10**9
    assert listed(world, "queues:described") == [runner]
    assert listed(world, 'queues:described AND handlers:"add" AND host = "pod-*"') == [runner]
    assert listed(world, "queues:described AND handlers:missing") == []


def test_a_runner_of_an_earlier_release_is_listed_by_its_queues_and_handlers_and_counts(world: JobsStack) -> None:
    runner = world.runner(handlers=["greet"], queues=["earlier"])
    assert (runner.state, list(runner.handlers), runner.host) == (RUNNER_STATE_ACTIVE, ["greet"], "")
    assert runner.started_at == runner.last_seen_at
    assert runners_of(world, "earlier") == [1, 1, 1]


def test_a_runner_that_stops_is_stopping_until_it_ends_and_takes_no_jobs(world: JobsStack) -> None:
    runner = world.runner(queues=["ending"])
    assert runners_of(world, "ending") == [1, 1, 1]
    for state in (RUNNER_STATE_STOPPING, RUNNER_STATE_STOPPED):
        world.announce(runner.id, queues=["ending"], info=RunnerInfo(state=state))
        becomes(world, runner.id, state)
        assert runners_of(world, "ending") == [0, 0, 0]
    # A call that was overtaken.
    world.announce(runner.id, queues=["ending"])
    world.runner()
    assert get(world, runner.id).state == RUNNER_STATE_STOPPED


def test_a_runner_that_was_not_seen_for_half_a_minute_is_lost(world: JobsStack, stored: Stored) -> None:
    runner = world.runner(queues=["losing"])
    stored.execute("UPDATE runners SET last_seen_at = last_seen_at - interval '31 seconds' WHERE id = %s", runner.id)
    assert get(world, runner.id).state == RUNNER_STATE_LOST
    assert [one.id for one in listed(world, "state = LOST AND queues:losing")] == [runner.id]
    assert runners_of(world, "losing") == [0, 0, 0]
    world.announce(runner.id, queues=["losing"])
    becomes(world, runner.id, RUNNER_STATE_ACTIVE)


@contextmanager
def locked(stored: Stored, statement: str, *parameters: object) -> Iterator[None]:
    """Keep something locked as another session."""
    with psycopg.connect(stored._url) as connection:
        connection.execute(statement.encode(), parameters)
        yield
        connection.rollback()


def claimed(world: JobsStack, *, handlers: bool = True) -> str:
    """Submit a job and claim it, as a runner that says more than is read; return the runner."""
    kind = world.job_type()
    job = world.job(job_type=kind.name)
    request = pb.ClaimJobsRequest(
        job_ids=[job.id],
        runner_id=str(uuid4()),
        lease_id=str(uuid4()),
        info=RunnerInfo(state=RUNNER_STATE_STOPPED),
        handlers=[kind.processing_logic_id] if handlers else [],
        queues=["taking"],
    )
    [one] = world.jobs.ClaimJobs(request).jobs
    assert one.job.id == job.id
    return request.runner_id


def test_a_runner_of_the_first_release_is_listed_when_it_takes_jobs(world: JobsStack) -> None:
    """Its claims have neither handlers nor queues, and it makes none without jobs."""
    runner_id = claimed(world, handlers=False)
    until_sync(lambda: runner_id in {one.id for one in listed(world, "queues:taking")})


def test_a_claim_of_jobs_writes_nothing_about_its_runner(world: JobsStack, refused: Refused) -> None:
    runner_id = claimed(world)
    world.runner()
    refused(world.jobs.GetRunner, pb.GetRunnerRequest(runner_id=runner_id), "RUNNER_NOT_FOUND")


def test_neither_claims_nor_announcements_wait_for_a_table_that_is_locked(world: JobsStack, stored: Stored) -> None:
    known = world.runner(queues=["locked"])
    with locked(stored, "LOCK TABLE runners IN ACCESS EXCLUSIVE MODE"):
        claimed(world)
        for _ in range(3):
            world.announce(known.id, queues=["locked"], info=RunnerInfo(busy=4))
            new = world.announce(queues=["locked"])
        claimed(world)
    until_sync(lambda: get(world, known.id).busy == 4)
    until_sync(lambda: new in {one.id for one in listed(world, "queues:locked")})


def test_a_runner_whose_row_is_locked_stops_no_other(world: JobsStack, stored: Stored) -> None:
    known, other = world.runner(), world.runner()
    with locked(stored, "SELECT FROM runners WHERE id = %s FOR UPDATE", known.id):
        world.announce(known.id, info=RunnerInfo(busy=4))
        world.announce(other.id, info=RunnerInfo(busy=5))
        until_sync(lambda: get(world, other.id).busy == 5)
        world.runner()
        assert get(world, known.id).busy == 0
    until_sync(lambda: get(world, known.id).busy == 4)


@pytest.mark.parametrize(
    ("harm", "repair"),
    [
        ("ALTER TABLE runners RENAME TO mislaid", "ALTER TABLE mislaid RENAME TO runners"),
        (
            "ALTER TABLE runners ADD CONSTRAINT no_updates CHECK (busy < 0) NOT VALID",
            "ALTER TABLE runners DROP CONSTRAINT no_updates",
        ),
    ],
    ids=["a table that is missing", "a table that refuses all rows"],
)
def test_claims_and_announcements_do_not_fail_with(world: JobsStack, stored: Stored, harm: str, repair: str) -> None:
    known = world.runner()
    stored.execute(harm)
    try:
        world.announce(known.id, info=RunnerInfo(busy=4))
        claimed(world)
        world.announce(known.id, info=RunnerInfo(busy=6))
        claimed(world)
    finally:
        stored.execute(repair)
    world.announce(known.id, info=RunnerInfo(busy=7))
    until_sync(lambda: get(world, known.id).busy == 7)


def test_claims_and_announcements_do_not_fail_without_the_right_to_the_table(world: JobsStack, stored: Stored) -> None:
    known = world.runner()
    [[grantee]] = stored.execute(
        "SELECT DISTINCT grantee FROM information_schema.role_table_grants"
        " WHERE table_name = 'runners' AND grantee <> current_user"
    )
    stored.execute(f'REVOKE ALL ON runners FROM "{grantee}"')
    try:
        world.announce(known.id, info=RunnerInfo(busy=4))
        claimed(world)
    finally:
        stored.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON runners TO "{grantee}"')
    until_sync(lambda: get(world, known.id).busy == 4)


def test_a_row_that_is_not_understood_is_left_out_of_the_list_and_stops_no_other(
    world: JobsStack, stored: Stored
) -> None:
    good, bad = world.runner(queues=["strange"]), world.runner(queues=["strange"])
    stored.execute("UPDATE runners SET announced_state = 99 WHERE id = %s", bad.id)
    assert [one.id for one in listed(world, "queues:strange")] == [good.id]
    assert runners_of(world, "strange") == [1, 1, 1]
    world.announce(bad.id, queues=["strange"])
    world.announce(good.id, queues=["strange"], info=RunnerInfo(busy=3))
    until_sync(lambda: get(world, good.id).busy == 3)


def test_a_thousand_runners_are_listed_page_by_page(world: JobsStack) -> None:
    ids = {str(uuid4()) for _ in range(1000)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(partial(world.announce, queues=["many"], info=RunnerInfo(host="h")), ids))
    until_sync(lambda: runners_of(world, "many") == [1000] * 3)
    found: list[str] = []
    request = pb.ListRunnersRequest(filter="queues:many", page_size=300)
    while True:
        page = world.jobs.ListRunners(request)
        found += [one.id for one in page.runners]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert len(found) == 1000
    assert set(found) == ids


def test_what_a_runner_says_is_bounded(world: JobsStack, refused: Refused) -> None:
    request = pb.ClaimJobsRequest(
        runner_id=str(uuid4()), lease_id=str(uuid4()), info=RunnerInfo(host="h" * 256, slots=-1, version="a\0")
    )
    refused.field(world.jobs.ClaimJobs, request, "info.host", "info.version", "info.slots")
