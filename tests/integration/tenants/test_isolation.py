"""What a bound caller gets: of others nothing, in lists, pages, reuses of IDs, watches and counts."""

from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from innosystem.client import InnosystemError, error_from, error_from_status
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.jobs.v1 import job_type_service_pb2 as job_types
from innosystem.jobs.v1.runner_pb2 import RUNNER_STATE_ACTIVE, RUNNER_STATE_STOPPED, RunnerInfo
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from services.jobs.rules.holds import Reservation
from services.kit.auth.principal import Kind, Principal
from services.kit.rpc.layers import authorization
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.refusals import reason_of
from tests.support.rpc.tenants import QUEUE_X, QUEUE_Y, Belongings, TenantsWorld
from tests.support.until import until_sync


@pytest.fixture
def a(world: TenantsWorld) -> JobsStack:
    """Return the services as the application of A sees them."""
    return world.as_caller("client/a")


@pytest.fixture
def runner(world: TenantsWorld) -> JobsStack:
    """Return the services as a runner of A's queue sees them."""
    return world.as_caller("runner/x")


def refusal(method: Any, request: Any) -> InnosystemError:
    with pytest.raises(grpc.RpcError) as caught:
        method(request)
    error = error_from(caught.value)
    assert error is not None
    return error


def all_pages(method: Any, request: Any, field: str) -> list[Any]:
    found: list[Any] = []
    while True:
        response = method(request)
        found += getattr(response, field)
        if not response.next_page_token:
            return found
        request.page_token = response.next_page_token


def test_lists_have_what_belongs_to_the_caller_and_all_of_it(world: TenantsWorld, a: JobsStack) -> None:
    listed = all_pages(a.jobs.ListJobs, jobs.ListJobsRequest(page_size=7), "jobs")
    assert {one.customer_id for one in listed} == {world.a.customer_id}
    anyone = jobs.ListJobsRequest(filter=f'customer_id = "{world.a.customer_id}"', page_size=1000)
    assert [one.id for one in listed] == [one.id for one in world.anyone.jobs.ListJobs(anyone).jobs]
    holds = all_pages(a.wallets.ListHolds, wallets.ListHoldsRequest(page_size=7), "holds")
    assert {one.customer_id for one in holds} == {world.a.customer_id}
    assert len(holds) == len(listed)
    owned = all_pages(a.wallets.ListWallets, wallets.ListWalletsRequest(), "wallets")
    assert sorted((one.customer_id, one.currency) for one in owned) == [
        (world.a.customer_id, currency) for currency in ("EUR", "USD")
    ]


def test_a_caller_of_several_customers_gets_those_of_each(world: TenantsWorld) -> None:
    both = {world.a.customer_id, world.c.customer_id}
    stack = world.as_caller("client/ac")
    assert {one.customer_id for one in all_pages(stack.jobs.ListJobs, jobs.ListJobsRequest(), "jobs")} == both
    assert {one.customer_id for one in all_pages(stack.wallets.ListHolds, wallets.ListHoldsRequest(), "holds")} == both


@pytest.mark.parametrize("filter", ["NOT status = FAILED", 'labels.of != "x" OR status = PENDING', "priority = LOW"])
def test_no_filter_widens_a_list(world: TenantsWorld, a: JobsStack, filter: str) -> None:
    widened = f'{filter} OR customer_id = "{world.b.customer_id}" OR NOT id = "{uuid4()}"'
    listed = all_pages(a.jobs.ListJobs, jobs.ListJobsRequest(filter=widened), "jobs")
    assert {one.customer_id for one in listed} == {world.a.customer_id}


@pytest.mark.parametrize("other", ["client/b", "client/ac", "client/all"])
def test_a_page_token_of_another_caller_is_invalid(world: TenantsWorld, a: JobsStack, other: str) -> None:
    theirs = world.as_caller(other)
    lists: list[tuple[Any, Any, Any]] = [
        (a.jobs.ListJobs, theirs.jobs.ListJobs, jobs.ListJobsRequest(page_size=1)),
        (a.wallets.ListHolds, theirs.wallets.ListHolds, wallets.ListHoldsRequest(page_size=1)),
        (a.wallets.ListWallets, theirs.wallets.ListWallets, wallets.ListWalletsRequest(page_size=1)),
    ]
    for mine, method, request in lists:
        request.page_token = method(request).next_page_token
        assert request.page_token
        assert refusal(mine, request).reason == "INVALID_PAGE_TOKEN"


def test_a_filter_changes_only_jobs_of_the_caller(world: TenantsWorld) -> None:
    queue = f"cancelled-{uuid4()}"
    kind = world.anyone.job_type(queue=queue)
    mine, theirs = (world.anyone.job(customer_id=one.customer_id, job_type_id=kind.id).id for one in (world.a, world.b))
    request = jobs.BatchCancelJobsRequest(filter=jobs.JobFilter(filter=f"queue = {queue}"))
    results = world.as_caller("client/a").jobs.BatchCancelJobs(request).results
    assert [one.job.id for one in results] == [mine]
    assert world.anyone.get(theirs).status != world.anyone.get(mine).status


def submission(of: Belongings, job_id: str, **values: Any) -> jobs.CreateJobRequest:
    return jobs.CreateJobRequest(job_id=job_id, customer_id=of.customer_id, job_type_id=of.job_type_id, **values)


@pytest.mark.parametrize("of", ["pending", "charged", "failed"])
def test_the_id_of_a_job_of_others_is_refused_without_a_word_about_it(
    world: TenantsWorld, a: JobsStack, of: str
) -> None:
    job_id = getattr(world.b, of)
    single = refusal(a.jobs.CreateJob, submission(world.a, job_id))
    batch = jobs.BatchCreateJobsRequest(requests=[submission(world.a, job_id), submission(world.a, str(uuid4()))])
    refused, accepted = a.jobs.BatchCreateJobs(batch).results
    assert accepted.HasField("response")
    for error in (single, error_from_status(refused.error)):
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
        assert (error.metadata, error.violations) == ({"job_id": job_id}, [])


def test_the_id_of_a_hold_of_others_whose_job_is_not_stored_is_refused_alike(world: TenantsWorld, a: JobsStack) -> None:
    job_id = str(uuid4())
    # What a submission leaves that stops between its hold and its job.
    owner = UUID(world.b.customer_id)
    reservation = Reservation(
        job_id=UUID(job_id), customer_id=owner, currency="EUR", amount_cents=5, amount_cents_max=None
    )
    world.anyone.wallets.PlaceHold(
        wallets.PlaceHoldRequest(
            hold_id=str(reservation.hold_id),
            job_id=job_id,
            customer_id=world.b.customer_id,
            currency="EUR",
            amount_cents=5,
        )
    )
    error = refusal(a.jobs.CreateJob, submission(world.a, job_id))
    assert (error.reason, error.metadata) == ("JOB_NOT_FOUND", {"job_id": job_id})


def test_the_own_id_with_other_parameters_is_told_from_that(world: TenantsWorld, a: JobsStack) -> None:
    request = submission(world.a, world.a.pending, input_json='"another"')
    assert refusal(a.jobs.CreateJob, request).reason == "IDEMPOTENCY_KEY_REUSED"
    same = submission(world.a, world.a.pending, input_json='{"n": 1}', labels={"of": world.a.customer_id})
    assert a.jobs.CreateJob(same).replayed


def test_a_customer_of_others_is_refused_before_anything_is_reserved(world: TenantsWorld, a: JobsStack) -> None:
    before = world.anyone.wallet(world.b.customer_id)
    job_id = str(uuid4())
    error = refusal(a.jobs.CreateJob, submission(world.b, job_id))
    unknown = refusal(world.anyone.jobs.CreateJob, jobs.CreateJobRequest(customer_id=str(uuid4()), job_type="x"))
    assert (error.code, error.reason) == (unknown.code, unknown.reason)
    assert error.message == unknown.message.replace(unknown.metadata["customer_id"], world.b.customer_id)
    assert world.anyone.wallet(world.b.customer_id) == before


def test_jobs_that_others_keep_locked_are_not_found_at_once(world: TenantsWorld, a: JobsStack) -> None:
    request = jobs.BatchCancelJobsRequest(ids=jobs.JobIds(job_ids=[world.b.pending, world.nobody.pending]))
    foreign, absent = a.jobs.BatchCancelJobs(request).results
    assert foreign.error.message.replace(world.b.pending, "") == absent.error.message.replace(world.nobody.pending, "")


def test_a_runner_claims_and_ends_jobs_of_its_queue(world: TenantsWorld, runner: JobsStack) -> None:
    values = {"customer_id": world.a.customer_id, "job_type_id": world.a.job_type_id}
    mine, theirs = world.anyone.job(**values).id, world.b.pending
    lease_id = str(uuid4())
    claimed = runner.claim(mine, theirs, str(uuid4()), lease_id=lease_id)
    assert [one.job.id for one in claimed.jobs] == [mine]
    assert not claimed.deferred_job_ids
    [result] = runner.complete(jobs.JobCompletion(job_id=mine, lease_id=lease_id, output_json="1"))
    assert result.HasField("recorded")


def test_a_lease_of_another_queue_proves_nothing(world: TenantsWorld, runner: JobsStack) -> None:
    done = jobs.JobCompletion(job_id=world.b.running, lease_id=world.b.lease_id, output_json="1")
    [result] = runner.complete(done)
    assert error_from_status(result.error).reason == "JOB_NOT_FOUND"
    again = runner.claim(world.b.running, lease_id=world.b.lease_id)
    assert not again.jobs
    assert world.anyone.get(world.b.running).attempt == 1


def test_a_runner_that_describes_itself_with_queues_of_others_is_told(world: TenantsWorld, runner: JobsStack) -> None:
    request = jobs.ClaimJobsRequest(
        runner_id=str(uuid4()), lease_id=str(uuid4()), queues=[QUEUE_X, QUEUE_Y], handlers=["echo"]
    )
    error = refusal(runner.jobs.ClaimJobs, request)
    assert [one.field for one in error.violations] == ["queues"]
    assert QUEUE_Y in error.violations[0].description
    assert QUEUE_X not in error.violations[0].description


def test_a_runner_that_does_not_say_its_queues_takes_those_that_it_is_bound_to(
    world: TenantsWorld, runner: JobsStack
) -> None:
    request = jobs.GetRunnerRequest(runner_id=runner.announce(queues=[], handlers=["echo"]))
    until_sync(lambda: reason_of(lambda: world.anyone.jobs.GetRunner(request)) != "RUNNER_NOT_FOUND")
    assert list(world.anyone.jobs.GetRunner(request).runner.queues) == [QUEUE_X]


def test_a_runner_is_not_stopped_by_what_another_says_about_it(world: TenantsWorld, runner: JobsStack) -> None:
    request = jobs.GetRunnerRequest(runner_id=runner.announce(queues=[QUEUE_X]))
    until_sync(lambda: reason_of(lambda: world.anyone.jobs.GetRunner(request)) != "RUNNER_NOT_FOUND")
    stopped = RunnerInfo(state=RUNNER_STATE_STOPPED, host="elsewhere")
    world.as_caller("runner/all").announce(request.runner_id, queues=[QUEUE_X], info=stopped)
    runner.announce(request.runner_id, queues=[QUEUE_X], info=RunnerInfo(busy=7))
    until_sync(lambda: world.anyone.jobs.GetRunner(request).runner.busy == 7)
    known = world.anyone.jobs.GetRunner(request).runner
    assert (known.state, known.host) == (RUNNER_STATE_ACTIVE, "")


def test_a_runner_counts_its_queues_and_of_others_what_an_unused_queue_has(
    world: TenantsWorld, runner: JobsStack
) -> None:
    unused = f"unused-{uuid4()}"
    named = jobs.GetQueueStatsRequest(queues=[unused, QUEUE_Y, QUEUE_X])
    counted = runner.jobs.GetQueueStats(named).queues
    assert [one.queue for one in counted] == [name for name in sorted(named.queues) for _ in range(3)]
    by_queue = {name: [one for one in counted if one.queue == name] for name in named.queues}
    assert sum(one.waiting for one in by_queue[QUEUE_X]) > 0
    for one in by_queue[unused]:
        one.queue = QUEUE_Y
    assert by_queue[QUEUE_Y] == by_queue[unused]
    assert {one.queue for one in runner.jobs.GetQueueStats(jobs.GetQueueStatsRequest()).queues} == {QUEUE_X}


def test_a_watch_ends_soon_after_its_credentials(world: TenantsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorization, "STREAM_CHECK_SECONDS", 0.05)
    own = frozenset([UUID(world.a.customer_id)])
    waiting = world.anyone.job(customer_id=world.a.customer_id, job_type_id=world.a.job_type_id).id

    def watched(then: Principal | None) -> str:
        name = f"watcher-{uuid4()}"
        world.principals[name] = Principal(kind=Kind.CLIENT, name=name, customers=own, credential="token")
        states = world.as_caller(name).jobs.WatchJob(jobs.WatchJobRequest(job_id=waiting))
        assert next(states).job.id == waiting
        if then is None:
            del world.principals[name]
        else:
            world.principals[name] = then
        error = refusal(next, states)
        world.principals.pop(name, None)
        return error.reason

    assert watched(None) == "BAD_CREDENTIALS"
    assert watched(Principal(kind=Kind.CLIENT, name="b", customers=frozenset([uuid4()]))) == "DRAINING"
    assert watched(Principal(kind=Kind.RUNNER, name="b")) == "NOT_ALLOWED"


@pytest.mark.parametrize(
    ("endpoint", "values"), [("external_api", {}), ("webhook", {"signing_secret": "BILLING"})], ids=["call", "webhook"]
)
def test_bound_callers_do_not_see_where_endpoints_are(
    world: TenantsWorld, endpoint: str, values: dict[str, str]
) -> None:
    url = "https://billing.internal.example/charge"
    made = world.anyone.job_type(
        processor_type=f"PROCESSOR_TYPE_{endpoint.upper()}",
        processing_logic_id="",
        **{endpoint: {"url": url, **values}},
    )
    by_id = job_types.GetJobTypeRequest(id=made.id)
    by_filter = job_types.ListJobTypesRequest(filter=f'id = "{made.id}"')
    for name, shown in (("client/a", False), ("runner/x", False), ("client/all", True), ("operator/all", True)):
        caller = world.as_caller(name)
        seen = [caller.job_types.GetJobType(by_id).job_type]
        if not name.startswith("runner"):
            seen += caller.job_types.ListJobTypes(by_filter).job_types
        assert {one.name for one in seen} == {made.name}
        assert {any(field.name == endpoint for field, _ in one.ListFields()) for one in seen} == {shown}
        assert (url in str(seen)) is shown
