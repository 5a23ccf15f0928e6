"""What every repository promises about runners."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.resources import RUNNERS
from services.jobs.rules.runners import Announcement, Gone, Runner, RunnerState, with_runners
from services.jobs.usecases.ports import NotNoted
from services.kit.query.listing import Listing
from services.kit.query.page import PageTokens
from tests.support.jobs_work import BeginJobs

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
ACTIVE, STOPPING, STOPPED, LOST = RunnerState
LISTING = Listing(RUNNERS, PageTokens(b"k" * 32))


def announced(queues: Sequence[str] = ("default",), handlers: Sequence[str] = ("a",), **values: Any) -> Announcement:
    return Announcement(runner_id=uuid7(), queues=queues, handlers=handlers, **values)


async def noted(begin: BeginJobs, *announcements: Announcement, **limits: int) -> None:
    async with begin() as work:
        assert await work.runners.note(announcements, **limits) == NotNoted()
        await work.commit()


async def read(begin: BeginJobs, runner_id: UUID) -> Runner:
    async with begin() as work:
        runner = await work.runners.get(runner_id)
    assert runner is not None
    return runner


async def listed(begin: BeginJobs, filter: str = "", order_by: str = "", page_size: int = 100) -> list[UUID]:
    """List all runners, page by page."""
    found: list[UUID] = []
    token = ""
    while True:
        query = LISTING.query(filter=filter, order_by=order_by, page_size=page_size, page_token=token)
        async with begin() as work:
            page = await work.runners.list_page(query)
        found += [one.id for one in page.items]
        token = LISTING.next_page_token(query, page)
        if not token:
            return found


async def test_a_runner_is_known_as_it_described_itself(begin: BeginJobs) -> None:
    one = announced(
        ["b", "a"],
        ["greet", 'say "hi", {x}'],
        host="pod-1",
        process_id=7,
        version="0.2.0",
        language="python 3.11.7",
        slots=32,
        busy=3,
        processes=2,
        uptime=HOUR,
    )
    await noted(begin, one)
    runner = await read(begin, one.runner_id)
    assert vars(runner) == {
        "id": one.runner_id,
        "state": ACTIVE,
        "host": "pod-1",
        "process_id": 7,
        "version": "0.2.0",
        "language": "python 3.11.7",
        "queues": ["b", "a"],
        "handlers": ["greet", 'say "hi", {x}'],
        "slots": 32,
        "busy": 3,
        "processes": 2,
        "started_at": runner.last_seen_at - HOUR,
        "last_seen_at": runner.last_seen_at,
        "announced_by": "",
    }


async def test_a_runner_of_an_earlier_release_is_known_by_its_queues_and_handlers(begin: BeginJobs) -> None:
    one = announced(["default"], ["greet"])
    await noted(begin, one)
    runner = await read(begin, one.runner_id)
    assert (runner.queues, runner.handlers, runner.slots, runner.version) == (["default"], ["greet"], 0, "")
    assert runner.started_at == runner.last_seen_at


async def test_the_last_announcement_counts_and_the_start_stays(begin: BeginJobs) -> None:
    one = announced(busy=1, uptime=HOUR, age=5 * SECOND)
    other = announced()
    await noted(begin, one, other)
    before = await read(begin, one.runner_id)
    await noted(begin, replace(one, busy=2, handlers=["a", "b"], uptime=2 * HOUR, age=2 * SECOND))
    after = await read(begin, one.runner_id)
    assert (after.busy, after.handlers, after.started_at) == (2, ["a", "b"], before.started_at)
    assert after.last_seen_at > before.last_seen_at
    assert (await read(begin, other.runner_id)).busy == 0


async def test_a_runner_belongs_to_the_caller_that_described_it_first(begin: BeginJobs) -> None:
    one, other = announced(announced_by="runner/a"), announced(announced_by="runner/b")
    foreign = replace(one, announced_by="runner/b", state=STOPPED, host="elsewhere")
    await noted(begin, one, other)
    async with begin() as work:
        left = await work.runners.note([foreign, replace(one, busy=1), replace(other, busy=2)])
        await work.commit()
    assert left == NotNoted(of_others={(one.runner_id, "runner/b")})
    mine = await read(begin, one.runner_id)
    assert (mine.state, mine.host, mine.busy, mine.announced_by) == (ACTIVE, "", 1, "runner/a")
    assert (await read(begin, other.runner_id)).busy == 2


async def test_without_authentication_any_caller_describes_any_runner(begin: BeginJobs) -> None:
    one = announced()
    await noted(begin, one)
    await noted(begin, replace(one, busy=1, announced_by="runner/a"))
    await noted(begin, replace(one, state=STOPPING))
    runner = await read(begin, one.runner_id)
    # The first that proves itself keeps it.
    assert (runner.state, runner.announced_by) == (STOPPING, "runner/a")


async def test_of_two_callers_that_describe_a_new_runner_at_once_the_first_has_it(begin: BeginJobs) -> None:
    one = announced(announced_by="runner/b", age=2 * SECOND)
    async with begin() as work:
        await work.runners.note([one, replace(one, announced_by="runner/a", age=SECOND)])
        await work.commit()
    assert (await read(begin, one.runner_id)).announced_by == "runner/b"


async def test_an_announcement_that_comes_late_leaves_the_time_and_the_state(begin: BeginJobs) -> None:
    one = announced(state=STOPPING)
    await noted(begin, one)
    before = await read(begin, one.runner_id)
    await noted(begin, replace(one, state=ACTIVE, age=HOUR))
    after = await read(begin, one.runner_id)
    assert (after.state, after.last_seen_at) == (STOPPING, before.last_seen_at)


@pytest.mark.parametrize(
    ("announced_state", "seconds", "state"),
    [
        (ACTIVE, 29, ACTIVE),
        (ACTIVE, 31, LOST),
        (STOPPING, 29, STOPPING),
        (STOPPING, 31, LOST),
        (STOPPED, 29, STOPPED),
        (STOPPED, 31, STOPPED),
    ],
)
async def test_a_runner_that_was_not_seen_for_half_a_minute_is_lost_unless_it_said_that_it_ends(
    begin: BeginJobs, announced_state: RunnerState, seconds: int, state: RunnerState
) -> None:
    one = announced(state=announced_state, age=seconds * SECOND)
    await noted(begin, one)
    assert (await read(begin, one.runner_id)).state is state
    assert await listed(begin, f"state = {state.name}") == [one.runner_id]
    assert await listed(begin, f"state != {state.name}") == []


async def test_runners_are_found_by_queue_handler_host_and_version(begin: BeginJobs) -> None:
    one = announced(["a", "b"], ["x", "y"], host="p1", version="1")
    two = announced(["b"], ["y"], host="p2", version="2")
    await noted(begin, one, two)
    for filter, found in {
        "queues:a": [one],
        "queues:b": [one, two],
        "queues:c": [],
        "queues:*": [one, two],
        "NOT handlers:*": [],
        "NOT queues:a": [two],
        "handlers:y AND -handlers:x": [two],
        'handlers:"x"': [one],
        "host = p*": [one, two],
        'version = "2"': [two],
        f'id = "{one.runner_id}"': [one],
        f'id = "{str(one.runner_id)[:35]}*" AND queues:a': [one],
        "last_seen_at > 2020-01-01T00:00:00Z": [one, two],
    }.items():
        assert await listed(begin, filter) == [each.runner_id for each in found], filter


async def test_runners_are_listed_by_host_and_start_page_by_page(begin: BeginJobs) -> None:
    ones = [announced(host=host, uptime=hours * HOUR) for host in ("p2", "p1") for hours in (1, 2)]
    await noted(begin, *ones)
    expected = [ones[3].runner_id, ones[2].runner_id, ones[1].runner_id, ones[0].runner_id]
    assert await listed(begin, page_size=1) == expected
    assert await listed(begin, order_by="host desc, started_at desc", page_size=3) == expected[::-1]


async def test_active_runners_are_counted_by_queue(begin: BeginJobs) -> None:
    async with begin() as work:
        assert await work.runners.active() == ({}, 0)
    await noted(
        begin,
        announced(["a", "b", "a"]),
        announced(["b"]),
        announced([]),
        announced(["c"], state=STOPPING),
        announced(["c"], state=STOPPED),
        announced(["c"], age=HOUR),
        announced([], age=HOUR),
    )
    async with begin() as work:
        by_queue, anywhere = await work.runners.active()
        stats = with_runners(await work.jobs.stats(["a", "b", "c"]), by_queue, anywhere)
    assert (dict(by_queue), anywhere) == ({"a": 1, "b": 2}, 1)
    assert {one.queue: one.runners for one in stats} == {"a": 2, "b": 3, "c": 1}


async def test_no_more_runners_are_stored_than_the_limit_but_known_ones_are_noted(begin: BeginJobs) -> None:
    ones = sorted((announced() for _ in range(3)), key=lambda one: one.runner_id)
    await noted(begin, *ones, most=2)
    assert sorted(await listed(begin)) == [one.runner_id for one in ones[:2]]
    await noted(begin, announced(), replace(ones[0], busy=5), most=2)
    assert len(await listed(begin)) == 2
    assert (await read(begin, ones[0].runner_id)).busy == 5


async def test_runners_that_are_gone_are_deleted_after_a_while(begin: BeginJobs) -> None:
    kept = [
        announced(),
        announced(state=STOPPING),
        announced(state=STOPPED, age=0.9 * HOUR),
        announced(age=0.9 * DAY),
    ]
    gone = [announced(state=STOPPED, age=1.1 * HOUR), announced(age=1.1 * DAY), announced(state=STOPPING, age=2 * DAY)]
    await noted(begin, *kept, *gone)
    async with begin() as work:
        assert await work.runners.delete_gone(Gone()) == 3
        assert await work.runners.delete_gone(Gone()) == 0
        await work.commit()
    assert sorted(await listed(begin)) == sorted(one.runner_id for one in kept)


async def test_of_runners_that_are_gone_only_the_last_seen_are_kept(begin: BeginJobs) -> None:
    active = [announced() for _ in range(3)]
    gone = [announced(age=minutes * timedelta(minutes=1)) for minutes in (4, 1, 3)] + [announced(state=STOPPED)]
    await noted(begin, *active, *gone)
    async with begin() as work:
        assert await work.runners.delete_gone(Gone(count=2)) == 2
        await work.commit()
    assert sorted(await listed(begin)) == sorted(one.runner_id for one in (*active, gone[1], gone[3]))


async def test_an_unknown_runner_is_none(begin: BeginJobs) -> None:
    async with begin() as work:
        assert await work.runners.get(uuid7()) is None
