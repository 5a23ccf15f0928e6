"""What follows from what runners say, and how it is stored apart from their calls."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import structlog
from typing_extensions import override
from uuid_utils.compat import uuid7

from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1 import runner_pb2
from services.jobs.background import announcements
from services.jobs.background.announcements import StoredAnnouncements
from services.jobs.rpc.runner_convert import announcement
from services.jobs.rules.entities import QueueStats
from services.jobs.rules.job_types import Priority
from services.jobs.rules.runners import (
    RUNNERS_MAX,
    Announcement,
    RunnerState,
    belongs_to,
    newer,
    state_at,
    with_runners,
)
from services.jobs.store.runners.memory import MemoryRunners
from services.jobs.usecases.ports import NotNoted
from services.kit.auth.principal import Kind, Principal
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import DatabaseUnavailable

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ACTIVE, STOPPING, STOPPED, LOST = RunnerState


def announced(runner_id: UUID | None = None, state: RunnerState = ACTIVE, busy: int = 0) -> Announcement:
    return Announcement(runner_id=runner_id or uuid7(), queues=["default"], handlers=["a"], state=state, busy=busy)


@pytest.mark.parametrize(
    ("said", "seconds", "state"),
    [
        (ACTIVE, 0, ACTIVE),
        (ACTIVE, 29.9, ACTIVE),
        (ACTIVE, 30, LOST),
        (STOPPING, 29.9, STOPPING),
        (STOPPING, 30, LOST),
        (STOPPED, 0, STOPPED),
        (STOPPED, 1e6, STOPPED),
    ],
)
def test_the_state_of_a_runner_follows_from_what_it_said_and_when(
    said: RunnerState, seconds: float, state: RunnerState
) -> None:
    assert state_at(said, NOW - seconds * SECOND, NOW) is state


def test_an_announcement_that_was_overtaken_takes_no_state_back() -> None:
    first, last = announced(), announced(state=STOPPED)
    assert newer(None, first) == first
    assert newer(first, last) == last
    assert newer(last, first) == last


def test_each_queue_has_its_runners_and_those_that_take_from_any() -> None:
    stats = [
        QueueStats(
            queue=queue,
            priority=Priority.HIGH,
            waiting=0,
            dispatched=0,
            running=0,
            paused=False,
            scheduled=0,
            oldest_age=None,
            submitted_per_second=0,
            completed_per_second=0,
        )
        for queue in ("a", "b")
    ]
    assert [one.runners for one in with_runners(stats, {"a": 2, "c": 5}, 1)] == [3, 1]
    assert [one.runners for one in with_runners(stats, {}, 0)] == [0, 0]


def test_what_no_column_can_hold_is_replaced_in_what_a_runner_says() -> None:
    request = pb.ClaimJobsRequest(runner_id=str(uuid7()), handlers=["a\0b"], queues=["c\0"])
    said = announcement(request)
    assert (said.handlers, said.queues) == (["a\ufffdb"], ["c\ufffd"])


@pytest.mark.parametrize(
    ("announced_by", "caller", "is_own"),
    [("runner/a", "runner/a", True), ("runner/a", "runner/b", False), ("", "runner/b", True), ("runner/a", "", True)],
    ids=["the same caller", "another caller", "described without authentication", "without authentication now"],
)
def test_a_runner_belongs_to_the_first_caller_that_proved_itself(announced_by: str, caller: str, is_own: bool) -> None:
    assert belongs_to(announced_by, caller) is is_own


def test_an_announcement_is_that_of_its_caller() -> None:
    request = pb.ClaimJobsRequest(runner_id=str(uuid7()))
    assert announcement(request).announced_by == ""
    assert announcement(request, Principal(kind=Kind.RUNNER, name="images")).announced_by == "runner/images"


@pytest.mark.parametrize("number", [0, 1, 4, 99])
def test_a_state_that_no_runner_announces_means_active(number: int) -> None:
    info = runner_pb2.RunnerInfo.FromString(bytes([9 << 3, number]))
    assert announcement(pb.ClaimJobsRequest(runner_id=str(uuid7()), info=info)).state is ACTIVE


class RunnersForTests(MemoryRunners):
    """Runners some of whose rows are locked or can't be stored, in a database that may be unavailable."""

    def __init__(self) -> None:
        super().__init__(MemoryTransactions())
        self.transactions = self._transactions
        self.locked: set[UUID] = set()
        self.cursed: set[UUID] = set()
        self.available = True
        self.batches: list[int] = []

    @override
    async def note(self, announcements: Sequence[Announcement], most: int = RUNNERS_MAX) -> NotNoted:
        if not self.available:
            raise DatabaseUnavailable
        if any(one.runner_id in self.cursed for one in announcements):
            raise ValueError("a value that the database refuses")
        self.batches.append(len(announcements))
        noted = await super().note([one for one in announcements if one.runner_id not in self.locked], most)
        return replace(noted, locked={one.runner_id for one in announcements} & self.locked)

    async def known(self) -> dict[UUID, tuple[RunnerState, int]]:
        async with self.transactions.begin():
            return {one.id: (one.state, one.busy) for one in self._runners()}


@pytest.fixture
def runners() -> RunnersForTests:
    return RunnersForTests()


@pytest.fixture
def stored(runners: RunnersForTests) -> StoredAnnouncements:
    return StoredAnnouncements(runners.transactions, runners)


async def test_all_announcements_of_a_moment_are_stored_by_one_statement(
    runners: RunnersForTests, stored: StoredAnnouncements
) -> None:
    ones = [announced() for _ in range(100)]
    for one in ones:
        stored.put(one)
        stored.put(replace(one, busy=1))
    assert await stored.round() is False
    assert runners.batches == [100]
    assert await runners.known() == {one.runner_id: (ACTIVE, 1) for one in ones}


async def test_nothing_is_written_while_no_runner_says_anything(
    runners: RunnersForTests, stored: StoredAnnouncements
) -> None:
    assert await stored.round() is False
    assert runners.batches == []


async def test_many_announcements_are_stored_in_batches(runners: RunnersForTests, stored: StoredAnnouncements) -> None:
    for _ in range(1001):
        stored.put(announced())
    while await stored.round():
        pass
    assert runners.batches == [500, 500, 1]


async def test_announcements_of_runner_ids_that_are_made_up_in_a_loop_are_bounded(
    monkeypatch: pytest.MonkeyPatch, runners: RunnersForTests, stored: StoredAnnouncements
) -> None:
    monkeypatch.setattr(announcements, "_KEPT_MAX", 3)
    first = announced()
    for one in (first, *(announced() for _ in range(9)), replace(first, busy=1)):
        stored.put(one)
    await stored.round()
    assert runners.batches == [3]
    assert (await runners.known())[first.runner_id] == (ACTIVE, 1)


async def test_a_locked_runner_stops_only_itself_and_is_stored_when_its_row_is_free(
    runners: RunnersForTests, stored: StoredAnnouncements
) -> None:
    locked, other = announced(state=STOPPED), announced()
    runners.locked = {locked.runner_id}
    stored.put(locked)
    stored.put(other)
    await stored.round()
    assert list(await runners.known()) == [other.runner_id]
    stored.put(announced(locked.runner_id))
    runners.locked = set()
    await stored.round()
    assert (await runners.known())[locked.runner_id] == (STOPPED, 0)


async def test_an_announcement_that_cant_be_stored_stops_only_itself_and_is_logged(
    runners: RunnersForTests, stored: StoredAnnouncements
) -> None:
    ones = [announced() for _ in range(10)]
    runners.cursed = {ones[4].runner_id}
    for one in ones:
        stored.put(one)
    with structlog.testing.capture_logs() as lines:
        await stored.round()
        await stored.round()
    assert set(await runners.known()) == {one.runner_id for one in ones} - runners.cursed
    assert [(line["event"], line["runner_id"]) for line in lines if line["log_level"] == "error"] == [
        ("runner_not_noted", str(ones[4].runner_id))
    ]


async def test_what_a_caller_says_about_the_runner_of_another_is_ignored_and_logged(
    runners: RunnersForTests, stored: StoredAnnouncements
) -> None:
    """In whatever order they come: the last words of others replace nothing that waits."""
    one = replace(announced(busy=1), announced_by="runner/a")
    foreign = replace(one, state=STOPPED, announced_by="runner/b")
    stored.put(one)
    await stored.round()
    for first, second in ((replace(one, busy=2), foreign), (foreign, replace(one, busy=3))):
        stored.put(first)
        stored.put(second)
        with structlog.testing.capture_logs() as lines:
            await stored.round()
        assert [(line["event"], line["caller"]) for line in lines if line["log_level"] == "warning"] == [
            ("runner_of_another", "runner/b")
        ]
    assert await runners.known() == {one.runner_id: (ACTIVE, 3)}
    # Nothing of it waits to be tried again.
    runners.batches.clear()
    await stored.round()
    assert runners.batches == []


async def test_announcements_wait_for_a_database_that_is_unavailable_and_keep_their_time(
    monkeypatch: pytest.MonkeyPatch, runners: RunnersForTests, stored: StoredAnnouncements
) -> None:
    clock = _clock(monkeypatch)
    one = announced()
    stored.put(one)
    runners.available = False
    with pytest.raises(DatabaseUnavailable):
        await stored.round()
    runners.available = True
    clock(100)
    await stored.round()
    assert await runners.known() == {one.runner_id: (LOST, 0)}


def _clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    monkeypatch.setattr(announcements, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


async def test_the_last_words_are_stored_when_the_process_ends(
    runners: RunnersForTests, stored: StoredAnnouncements
) -> None:
    one = announced(state=STOPPED)
    stored.put(one)
    await stored.flush()
    assert await runners.known() == {one.runner_id: (STOPPED, 0)}
    runners.available = False
    stored.put(announced())
    with structlog.testing.capture_logs() as lines:
        await stored.flush()
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["runners_not_noted"]
