"""The hold auditor: holds of jobs that never came are released, all others are left, and none is skipped."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from services.jobs.background.hold_auditor import HoldAuditor
from services.jobs.rules.entities import HOLD_IN_USE, BillingStatus
from services.jobs.rules.holds import Hold, HoldState, Reservation
from services.jobs.rules.transitions.completion import BillingChange
from services.kit.data.corrupt import understood
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import DataCorrupt
from tests.support.jobs_examples import new_job, new_job_type
from tests.support.jobs_work import WalletsForTests, memory_work

AGE = timedelta(minutes=10)
OLD = timedelta(minutes=11)


class World:
    """Jobs and holds, and who looks after them."""

    def __init__(self) -> None:
        self.transactions = MemoryTransactions()
        self.work = memory_work(self.transactions)
        self.wallets = WalletsForTests()
        self.auditor = HoldAuditor(self.transactions, self.work.jobs, self.work.progress, self.wallets, age=AGE)

    def hold(self, age: timedelta = OLD, **values: Any) -> Hold:
        """Place the hold of a job that does not exist."""
        wanted = Reservation(job_id=uuid7(), customer_id=uuid4(), currency="EUR", amount_cents=5)
        return self.wallets.hold(wanted, **{"created_at": datetime.now(UTC) - age, **values})

    async def job(self, hold: Hold, **values: Any) -> None:
        """Return the job of a hold."""
        async with self.transactions.begin():
            job_type = await self.work.job_types.create(new_job_type())
            held = {"billing_status": BillingStatus.HELD, "hold_id": hold.id, **values}
            await self.work.jobs.create_many([new_job(job_type.id, id=hold.job_id, **held)])

    async def spoil(self, hold: Hold) -> None:
        """Make a job look charged, as SettleJobs does for a caller that invents a transaction."""
        assert hold.job_id is not None
        async with self.transactions.begin():
            paid = BillingChange(job_id=hold.job_id, billing_status=BillingStatus.CHARGED, transaction_id=uuid4())
            await self.work.jobs.apply([paid])

    async def billing(self, hold: Hold) -> BillingStatus:
        """Return the billing status of a hold's job."""
        assert hold.job_id is not None
        async with self.transactions.begin():
            [job] = understood((await self.work.jobs.get_many([hold.job_id])).values())
        return job.billing_status

    async def done_until(self) -> datetime:
        async with self.transactions.begin():
            return (await self.work.progress.window(AGE))[0]


@pytest.fixture
def world() -> World:
    return World()


async def test_the_hold_of_a_job_that_never_came_is_released_when_it_is_old_enough(world: World) -> None:
    orphan, young = world.hold(), world.hold(AGE - timedelta(minutes=1))
    assert not await world.auditor.round()
    assert world.wallets.released == [orphan.id]
    assert world.wallets.holds[young.id].state is HoldState.ACTIVE


@pytest.mark.parametrize("billing", sorted(HOLD_IN_USE))
async def test_the_hold_of_a_job_that_may_need_it_stays(world: World, billing: BillingStatus) -> None:
    hold = world.hold()
    await world.job(hold, billing_status=billing)
    await world.auditor.round()
    assert world.wallets.released == []


@pytest.mark.parametrize("values", [{"hold_id": uuid4()}, {"billing_status": BillingStatus.RELEASED}])
async def test_a_hold_that_its_job_does_not_use_is_released(world: World, values: dict[str, Any]) -> None:
    hold = world.hold()
    await world.job(hold, **values)
    await world.auditor.round()
    assert world.wallets.released == [hold.id]


async def test_the_windows_of_rounds_follow_one_another_and_older_holds_are_looked_at_page_by_page(
    world: World,
) -> None:
    asked: list[tuple[datetime, datetime]] = []
    holds_of = world.wallets.active_holds

    async def noted(since: datetime, until: datetime) -> AsyncIterator[Sequence[Hold]]:
        asked.append((since, until))
        async for page in holds_of(since, until):
            yield page

    world.wallets.active_holds = noted  # type: ignore[method-assign] # the same, with a look at what is asked for
    first, second = world.hold(OLD + AGE), world.hold()
    for hold in (first, second):
        await world.job(hold)
    await world.auditor.round()
    [window, older] = asked
    assert window[1] <= datetime.now(UTC) - AGE
    assert older[1] == window[0]
    # There was none before the first window. From now on there are, and the second round begins with them.
    await world.auditor.round()
    assert asked[2][0] == window[1]
    await world.spoil(second)
    for _ in range(3):
        await world.auditor.round()
    assert await world.billing(second) is BillingStatus.CHARGE_DUE
    assert await world.billing(first) is BillingStatus.HELD


async def test_a_hold_that_can_not_be_released_hinders_no_other_and_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, bad, last = (world.hold(OLD + timedelta(minutes=minutes)) for minutes in (3, 2, 1))
    assert bad.job_id is not None
    world.wallets.unknown = {bad.job_id}
    await world.auditor.round()
    assert world.wallets.released == [first.id, last.id]
    assert await world.done_until() > last.created_at
    # What is left is stored, and so not lost with the process.
    again = HoldAuditor(world.transactions, world.work.jobs, world.work.progress, world.wallets, age=AGE)
    world.wallets.unknown = set()
    await again.round()
    assert bad.id not in world.wallets.released, "it has its wait first"
    later = datetime.now(UTC) + timedelta(minutes=2)
    monkeypatch.setattr(world.work.progress, "_now", lambda: later)
    await again.round()
    assert world.wallets.released == [first.id, last.id, bad.id]
    async with world.transactions.begin():
        assert await world.work.progress.count() == 0


async def test_a_hold_whose_job_came_after_all_is_not_tried_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = world.hold()
    assert hold.job_id is not None
    world.wallets.unknown = {hold.job_id}
    await world.auditor.round()
    await world.job(hold)
    world.wallets.unknown = set()
    later = datetime.now(UTC) + timedelta(minutes=2)
    monkeypatch.setattr(world.work.progress, "_now", lambda: later)
    await world.auditor.round()
    assert world.wallets.released == []
    async with world.transactions.begin():
        assert await world.work.progress.count() == 0


async def test_the_hold_of_a_job_that_is_not_understood_is_left_until_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, orphan = world.hold(), world.hold()
    assert hold.job_id is not None
    corrupt = DataCorrupt("jobs", str(hold.job_id), "billing_status", "CHARGE_LATER")

    async def get_many(_: object) -> dict[UUID | None, DataCorrupt]:
        return {hold.job_id: corrupt}

    monkeypatch.setattr(world.work.jobs, "get_many", get_many)
    await world.auditor.round()
    assert world.wallets.released == [orphan.id]
    async with world.transactions.begin():
        assert await world.work.progress.count() == 1


async def test_a_hold_that_was_captured_since_it_was_listed_stops_nothing(world: World) -> None:
    captured, orphan = world.hold(OLD + timedelta(minutes=1)), world.hold()
    world.wallets.captured = {captured.id}
    await world.auditor.round()
    assert world.wallets.released == [orphan.id]


@pytest.mark.parametrize("minutes", [-5, 5])
async def test_how_old_holds_are_is_told_by_the_ledgers_clock(world: World, minutes: int) -> None:
    world.wallets.ahead = ahead = timedelta(minutes=minutes)
    world.wallets.now = lambda: datetime.now(UTC) + ahead
    orphan, young = world.hold(OLD - ahead), world.hold(timedelta(minutes=9) - ahead)
    await world.auditor.round()
    assert world.wallets.released == [orphan.id]
    assert world.wallets.holds[young.id].state is HoldState.ACTIVE
