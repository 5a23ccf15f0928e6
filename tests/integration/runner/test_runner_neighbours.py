"""A problem with one job, or with the wallets service, does not harm other jobs."""

import asyncio
import time
from itertools import pairwise
from typing import Any, cast

import pytest
from grpc import aio

from innosystem.jobs.v1 import job_service_pb2_grpc
from tests.integration.runner.conftest import RunnerStack
from tests.integration.runner.fakes import FakeJobs
from tests.support.until import until


class Hanging(FakeJobs):
    """A replica that never finishes a renewal."""

    async def RenewLeases(self, request: Any, context: aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        await asyncio.Event().wait()


async def echo(input: Any) -> Any:
    return input


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time limits of calls, to keep the tests short."""
    monkeypatch.setattr("innosystem.runner.service_client._ATTEMPT_SECONDS", 0.5)
    monkeypatch.setattr("innosystem.runner.service_client._SUSPECT_SECONDS", 0.3, raising=False)


@pytest.mark.usefixtures("impatient")
async def test_results_beside_one_whose_row_is_locked_are_reported(world: RunnerStack) -> None:
    finish = asyncio.Event()

    async def work(_: Any) -> None:
        await finish.wait()

    world.registry.add("work", work)
    async with world.running():
        jobs = [await world.submit("work") for _ in range(20)]
        await until(lambda: all(job.lease_id for job in jobs))
        world.jobs.locked.add(jobs[7].job.id)
        # All results are in one batch.
        finish.set()
        await until(lambda: all(job.done for job in jobs if job is not jobs[7]))
        later = [await world.submit("work") for _ in range(20)]
        await until(lambda: all(job.done for job in later))
        assert not jobs[7].done
        world.jobs.locked.clear()
        await until(lambda: jobs[7].done)

    assert set(world.wallets.charged) == {f"job:{each}" for each in world.jobs.jobs}


@pytest.mark.usefixtures("impatient")
async def test_jobs_are_claimed_beside_one_whose_row_is_locked(world: RunnerStack) -> None:
    world.registry.add("echo", echo)
    bad = world.jobs.add("echo")
    jobs = [world.jobs.add("echo") for _ in range(20)]
    world.jobs.locked.add(bad.job.id)
    await world.redis.lpush(world.key(), jobs[0].job.id, bad.job.id, *(job.job.id for job in jobs[1:]))
    async with world.running() as runner:
        await until(lambda: all(job.done for job in jobs))
        later = await world.submit("echo", 1)
        await until(lambda: later.done)
        await until(lambda: not runner._in_hand.jobs)

    # The ID is left to the platform, and no run of the job has started.
    assert bad.completion is None
    assert await world.waiting() == 0


@pytest.mark.usefixtures("impatient")
async def test_a_claim_that_hangs_does_not_stop_the_runner(world: RunnerStack) -> None:
    world.registry.add("echo", echo)
    world.jobs.claiming.clear()
    async with world.running():
        job = await world.submit("echo", 1)
        await until(lambda: job.lease_id != "")
        claimed_as = job.lease_id
        world.jobs.claiming.set()
        await until(lambda: job.done)

    # A claim whose response was lost is repeated as the same claim.
    assert job.lease_id == claimed_as


@pytest.mark.slow
async def test_leases_beside_one_whose_row_is_locked_are_renewed(world: RunnerStack) -> None:
    finish = asyncio.Event()

    async def work(_: Any) -> None:
        await finish.wait()

    world.registry.add("work", work)
    async with world.running(runner_lease_seconds=6):
        jobs = [await world.submit("work") for _ in range(20)]
        await until(lambda: all(len(job.renewed_at) >= 1 for job in jobs))
        world.jobs.locked.add(jobs[7].job.id)
        locked_at, renewed = time.monotonic(), len(jobs[7].renewed_at)
        others = [job for job in jobs if job is not jobs[7]]
        await until(lambda: all(len(job.renewed_at) >= 4 for job in others))
        assert len(jobs[7].renewed_at) == renewed
        assert all(gap < 6 for job in others for gap in map(float.__sub__, job.renewed_at[1:], job.renewed_at))
        assert time.monotonic() - locked_at < 12
        world.jobs.locked.clear()
        await until(lambda: len(jobs[7].renewed_at) > renewed)
        finish.set()


@pytest.mark.slow
async def test_a_replica_that_hangs_keeps_no_lease_from_being_renewed(world: RunnerStack) -> None:
    finish = asyncio.Event()

    async def work(_: Any) -> None:
        await finish.wait()

    world.registry.add("work", work)
    healthy, hanging = world.addresses["jobs"], aio.server()
    replica: Hanging = cast("Any", Hanging)()
    replica.jobs = world.jobs.jobs
    job_service_pb2_grpc.add_JobServiceServicer_to_server(replica, hanging)
    port = hanging.add_insecure_port("127.0.0.1:0")
    await hanging.start()
    # The first of the addresses is the one that hangs.
    world.addresses["jobs"] = f"ipv4:127.0.0.1:{port},{healthy}"
    async with world.running(runner_lease_seconds=6):
        jobs = [await world.submit("work") for _ in range(20)]
        await until(lambda: all(len(job.renewed_at) >= 4 for job in jobs), limit_seconds=60)
        finish.set()
        await world.all_done()
    await hanging.stop(None)
    gaps = [after - before for job in jobs for before, after in pairwise(job.renewed_at)]
    assert max(gaps) < 6


@pytest.mark.parametrize("how", ["away", "silent"])
async def test_a_runner_continues_while_the_wallets_service_is_unavailable(world: RunnerStack, how: str) -> None:
    world.registry.add("echo", echo)
    if how == "away":
        world.wallets.outage.on = True
    else:
        world.wallets.responding.clear()
    jobs = [world.jobs.add("echo", number) for number in range(6000)]
    await world.redis.lpush(world.key(), *(job.job.id for job in jobs))
    async with world.running(runner_concurrency=200, runner_charge_seconds=1, runner_drain_seconds=5) as runner:
        await until(lambda: all(job.completion is not None for job in jobs), limit_seconds=60)
        # Jobs that the settler will charge are not kept.
        await until(lambda: not runner._in_hand.jobs)
        assert world.wallets.charged == {}
        world.wallets.outage.on = False
        world.wallets.responding.set()
        job = await world.submit("echo", 1)
        await until(lambda: job.done)
