"""What submissions cost, and whose are refused."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.submission import Submission
from services.jobs.usecases.submission.limits import SubmissionLimits, UnfinishedJobs
from services.kit.auth.principal import ANYONE, Kind, Principal
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import RateLimited
from services.kit.limits.buckets import Buckets
from services.kit.limits.limits import Limits
from services.kit.limits.settings import LimitSettings
from services.kit.rates import CustomerLimits, Rate
from tests.support.jobs_examples import new_job, new_job_type
from tests.support.jobs_usecases import control_service
from tests.support.jobs_work import ChangesForTests, QueueForTests, memory_work

ADA, BOB = uuid4(), uuid4()
CLIENT = Principal(kind=Kind.CLIENT, name="web")


class Exceptions:
    """The limits of customers that differ."""

    def __init__(self) -> None:
        self.own: dict[UUID, CustomerLimits] = {}
        self.asked = 0

    async def limits(self, customer_ids: Collection[UUID]) -> Mapping[UUID, CustomerLimits]:
        self.asked += 1
        return self.own


def submissions(jobs: int, customer_id: UUID = ADA, input_json: str = "") -> list[Submission]:
    return [
        Submission(job_id=uuid4(), customer_id=customer_id, job_type="greet", input_json=input_json)
        for _ in range(jobs)
    ]


@pytest.fixture
def exceptions() -> Exceptions:
    return Exceptions()


@pytest.fixture
def unfinished() -> UnfinishedJobs:
    transactions = MemoryTransactions()
    return UnfinishedJobs(transactions, memory_work(transactions).jobs, lambda: 0.0)


@pytest.fixture
def limited(exceptions: Exceptions, unfinished: UnfinishedJobs) -> SubmissionLimits:
    settings = LimitSettings(customer_submissions="1/10", customer_input_bytes_per_day=100, client_submissions="1/30")
    return SubmissionLimits(Limits(settings, Buckets(clock=lambda: 0.0)), exceptions, unfinished)


async def refused(limited: SubmissionLimits, given: list[Submission], who: Principal = CLIENT) -> Mapping[UUID, Any]:
    return await limited.refused(given, who)


async def test_a_batch_costs_its_jobs(limited: SubmissionLimits) -> None:
    assert not await refused(limited, submissions(10))
    found = await refused(limited, submissions(1))
    assert (set(found), found[ADA].limit) == ({ADA}, "customer_submissions")


async def test_inputs_cost_their_bytes_and_not_their_characters(limited: SubmissionLimits) -> None:
    assert not await refused(limited, submissions(1, input_json="ü" * 50))
    assert (await refused(limited, submissions(1, input_json="1")))[ADA].limit == "customer_input_bytes_per_day"


async def test_only_the_customer_without_room_is_refused(limited: SubmissionLimits) -> None:
    assert not await refused(limited, submissions(10))
    assert (await refused(limited, [*submissions(1), *submissions(1, BOB)])).keys() == {ADA}


async def test_a_caller_beyond_its_own_limit_is_refused_as_a_whole(limited: SubmissionLimits) -> None:
    for _ in range(3):
        assert not await refused(limited, submissions(10, uuid4()))
    with pytest.raises(RateLimited) as caught:
        await refused(limited, submissions(1, BOB))
    assert caught.value.limit == "client_submissions"


async def test_limits_of_a_customer_replace_those_of_the_settings_as_soon_as_they_are_known(
    limited: SubmissionLimits, exceptions: Exceptions
) -> None:
    assert not await refused(limited, submissions(10))
    assert await refused(limited, submissions(1))
    exceptions.own[ADA] = CustomerLimits(submissions=Rate(1, 20))
    assert not await refused(limited, submissions(9))


async def test_a_look_at_the_limits_uses_nothing_up(limited: SubmissionLimits, unfinished: UnfinishedJobs) -> None:
    for _ in range(3):
        assert not await limited.refused(submissions(10), CLIENT, only_look=True)
    assert unfinished.of(ADA) == 0
    assert not await refused(limited, submissions(10))
    found = await limited.refused(submissions(1), CLIENT, only_look=True)
    assert found[ADA].limit == "customer_submissions"


async def test_nobody_is_asked_about_callers_that_have_no_limits(
    limited: SubmissionLimits, exceptions: Exceptions
) -> None:
    for who in (ANYONE, Principal(kind=Kind.SERVICE, name="settler")):
        assert not await refused(limited, submissions(1000), who)
    assert exceptions.asked == 0


async def test_at_its_number_of_unfinished_jobs_a_customer_submits_no_more(
    limited: SubmissionLimits, exceptions: Exceptions, unfinished: UnfinishedJobs
) -> None:
    exceptions.own = dict.fromkeys((ADA, BOB), CustomerLimits(jobs_waiting=3))
    unfinished.asked.set()
    await unfinished.round()
    assert not await refused(limited, [*submissions(2), *submissions(1, BOB)])
    assert not await refused(limited, submissions(2))
    found = await refused(limited, [*submissions(1), *submissions(1, BOB)])
    assert (set(found), found[ADA].limit, found[ADA].allowed) == ({ADA}, "customer_jobs_waiting", "3")
    # The next count sees that none of them is left.
    await unfinished.round()
    assert not await refused(limited, submissions(1))


async def test_a_refused_submission_costs_nothing_of_the_other_limits(
    limited: SubmissionLimits, exceptions: Exceptions, unfinished: UnfinishedJobs
) -> None:
    exceptions.own[ADA] = CustomerLimits(jobs_waiting=1)
    unfinished.asked.set()
    await unfinished.round()
    assert not await refused(limited, submissions(1))
    for _ in range(100):
        assert await refused(limited, submissions(10))
    exceptions.own.clear()
    assert not await refused(limited, submissions(9))


async def test_jobs_that_run_again_are_counted_as_submissions_and_only_as_far_as_they_would_run(
    exceptions: Exceptions,
) -> None:
    """Without this, cancelling and retrying a few jobs would run any number of them."""
    transactions = MemoryTransactions()
    work = memory_work(transactions)
    settings = LimitSettings(customer_submissions="1/3")
    limits = SubmissionLimits(
        Limits(settings, Buckets(clock=lambda: 0.0)), exceptions, UnfinishedJobs(transactions, work.jobs, lambda: 0.0)
    )
    control = control_service(work, QueueForTests(), ChangesForTests(), limits=limits)
    async with transactions.begin():
        job_type = await work.job_types.create(new_job_type())
        jobs = [new_job(job_type.id, customer_id=ADA) for _ in range(3)]
        await work.jobs.create_many(jobs)
    job_ids = [job.id for job in jobs]
    # They wait: nothing would run again, so nothing is counted.
    for _ in range(2):
        await control.retry(job_ids, ALL_TENANTS, caller=CLIENT)
    await control.cancel(job_ids, "", ALL_TENANTS)
    assert [type(one) for one in await control.retry(job_ids, ALL_TENANTS, caller=CLIENT)] == [Job] * 3
    await control.cancel(job_ids, "", ALL_TENANTS)
    assert [type(one) for one in await control.retry(job_ids, ALL_TENANTS, caller=CLIENT)] == [RateLimited] * 3
    async with transactions.begin():
        left = await work.jobs.get_many(job_ids)
    assert {job.status for job in left.values() if isinstance(job, Job)} == {JobStatus.CANCELLED}
