"""What each round of a chore does, on repositories in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from services.jobs.background import expiry, rescuer, retention, settler
from services.jobs.background.expiry import Expiry
from services.jobs.background.rescuer import Rescuer
from services.jobs.background.retention import Retention
from services.jobs.background.settler import Settler
from services.jobs.rules.entities import BillingStatus, Charge, Job, JobStatus
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.changes import Change, Failure
from services.jobs.rules.transitions.completion import Completion, Deduction, Settlement
from services.jobs.rules.transitions.deaths import DeathRules
from services.jobs.rules.transitions.leasing import Claim
from services.kit.auth.tenants import ALL_TENANTS, Tenants
from services.kit.data.errors import ConstraintViolated
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import DependencyUnavailable, DomainError, RowLocked
from tests.support.jobs_examples import MINUTE, NOW, new_job, new_job_type
from tests.support.jobs_usecases import run_service
from tests.support.jobs_work import (
    TRANSACTION,
    ChangesForTests,
    QueueForTests,
    WalletsForTests,
    memory_work,
)
from tests.support.until import until

AGO = -timedelta(seconds=1)
DEATHS = DeathRules(deaths_max=2)


def charged() -> float:
    """How many charges were counted."""
    labels = {"chore": "settler", "done": "charged"}
    return REGISTRY.get_sample_value("innosystem_jobs_housekeeping_jobs_total", labels) or 0


class Clock:
    """The time that passes for a process, as a test has it pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(rescuer, "monotonic", lambda: self.seconds)


class World:
    """A database in memory and all that looks after it."""

    def __init__(self, settle_after: timedelta = AGO) -> None:
        self.transactions = MemoryTransactions()
        self.work = memory_work(self.transactions)
        self.queue, self.changes, self.wallets = QueueForTests(), ChangesForTests(), WalletsForTests()
        self.runs = run_service(self.work, self.queue, self.changes, settle_after)
        self.rescuer = self.new_rescuer(grace=timedelta(0))
        self.expiry = Expiry(self.transactions, self.work.jobs, self.changes)
        self.settler = Settler(self.transactions, self.work.jobs, self.runs, self.wallets, settle_after=settle_after)

    def new_rescuer(self, *, grace: timedelta, every: timedelta = MINUTE) -> Rescuer:
        """Return the rescuer of a process that has just started."""
        return Rescuer(
            self.transactions, self.work.jobs, self.queue, self.changes, deaths=DEATHS, every=every, grace=grace
        )

    async def stored(self, **values: Any) -> UUID:
        async with self.transactions.begin():
            job_type = await self.work.job_types.create(new_job_type())
            job = new_job(job_type.id, **values)
            await self.work.jobs.create_many([job])
        return job.id

    async def claimed(self, job_id: UUID, lease: timedelta = AGO) -> UUID:
        lease_id = uuid7()
        await self.runs.claim(Claim([job_id], uuid7(), lease_id, lease, 1000), ALL_TENANTS)
        return lease_id

    async def succeeded(self, **values: Any) -> UUID:
        job_id = await self.stored(**values)
        lease_id = await self.claimed(job_id, MINUTE)
        await self.runs.complete([Completion(job_id=job_id, lease_id=lease_id, outcome=Payload("1", 0))], ALL_TENANTS)
        self.changes.job_ids.clear()
        return job_id

    async def released(self, job_id: UUID) -> None:
        """Has the time of a job come that is SCHEDULED."""
        async with self.transactions.begin() as transaction:
            rows = transaction._resource.tables["jobs"]
            if rows[job_id].status is JobStatus.SCHEDULED:
                rows[job_id] = replace(rows[job_id], run_at=datetime.now(UTC) + AGO)
            await self.work.jobs.release_scheduled(10)

    async def read(self, job_id: UUID) -> Job:
        async with self.transactions.begin():
            job = await self.work.jobs.get(job_id)
        assert job is not None
        return job


@pytest.fixture
def world() -> World:
    return World()


async def test_a_job_whose_lease_has_ended_waits_again_before_all_others(world: World) -> None:
    job_id = await world.stored()
    await world.claimed(job_id)
    world.changes.job_ids.clear()
    assert await world.rescuer.round() is False
    job = await world.read(job_id)
    assert (job.status, job.attempt, job.rescue_count) == (JobStatus.PENDING, 0, 1)
    assert [one.id for one in world.queue.first] == [job_id]
    assert world.changes.job_ids == [job_id]


async def test_a_job_whose_lease_lasts_is_left_however_long_it_takes(world: World) -> None:
    job_id = await world.stored()
    await world.claimed(job_id, MINUTE)
    await world.rescuer.round()
    assert (await world.read(job_id)).status is JobStatus.RUNNING
    assert world.queue.first == []


async def test_a_job_that_loses_its_runner_too_often_has_failed_and_costs_nothing(world: World) -> None:
    job_id = await world.stored()
    for _ in range(3):
        await world.claimed(job_id)
        await world.rescuer.round()
        await world.released(job_id)
    job = await world.read(job_id)
    assert (job.status, job.billing_status) == (JobStatus.FAILED, BillingStatus.RELEASED)
    assert (job.rescue_count, job.deaths) == (2, 2)
    assert job.error is not None
    assert job.error.type == "RUNNER_LOST"
    assert job.error.message.startswith("its runner was lost 3 times")
    assert world.changes.job_ids[-1] == job_id


async def test_a_job_that_loses_its_runner_again_waits_for_a_while(world: World) -> None:
    job_id = await world.stored()
    for _ in range(2):
        await world.claimed(job_id)
        await world.rescuer.round()
    job = await world.read(job_id)
    assert (job.status, job.rescue_count, job.dispatched_at) == (JobStatus.SCHEDULED, 2, None)
    assert [one.id for one in world.queue.first] == [job_id]
    assert DEATHS.wait / 2 <= min(world.queue.expected) <= DEATHS.wait * 1.5
    await world.released(job_id)
    assert (await world.read(job_id)).queued_at == job.queued_at


async def test_jobs_that_died_together_are_all_run_again_and_none_pays_for_it(world: World) -> None:
    job_ids = [await world.stored() for _ in range(8)]
    for _ in range(20):
        await world.runs.claim(Claim(job_ids, uuid7(), uuid7(), AGO, 10_000_000), ALL_TENANTS)
        await world.rescuer.round()
        for job_id in job_ids:
            await world.released(job_id)
    jobs = [await world.read(job_id) for job_id in job_ids]
    assert {(job.status, job.attempt, job.rescue_count, job.deaths) for job in jobs} == {(JobStatus.PENDING, 0, 20, 0)}


async def test_a_job_that_is_found_late_does_not_look_as_if_it_had_been_alone(world: World) -> None:
    runner, job_ids = uuid7(), [await world.stored() for _ in range(4)]
    for job_id, lease in zip(job_ids, (AGO, AGO, AGO, MINUTE), strict=True):
        await world.runs.claim(Claim([job_id], runner, uuid7(), lease, 10_000_000), ALL_TENANTS)
    await world.rescuer.round()
    async with world.transactions.begin() as transaction:
        rows = transaction._resource.tables["jobs"]
        rows[job_ids[3]] = replace(rows[job_ids[3]], lease_expires_at=datetime.now(UTC) + AGO)
    await world.rescuer.round()
    assert [(job.rescue_count, job.deaths) for job in [await world.read(job_id) for job_id in job_ids]] == [(1, 0)] * 4


async def test_jobs_of_one_runner_are_not_handed_over_beside_one_another(world: World) -> None:
    job_ids = [await world.stored() for _ in range(8)]
    await world.runs.claim(Claim(job_ids, uuid7(), uuid7(), AGO, 10_000_000), ALL_TENANTS)
    await world.rescuer.round()
    assert world.queue.first == []
    await until(lambda: len(world.queue.first) >= 8)
    assert sorted(one.id for one in world.queue.first) == sorted(job_ids)


@pytest.mark.parametrize("values", [{}, {"status": JobStatus.SCHEDULED, "run_at": NOW + MINUTE}])
async def test_a_job_that_was_not_started_in_its_time_is_cancelled(world: World, values: dict[str, Any]) -> None:
    job_id, other = await world.stored(expires_at=NOW, **values), await world.stored()
    await world.expiry.round()
    job = await world.read(job_id)
    assert (job.status, job.billing_status) == (JobStatus.CANCELLED, BillingStatus.RELEASED)
    assert job.error is not None
    assert job.error.type == "EXPIRED"
    assert world.changes.job_ids == [job_id]
    assert (await world.read(other)).status is JobStatus.PENDING


async def test_there_is_more_to_do_when_a_round_was_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "_BATCH", 2)
    monkeypatch.setattr(rescuer, "_BATCH", 2)
    for _ in range(3):
        await world.stored(expires_at=NOW)
    assert [await world.expiry.round() for _ in range(2)] == [True, False]
    for _ in range(3):
        await world.claimed(await world.stored())
    assert [await world.rescuer.round() for _ in range(2)] == [True, False]


async def test_a_charge_that_its_runner_has_not_made_is_made_under_the_key_of_the_job(world: World) -> None:
    job_id = await world.succeeded()
    assert await world.settler.round() is False
    [[charge]] = world.wallets.charged
    assert (charge.idempotency_key, charge.amount_cents) == (f"job:{job_id}", 5)
    job = await world.read(job_id)
    assert (job.billing_status, job.transaction_id) == (BillingStatus.CHARGED, TRANSACTION)
    assert world.changes.job_ids == [job_id]
    await world.settler.round()
    assert len(world.wallets.charged) == 1


async def test_a_charge_is_its_runners_for_a_while() -> None:
    world = World(MINUTE)
    await world.succeeded()
    await world.settler.round()
    assert world.wallets.charged == []


async def test_a_charge_that_was_declined_is_tried_again_until_there_are_funds(world: World) -> None:
    job_id = await world.succeeded()
    world.wallets.reason = "INSUFFICIENT_FUNDS"
    for _ in range(2):
        await world.settler.round()
        assert (await world.read(job_id)).billing_status is BillingStatus.DECLINED
    world.wallets.reason = ""
    await world.settler.round()
    assert (await world.read(job_id)).billing_status is BillingStatus.CHARGED


async def test_a_charge_that_no_money_cures_is_blocked_and_not_tried_again(world: World) -> None:
    job_id = await world.succeeded()
    world.wallets.reason = "WALLET_NOT_FOUND"
    for _ in range(2):
        await world.settler.round()
    assert (await world.read(job_id)).billing_status is BillingStatus.CHARGE_BLOCKED
    assert len(world.wallets.charged) == 1


async def test_what_is_not_known_is_tried_again_and_what_is_known_is_recorded(world: World) -> None:
    unknown, known = await world.succeeded(), await world.succeeded()
    world.wallets.unknown = {unknown}
    await world.settler.round()
    assert (await world.read(unknown)).billing_status is BillingStatus.CHARGE_DUE
    assert (await world.read(known)).billing_status is BillingStatus.CHARGED
    world.wallets.unknown = set()
    await world.settler.round()
    assert [charge.job_id for charge in world.wallets.charged[-1]] == [unknown]
    assert (await world.read(unknown)).billing_status is BillingStatus.CHARGED


async def test_no_transaction_is_open_while_the_ledger_is_asked(world: World) -> None:
    await world.succeeded()
    deduct = world.wallets.deduct

    async def asked(charges: Sequence[Charge]) -> list[Deduction | DomainError]:
        # In memory there is one transaction at a time: this would wait for ever.
        async with asyncio.timeout(5), world.transactions.begin():
            return await deduct(charges)

    world.wallets.deduct = asked  # type: ignore[method-assign] # the same, with a look at the transactions
    await world.settler.round()
    assert len(world.wallets.charged) == 1


async def test_more_charges_than_fit_a_round_are_made_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler, "_BATCH", 2)
    for _ in range(3):
        await world.succeeded()
    assert [await world.settler.round() for _ in range(2)] == [True, False]


async def test_jobs_that_are_over_for_long_are_deleted_and_others_are_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    charged = [await world.succeeded() for _ in range(3)]
    await world.settler.round()
    await world.settler.round()
    due, waiting = await world.succeeded(), await world.stored()
    young = Retention(world.transactions, world.work.jobs, age=MINUTE)
    old = Retention(world.transactions, world.work.jobs, age=AGO)
    assert await young.round() is False
    assert [await old.round() for _ in range(2)] == [True, False]
    async with world.transactions.begin():
        left = await world.work.jobs.get_many([*charged, due, waiting])
    assert left.keys() == {due, waiting}


async def test_after_the_start_runners_have_time_to_renew_before_anybody_is_rescued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, clock = World(), Clock(monkeypatch)
    job_id = await world.stored()
    await world.claimed(job_id)
    new = world.new_rescuer(grace=timedelta(seconds=10))
    for _ in range(9):
        await new.round()
        clock.seconds += 1
    assert (await world.read(job_id)).status is JobStatus.RUNNING
    clock.seconds += 1
    await new.round()
    assert (await world.read(job_id)).status is JobStatus.PENDING


async def test_after_rounds_were_missed_runners_have_time_to_renew_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    world, clock = World(), Clock(monkeypatch)
    new = world.new_rescuer(grace=timedelta(seconds=10), every=timedelta(seconds=2))
    await new.round()
    clock.seconds += 60
    job_id = await world.stored()
    await world.claimed(job_id)
    await new.round()
    assert (await world.read(job_id)).status is JobStatus.RUNNING
    for _ in range(5):
        clock.seconds += 2
        await new.round()
    assert (await world.read(job_id)).status is JobStatus.PENDING


async def failed(world: World) -> tuple[UUID, UUID]:
    """Return a job that ended without success and its hold."""
    hold_id = uuid7()
    job_id = await world.stored(billing_status=BillingStatus.HELD, hold_id=hold_id)
    lease_id = await world.claimed(job_id, MINUTE)
    failure = Failure(type="E", message="no", retryable=False)
    await world.runs.complete([Completion(job_id=job_id, lease_id=lease_id, outcome=failure)], ALL_TENANTS)
    return job_id, hold_id


async def test_the_settler_releases_the_holds_of_jobs_without_success_beside_its_charges(world: World) -> None:
    job_id, hold_id = await failed(world)
    paid = await world.succeeded()
    assert not await world.settler.round()
    assert world.wallets.released == [hold_id]
    assert (await world.read(job_id)).billing_status is BillingStatus.RELEASED
    assert (await world.read(paid)).billing_status is BillingStatus.CHARGED


async def test_a_release_whose_outcome_is_not_known_is_tried_again_and_holds_up_no_charge(world: World) -> None:
    job_id, hold_id = await failed(world)
    paid = await world.succeeded()
    world.wallets.unknown = {job_id}
    await world.settler.round()
    assert (await world.read(job_id)).billing_status is BillingStatus.RELEASE_DUE
    assert (await world.read(paid)).billing_status is BillingStatus.CHARGED
    world.wallets.unknown = set()
    await world.settler.round()
    assert world.wallets.released == [hold_id]
    assert (await world.read(job_id)).billing_status is BillingStatus.RELEASED


async def test_a_captured_hold_of_a_job_without_success_is_loud_and_stops_nothing(world: World) -> None:
    job_id, hold_id = await failed(world)
    paid = await world.succeeded()
    world.wallets.captured = {hold_id}
    with capture_logs() as logs:
        await world.settler.round()
    assert [one["hold_id"] for one in logs if one["log_level"] == "error"] == [str(hold_id)]
    assert (await world.read(job_id)).billing_status is BillingStatus.RELEASE_DUE
    assert (await world.read(paid)).billing_status is BillingStatus.CHARGED


async def test_when_nothing_gets_known_the_settler_says_so_and_so_waits(world: World) -> None:
    world.wallets.unknown = {await world.succeeded(), (await failed(world))[0]}
    with pytest.raises(DependencyUnavailable):
        await world.settler.round()


async def test_charges_that_fail_as_a_whole_hold_up_no_release(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: object) -> list[Deduction | DomainError]:
        raise KeyError("of a library")

    await world.succeeded()
    job_id, hold_id = await failed(world)
    monkeypatch.setattr(world.wallets, "deduct", broken)
    with pytest.raises(KeyError):
        await world.settler.round()
    assert world.wallets.released == [hold_id]
    assert (await world.read(job_id)).billing_status is BillingStatus.RELEASED


async def test_one_settlement_that_can_not_be_recorded_is_found_and_the_others_are_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = [await world.succeeded() for _ in range(9)]
    bad = paid[4]
    apply = world.work.jobs.apply

    async def refusing(changes: Sequence[Change]) -> None:
        if any(one.job_id == bad for one in changes):
            raise ConstraintViolated("of_a_later_release")
        await apply(changes)

    monkeypatch.setattr(world.work.jobs, "apply", refusing)
    with capture_logs() as logs:
        await world.settler.round()
    statuses = {job_id: (await world.read(job_id)).billing_status for job_id in paid}
    assert {job_id for job_id, status in statuses.items() if status is not BillingStatus.CHARGED} == {bad}
    assert [one["job_id"] for one in logs if one["event"] == "settlement_not_recorded"] == [str(bad)]


async def test_a_settlement_whose_job_is_locked_is_not_counted_as_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = [await world.succeeded() for _ in range(2)]
    settle = world.runs.settle

    async def locked(settlements: Sequence[Settlement], tenants: Tenants) -> list[BillingStatus | DomainError]:
        _, *others = settlements
        return [RowLocked(), *await settle(others, tenants)]

    monkeypatch.setattr(world.runs, "settle", locked)
    before = charged()
    with capture_logs() as logs:
        await world.settler.round()
    left = [job_id for job_id in paid if (await world.read(job_id)).billing_status is BillingStatus.CHARGE_DUE]
    assert len(left) == 1
    assert charged() == before + 1
    assert [one["job_id"] for one in logs if one["event"] == "settlement_not_recorded"] == [str(left[0])]


@pytest.mark.parametrize("chore", ["rescuer", "expiry", "retention"])
async def test_one_job_that_nothing_can_be_done_for_is_set_aside_and_the_others_are_not(
    chore: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"expires_at": NOW} if chore == "expiry" else {}
    jobs = [await (world.succeeded() if chore == "retention" else world.stored(**values)) for _ in range(9)]
    if chore == "rescuer":
        for job_id in jobs:
            await world.claimed(job_id)
    bad = jobs[3]
    done: set[UUID] = set()
    # What the chore changes jobs by.
    name = "delete_many" if chore == "retention" else "apply"
    change = getattr(world.work.jobs, name)

    async def refusing(changed: Sequence[Any]) -> Any:
        ids = {getattr(one, "job_id", one) for one in changed}
        if bad in ids:
            raise ConstraintViolated("of_a_later_release")
        done.update(ids)
        return await change(changed)

    monkeypatch.setattr(world.work.jobs, name, refusing)
    retaining = Retention(world.transactions, world.work.jobs, age=AGO)
    round_ = {"rescuer": world.rescuer.round, "expiry": world.expiry.round, "retention": retaining.round}[chore]
    if chore == "retention":
        await world.settler.round()
    with capture_logs() as logs:
        for _ in range(20):
            await round_()
    assert done == set(jobs) - {bad}
    assert [(one["of"], one["id"]) for one in logs if one["event"] == "set_aside"] == [(chore, str(bad))]
