"""The waiting and running jobs of a platform, its runners, and the jobs that need an operator."""

import asyncio
import json
import time
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Any, Final

from tools.cli.commands.status.parts import SECONDS_MAX
from tools.cli.commands.status.report import Found, Problem, Queue, Runners
from tools.cli.unserved import Stuck, known_runners, stuck
from tools.local.target import Target

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_service_pb2 import QueueStats
    from innosystem.jobs.v1.runner_pb2 import Runner

_PAGE_SIZE_MAX: Final = 1000
# A platform with more paused job types has other worries.
_PAUSED_TYPES_MAX: Final = 20
# A lease is 60 s unless the runner's settings say otherwise. The busy slots of a runner lost earlier say nothing.
_LOST_SECONDS: Final = 120
_UNPAID: Final = {
    "DECLINED": "not paid: too little in the wallet",
    "CHARGE_BLOCKED": "not paid, for a reason that no retry cures",
}


async def look_at_work(chosen: Target) -> Found:
    """Look at queues, runners and jobs through the jobs service, each within a time of its own."""
    from innosystem.client import Innosystem

    found = Found()
    if (address := chosen.addresses.get("jobs")) is None:
        return found
    async with Innosystem(
        jobs=address, transport=chosen.transport, token=chosen.token(), deadline_seconds=SECONDS_MAX
    ) as client:
        looks = await asyncio.gather(
            _within_time(_look_at_queues(client), "the queues"),
            _within_time(_look_at_paused_types(client), "the jobs of paused types"),
            *(_within_time(_look_at_unpaid(client, status), f"the {status} jobs") for status in _UNPAID),
        )
    for one in looks:
        found.add(one)
    return found


async def _within_time(look: Awaitable[Found], what: str) -> Found:
    """Await what calls of the jobs service find; a failure is a problem."""
    from grpc import aio

    from innosystem.client import TransportError
    from tools.cli.errors import describe

    try:
        async with asyncio.timeout(SECONDS_MAX):
            return await look
    except TimeoutError:
        return Found(problems=[Problem(f"the jobs service did not count {what} within {SECONDS_MAX:g} s")])
    except (aio.AioRpcError, TransportError) as error:
        return Found(problems=[Problem(f"the jobs service did not count {what}: {describe(error)}")])


async def _look_at_queues(client: "Innosystem") -> Found:
    stats, runners = await asyncio.gather(_queue_stats(client), known_runners(client))
    return Found(
        queues=_queues(stats),
        runners=None if runners is None else _summary(runners),
        problems=[*map(_problem, stuck(stats, runners)), *_left_running(runners or ())],
    )


async def _look_at_unpaid(client: "Innosystem", status: str) -> Found:
    if not (count := await _count(client, f"billing_status = {status}")):
        return Found()
    what = f"{_at_most(count)} {_UNPAID[status]} ({status})"
    return Found(problems=[Problem(what, f"innosystem jobs list --filter 'billing_status = {status}'")])


async def _queue_stats(client: "Innosystem") -> "list[QueueStats]":
    from innosystem.jobs.v1.job_service_pb2 import GetQueueStatsRequest

    return list((await client.jobs.GetQueueStats(GetQueueStatsRequest())).queues)


async def _look_at_paused_types(client: "Innosystem") -> Found:
    from innosystem.jobs.v1.job_type_service_pb2 import ListJobTypesRequest

    listed = await client.job_types.ListJobTypes(ListJobTypesRequest(page_size=_PAGE_SIZE_MAX))
    paused = [one for one in listed.job_types if one.paused][:_PAUSED_TYPES_MAX]
    counts = await asyncio.gather(
        *(_count(client, f"status = PENDING AND job_type_id = {json.dumps(one.id)}") for one in paused)
    )
    return Found(
        problems=[
            Problem(
                f"the job type {one.name} is paused, and {_at_most(count)} waiting",
                f"innosystem job-types resume {one.name}",
            )
            for one, count in zip(paused, counts, strict=True)
            if count
        ]
    )


async def _count(client: "Innosystem", filter: str) -> int:
    """Return how many jobs a filter finds, at most 1,000."""
    from innosystem.jobs.v1.job_pb2 import JOB_VIEW_NARROW
    from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest

    request = ListJobsRequest(filter=filter, page_size=_PAGE_SIZE_MAX, view=JOB_VIEW_NARROW)
    return len((await client.jobs.ListJobs(request)).jobs)


def _queues(stats: "Iterable[QueueStats]") -> list[Queue]:
    """Put the three priorities of each queue together."""
    by_name: dict[str, list[QueueStats]] = {}
    for one in stats:
        by_name.setdefault(one.queue, []).append(one)
    return [
        Queue(
            name,
            waiting=sum(one.waiting for one in ones),
            running=sum(one.running for one in ones),
            oldest_seconds=max((_seconds(one.oldest_age) for one in ones if one.HasField("oldest_age")), default=None),
            paused=any(one.paused for one in ones),
            runners=max(one.runners for one in ones),
        )
        for name, ones in sorted(by_name.items())
    ]


def _problem(one: Stuck) -> Problem:
    """Describe the jobs that wait in a paused queue, or for runners that are not there."""
    wait = f"{_jobs(one.jobs)} wait{'s' * (one.jobs == 1)}"
    start = f"innosystem run --handlers MODULE --queue {one.queue}"
    if one.cause == "paused":
        return Problem(f"the queue {one.queue} is paused, and {wait}", f"innosystem queue resume {one.queue}")
    if one.cause == "no runner":
        return Problem(f"{wait} in {one.queue}, which no runner serves", start)
    return Problem(f"{wait} in {one.queue} for handlers that no runner has: {', '.join(one.handlers)}", start)


def _left_running(runners: "Iterable[Runner]") -> list[Problem]:
    """Describe the runners that were lost with jobs, from the last minutes: until the leases of these jobs end."""
    from innosystem.jobs.v1 import runner_pb2

    now = time.time()
    return [
        Problem(
            f"the runner {one.id[:8]} on {one.host} was lost with {_jobs(one.busy)}: "
            f"{'its lease ends' if one.busy == 1 else 'their leases end'} soon, then another runner takes "
            f"{'it' if one.busy == 1 else 'them'}",
            f"innosystem runners show {one.id}",
        )
        for one in runners
        if one.state == runner_pb2.RUNNER_STATE_LOST
        and one.host
        and one.busy
        and now - one.last_seen_at.ToSeconds() < _LOST_SECONDS
    ]


def _summary(runners: "Iterable[Runner]") -> Runners:
    from innosystem.jobs.v1 import runner_pb2

    runners = list(runners)
    there = [one for one in runners if one.state in (runner_pb2.RUNNER_STATE_ACTIVE, runner_pb2.RUNNER_STATE_STOPPING)]
    return Runners(
        active=sum(one.state == runner_pb2.RUNNER_STATE_ACTIVE for one in runners),
        stopping=sum(one.state == runner_pb2.RUNNER_STATE_STOPPING for one in runners),
        lost=sum(one.state == runner_pb2.RUNNER_STATE_LOST for one in runners),
        slots=sum(one.slots for one in there),
        busy=sum(one.busy for one in there),
    )


def _at_most(count: int) -> str:
    more = " or more" * (count == _PAGE_SIZE_MAX)
    return f"{_jobs(count)}{more} {'is' if count == 1 else 'are'}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"


def _seconds(duration: Any) -> float:
    return float(duration.ToNanoseconds() / 1e9)
