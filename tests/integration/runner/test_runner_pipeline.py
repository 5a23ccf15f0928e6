"""Jobs pass from a real Redis through a runner to their settlement, despite outages."""

import asyncio
from typing import Any

import pytest
import structlog
from google.rpc import code_pb2
from redis.asyncio import Redis

from innosystem.client import new_id
from innosystem.jobs.v1 import job_type_pb2
from innosystem.runner import JobError, runs
from innosystem.runner.runner import Runner
from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.fakes import status
from tests.support.until import until


async def echo(input: Any) -> Any:
    return input


@pytest.fixture(autouse=True)
def handlers(world: RunnerStack) -> None:
    world.registry.add("echo", echo)


async def test_all_jobs_complete_and_each_is_charged_once(world: RunnerStack) -> None:
    jobs = [await world.submit("echo", {"n": n}, priority=n % 3) for n in range(500)]
    async with world.running():
        await world.all_done()

    assert [job.output for job in jobs] == [{"n": n} for n in range(500)]
    assert set(world.wallets.charged) == {f"job:{job.job.id}" for job in jobs}
    for job in jobs:
        assert job.settlement is not None
        assert job.settlement.transaction.id == world.wallets.charged[f"job:{job.job.id}"]
    assert await world.waiting() == 0


async def test_batches_form_by_themselves(world: RunnerStack) -> None:
    for n in range(500):
        await world.submit("echo", n)
    async with world.running(runner_concurrency=200):
        await world.all_done()

    assert world.jobs.batches["claim"] < 100
    assert world.jobs.batches["complete"] < 100
    assert world.wallets.batches < 100


async def test_higher_priorities_run_first(world: RunnerStack) -> None:
    order: list[int] = []

    async def note(input: int) -> None:
        order.append(input)

    world.registry.add("note", note)
    for n in range(30):
        await world.submit("note", n, priority=n % 3)
    async with world.running(runner_concurrency=1):
        await world.all_done()

    assert [n % 3 for n in order] == [0] * 10 + [1] * 10 + [2] * 10
    assert order == sorted(order, key=lambda n: (n % 3, n))


async def test_no_more_handlers_run_concurrently_than_the_settings_allow(world: RunnerStack) -> None:
    running, most = 0, 0

    async def count(input: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    world.registry.add("count", count)
    for _ in range(100):
        await world.submit("count")
    async with world.running(runner_concurrency=7):
        await world.all_done()

    assert most == 7


async def test_a_handler_that_raises_fails_its_job_which_is_not_charged(world: RunnerStack) -> None:
    async def fail(input: Any) -> None:
        raise JobError("no such picture", type="NOT_THERE", retryable=False)

    world.registry.add("fail", fail)
    job = await world.submit("fail")
    async with world.running():
        await world.all_done()

    assert (job.error.type, job.error.message) == ("NOT_THERE", "no such picture")
    assert not job.error.retryable
    assert world.wallets.charged == {}


async def test_a_customer_without_funds_has_the_charge_declined(world: RunnerStack) -> None:
    poor = str(new_id())
    world.wallets.poor.add(poor)
    declined = await world.submit("echo", customer_id=poor)
    paid = await world.submit("echo")
    async with world.running():
        await world.all_done()

    assert declined.settlement is not None
    assert declined.settlement.declined.reason == "INSUFFICIENT_FUNDS"
    assert paid.settlement is not None
    assert paid.settlement.HasField("transaction")


@pytest.mark.parametrize(
    "poison",
    [{1, 2, 3}, "nul \x00 inside", 10**1000, "x" * (1024 * 1024 + 1), "\ud800"],
    ids=["not JSON", "nul", "refused by the server", "too large", "lone surrogate"],
)
async def test_a_poisoned_output_fails_alone(world: RunnerStack, poison: object) -> None:
    async def echo_unless_poison(input: Any) -> Any:
        return poison if input == "poison" else input

    world.registry.add("echo unless poison", echo_unless_poison)
    before = [await world.submit("echo unless poison", n) for n in range(10)]
    bad = await world.submit("echo unless poison", "poison")
    after = [await world.submit("echo unless poison", n) for n in range(10)]
    with structlog.testing.capture_logs() as lines:
        async with world.running():
            await world.all_done()

    assert bad.error.type in ("INVALID_OUTPUT_JSON", "OUTPUT_TOO_LARGE")
    assert [job.output for job in before + after] == [*range(10), *range(10)]
    assert f"job:{bad.job.id}" not in world.wallets.charged
    succeeded = {line["job_id"] for line in lines if line["event"] == "job_succeeded"}
    assert succeeded == {job.job.id for job in before + after}


async def test_a_job_that_a_runner_cannot_run_is_returned_for_others_and_not_failed(
    world: RunnerStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_REFUSED_SECONDS", 0.0)
    unknown = await world.submit("nobody.knows")
    webhook = await world.submit("echo", processor_type=job_type_pb2.PROCESSOR_TYPE_WEBHOOK)
    number = await world.submit("echo", processor_type=99)
    good = await world.submit("echo", 1)
    async with world.running():
        await until(lambda: all(job.not_served for job in (unknown, webhook, number)) and good.done)

    assert good.output == 1
    for job in (unknown, webhook, number):
        assert (job.completion, job.lease_id, job.job.attempt) == (None, "", 0)


async def test_a_runner_says_what_it_serves_when_it_claims_and_also_while_it_has_nothing_to_claim(
    world: RunnerStack,
) -> None:
    async def add(input: Any) -> Any:
        return input

    world.registry.add("add", add)
    async with world.running(runner_queues=("default", "night")):
        await until(lambda: bool(world.jobs.announced))
        await world.submit("add", 1)
        await world.all_done()
    said = (sorted(world.registry), ["default", "night"])
    for claims in (world.jobs.announced, world.jobs.claims):
        assert {(tuple(one.handlers), tuple(one.queues)) for one in claims} == {(tuple(said[0]), tuple(said[1]))}
    # What is claimed carries nothing that the service would have to write.
    assert [one.HasField("info") for one in world.jobs.claims] == [False]


async def test_garbage_strangers_and_duplicates_in_the_lists_do_no_harm(world: RunnerStack) -> None:
    await world.redis.lpush(world.key(), "garbage", b"\xff\xfe", "", str(new_id()))
    job = await world.submit("echo", 1)
    await world.redis.lpush(world.key(0), job.job.id, job.job.id)
    await world.redis.lpush(world.key(2), job.job.id.upper())
    async with world.running():
        await world.all_done()
        await until(lambda: job.job.attempt == 1)

    assert job.output == 1
    assert await world.waiting() == 0
    assert len(world.wallets.charged) == 1


async def test_deferred_jobs_are_claimed_in_a_further_call(world: RunnerStack) -> None:
    world.jobs.deferred_after = 3
    for n in range(20):
        await world.submit("echo", n)
    async with world.running():
        await world.all_done()

    assert len(world.wallets.charged) == 20


async def test_a_lost_claim_reply_is_asked_for_again_under_the_same_lease(world: RunnerStack) -> None:
    world.jobs.claim_replies_to_lose = 2
    job = await world.submit("echo", 1)
    async with world.running():
        await world.all_done()

    assert (job.output, job.job.attempt) == (1, 1)


async def test_a_lost_deduct_reply_does_not_charge_twice(world: RunnerStack) -> None:
    world.wallets.replies_to_lose = 2
    job = await world.submit("echo", 1)
    async with world.running():
        await world.all_done()

    assert job.settlement is not None
    assert job.settlement.transaction.id == world.wallets.charged[f"job:{job.job.id}"]


async def test_a_charge_that_failed_in_passing_is_made_again(world: RunnerStack) -> None:
    world.wallets.item_errors = [
        status(code_pb2.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        status(code_pb2.ABORTED, "CONCURRENT_UPDATE"),
    ]
    jobs = [await world.submit("echo", n) for n in range(3)]
    async with world.running():
        await world.all_done()

    assert all(job.settlement and job.settlement.HasField("transaction") for job in jobs)


async def test_a_lost_lease_is_not_charged(world: RunnerStack) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def hold(input: Any) -> None:
        entered.set()
        await go_on.wait()

    world.registry.add("hold", hold)
    job = await world.submit("hold")
    with structlog.testing.capture_logs() as lines:
        async with world.running():
            await entered.wait()
            job.lease_id = str(new_id())
            go_on.set()
            await until(lambda: any(line.get("reason") == "LEASE_LOST" for line in lines))

    assert job.completion is None
    assert world.wallets.charged == {}


async def test_a_temporary_outage_of_services_delays_jobs_and_is_logged_once(
    world: RunnerStack,
) -> None:
    world.jobs.outage.on = world.wallets.outage.on = True
    jobs = [await world.submit("echo", n) for n in range(50)]
    with structlog.testing.capture_logs() as lines:
        async with world.running(runner_charge_seconds=60):
            await until(lambda: "jobs" in [line.get("service") for line in lines])
            world.jobs.outage.on = False
            await until(lambda: "wallets" in [line.get("service") for line in lines])
            assert all(job.settlement is None for job in jobs)
            world.wallets.outage.on = False
            await world.all_done()

    assert len(world.wallets.charged) == 50
    changes = [(line["event"], line["service"]) for line in lines if "service" in line]
    assert sorted(changes) == [
        ("service_available", "jobs"),
        ("service_available", "wallets"),
        ("service_unavailable", "jobs"),
        ("service_unavailable", "wallets"),
    ]


async def test_a_jobs_service_that_is_restarted_is_found_again(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        world = RunnerStack(redis, redis_url)
        world.registry.add("echo", echo)
        wallets = await world.serve_wallets()
        jobs = await world.serve_jobs("127.0.0.1:0")
        async with world.running():
            await world.submit("echo", 1)
            await world.all_done()
            await jobs.stop(None)
            await world.submit("echo", 2)
            jobs = await world.serve_jobs(world.addresses["jobs"])
            await world.all_done()
        await jobs.stop(None)
        await wallets.stop(None)


async def test_a_redis_that_drops_its_connections_is_reconnected_to(world: RunnerStack) -> None:
    with structlog.testing.capture_logs() as lines:
        async with world.running():
            for n in range(1, 4):
                job = await world.submit("echo", n)
                await until(lambda job=job: job.done)  # type: ignore[misc]
                await world.drop_connections_of_runners()
                await until(lambda n=n: changes(lines).count("redis_available") == n)  # type: ignore[misc]

    assert changes(lines) == ["redis_unavailable", "redis_available"] * 3


def changes(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines if line["event"].startswith("redis_")]


async def test_draining_finishes_what_runs_and_gives_back_what_is_not_claimed(
    world: RunnerStack,
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def hold(input: Any) -> None:
        entered.set()
        await go_on.wait()

    world.registry.add("hold", hold)
    running = await world.submit("hold", priority=0)
    async with Runner.open(world.settings(), world.registry) as runner:
        # A single stop: a second one cuts the drain short.
        task = asyncio.create_task(runner.run())
        await entered.wait()
        world.jobs.outage.on = True
        waiting = [await world.submit("echo", n) for n in range(5)]
        await until(lambda: world.jobs.outage.refused_calls > 0)
        runner.stop()
        await world.has_waiting(len(waiting))
        world.jobs.outage.on = False
        go_on.set()
        assert await task

    assert running.done
    ids = await world.redis.lrange(world.key(), 0, -1)
    # In any order: what was taken in several polls comes back in several batches.
    assert sorted(ids) == sorted(job.job.id.encode() for job in waiting)
    assert all(not job.lease_id for job in waiting)
