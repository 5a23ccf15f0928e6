"""What happens to reserved money when something dies: the rows about holds of the table in docs/reliability.md.

In each test a process dies at that very line, and its successor finds the hold. A hold ends once: with
its job, charged or not, or because no job came to it.
"""

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import grpc
import psycopg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from innosystem.jobs.v1.job_pb2 import Job
from innosystem.jobs.v1.job_service_pb2 import CancelJobRequest, CreateJobRequest, RetryJobRequest
from innosystem.jobs.v1.job_type_pb2 import JobType
from innosystem.jobs.v1.job_type_service_pb2 import GetJobTypeRequest, UpdateJobTypeRequest
from innosystem.wallets.v1.wallet_service_pb2 import DeductRequest, PlaceHoldRequest
from tests.chaos.support.arena import COST_CENTS, Arena, expect_death
from tests.chaos.support.books import HoldRow
from tests.chaos.support.commits import LossyWay
from tests.conftest import service_role
from tests.e2e.stack import refusal
from tests.support.until import until_sync

pytestmark = pytest.mark.slow

_CALL_SECONDS = 15
# So that the hold auditor comes while one waits. No test submits under it: there would be no time to store a job.
_SOON = {"JOBS_HOLD_ORPHAN_SECONDS": "3"}


def _die_before_the_insert(arena: Arena, request: CreateJobRequest) -> HoldRow:
    """Has the jobs service die when the money is reserved and the job is not stored; returns the hold."""
    jobs = arena.arm("jobs", "jobs.submit.before_insert")
    assert refusal(lambda: arena.stack.submit(request)) is not None
    expect_death(jobs)
    assert arena.row(request.job_id) == {}
    [hold] = arena.holds(request.job_id)
    assert (hold.state, hold.amount_cents) == ("ACTIVE", COST_CENTS)
    return hold


def _customer(arena: Arena, cents: int) -> str:
    customer_id = arena.stack.customer()
    arena.stack.wallet(customer_id, cents)
    return customer_id


def _change(arena: Arena, job_type: str, field: str, value: object) -> None:
    found = arena.stack.job_types.GetJobType(GetJobTypeRequest(name=job_type), timeout=_CALL_SECONDS).job_type
    changed = JobType(**{"id": found.id, field: value})  # type: ignore[arg-type] # the test's to get right
    request = UpdateJobTypeRequest(job_type=changed, update_mask=FieldMask(paths=[field]))
    arena.stack.job_types.UpdateJobType(request, timeout=_CALL_SECONDS)


def _cancel(arena: Arena, job_id: str) -> None:
    arena.stack.jobs.CancelJob(CancelJobRequest(job_id=job_id), timeout=_CALL_SECONDS)


def _retry(arena: Arena, job_id: str) -> Job:
    return arena.stack.jobs.RetryJob(RetryJobRequest(job_id=job_id), timeout=_CALL_SECONDS).job


def _expect_success_with(arena: Arena, hold: HoldRow) -> None:
    """Wait until the job of a hold is done, and look that it is this hold that paid for it, and the only one."""
    assert hold.job_id is not None
    arena.runner()
    arena.expect_success(hold.job_id)
    [captured] = arena.holds(hold.job_id)
    assert replace(captured, resolved_at=None) == replace(hold, state="CAPTURED")


# after PlaceHold, before the insert


def test_a_submission_whose_money_was_reserved_and_that_was_not_stored_goes_on_with_its_hold(arena: Arena) -> None:
    request = arena.request()
    hold = _die_before_the_insert(arena, request)

    arena.start("jobs")
    assert not arena.stack.jobs.CreateJob(request, timeout=_CALL_SECONDS).replayed
    assert arena.state(request.job_id) == ("PENDING", "HELD")
    _expect_success_with(arena, hold)


def test_the_price_that_was_reserved_first_counts_when_it_was_changed_before_the_job_was_stored(arena: Arena) -> None:
    job_type = arena.job_type()
    request = arena.request(job_type=job_type)
    hold = _die_before_the_insert(arena, request)

    arena.start("jobs")
    _change(arena, job_type, "standard_cost_cents", 10 * COST_CENTS)
    assert arena.stack.submit(request).estimated_cost_cents == COST_CENTS
    _expect_success_with(arena, hold)


def test_a_reserved_job_goes_on_when_the_rest_of_the_wallet_was_spent_meanwhile(arena: Arena) -> None:
    customer_id = _customer(arena, 3 * COST_CENTS)
    request = arena.request(customer_id=customer_id)
    hold = _die_before_the_insert(arena, request)

    arena.start("jobs")
    rest = DeductRequest(
        customer_id=customer_id, currency="EUR", amount_cents=2 * COST_CENTS, idempotency_key=str(uuid4())
    )
    arena.stack.wallets.Deduct(rest, timeout=_CALL_SECONDS)
    refused = refusal(lambda: arena.stack.submit(arena.request(customer_id=customer_id)))
    assert refused is not None
    assert refused.reason == "INSUFFICIENT_FUNDS"
    arena.stack.submit(request)
    _expect_success_with(arena, hold)


def test_a_reserved_job_whose_type_was_disabled_meanwhile_is_refused_and_its_money_released(arena: Arena) -> None:
    job_type = arena.job_type()
    request = arena.request(job_type=job_type)
    _die_before_the_insert(arena, request)

    arena.start("jobs")
    _change(arena, job_type, "enabled", False)
    refused = refusal(lambda: arena.stack.submit(request))
    assert refused is not None
    assert refused.reason == "JOB_TYPE_DISABLED"
    assert [hold.state for hold in arena.holds(request.job_id)] == ["ACTIVE"]

    arena.restart("jobs", **_SOON)
    arena.until_released(request.job_id)
    assert arena.row(request.job_id) == {}


def test_money_that_was_reserved_for_a_job_that_nobody_submits_again_is_released_by_the_hold_auditor(
    arena: Arena,
) -> None:
    customer_id = _customer(arena, COST_CENTS)
    request = arena.request(customer_id=customer_id)
    hold = _die_before_the_insert(arena, request)

    arena.start("jobs", **_SOON)
    released = arena.until_released(request.job_id)
    assert released.hold_id == hold.hold_id
    # The money is there for other jobs, and for this one as well, should it come after all.
    arena.restart("jobs")
    arena.stack.submit(request)
    arena.runner()
    arena.expect_success(request.job_id)
    assert [one.state for one in arena.holds(request.job_id)] == ["RELEASED", "CAPTURED"]


# in a retry, between PlaceHold and the update


def test_a_retry_whose_money_was_reserved_and_that_was_not_stored_goes_on_with_its_hold(arena: Arena) -> None:
    job_id = arena.submit()
    _cancel(arena, job_id)
    arena.until(job_id, "CANCELLED", "RELEASED")
    first = arena.until_released(job_id)

    jobs = arena.arm("jobs", "jobs.retry.before_update")
    assert refusal(lambda: _retry(arena, job_id)) is not None
    expect_death(jobs)
    assert arena.state(job_id) == ("CANCELLED", "RELEASED")
    [_, second] = arena.holds(job_id)
    assert (second.state, second.amount_cents) == ("ACTIVE", COST_CENTS)

    arena.start("jobs")
    _retry(arena, job_id)
    arena.runner()
    arena.expect_success(job_id)
    assert arena.holds(job_id)[0] == first
    assert [hold.hold_id for hold in arena.holds(job_id)] == [first.hold_id, second.hold_id]


# auditor, after the release, before its progress is stored


def test_a_hold_auditor_that_dies_after_a_release_is_followed_by_another(arena: Arena) -> None:
    job_id = str(uuid4())
    jobs = arena.arm("jobs", "jobs.auditor.before_progress", **_SOON)
    arena.stack.wallets.PlaceHold(
        PlaceHoldRequest(
            hold_id=str(uuid4()),
            job_id=job_id,
            customer_id=arena.customer(),
            currency="EUR",
            amount_cents=COST_CENTS,
        ),
        timeout=_CALL_SECONDS,
    )
    expect_death(jobs)
    released = arena.until_released(job_id)
    until = _audited_until(arena)

    arena.start("jobs", **_SOON)
    until_sync(lambda: _audited_until(arena) > until)
    assert arena.holds(job_id) == [released]


def _audited_until(arena: Arena) -> str:
    with psycopg.connect(arena.stack.database_urls["jobs"]) as connection:
        found = connection.execute("SELECT done_until FROM hold_audit").fetchone()
        return found[0].isoformat() if found else ""


# settler, before and after the release


@pytest.mark.parametrize(
    ("point", "state"), [("jobs.settler.before_release", "ACTIVE"), ("jobs.settler.after_release", "RELEASED")]
)
def test_a_settler_that_dies_at_a_release_is_followed_by_another(arena: Arena, point: str, state: str) -> None:
    jobs = arena.arm("jobs", point)
    job_id = arena.submit()
    _cancel(arena, job_id)

    expect_death(jobs)
    assert arena.state(job_id) == ("CANCELLED", "RELEASE_DUE")
    [hold] = arena.holds(job_id)
    assert hold.state == state

    arena.start("jobs")
    arena.until(job_id, "CANCELLED", "RELEASED")
    released = arena.until_released(job_id)
    assert released.hold_id == hold.hold_id
    # It was released once: what was released before the death was not touched again.
    assert state == "ACTIVE" or released == hold


# PlaceHold and ReleaseHold applied, reply lost


def test_money_that_was_reserved_without_an_answer_is_the_submissions_when_it_is_repeated(arena: Arena) -> None:
    wallets = arena.arm("wallets", "wallets.place_holds.before_reply")
    request = arena.request()

    refused = refusal(lambda: arena.stack.submit(request))
    expect_death(wallets)
    assert refused is not None
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert arena.row(request.job_id) == {}
    [hold] = arena.holds(request.job_id)
    assert hold.state == "ACTIVE"

    arena.start("wallets")
    until_sync(lambda: refusal(lambda: arena.stack.submit(request)) is None)
    _expect_success_with(arena, hold)


def test_a_release_that_was_made_and_not_answered_is_asked_for_again_and_made_once(arena: Arena) -> None:
    wallets = arena.arm("wallets", "wallets.release_holds.before_reply")
    job_id = arena.submit()
    _cancel(arena, job_id)

    expect_death(wallets)
    assert arena.state(job_id) == ("CANCELLED", "RELEASE_DUE")
    released = arena.until_released(job_id)

    arena.start("wallets")
    arena.until(job_id, "CANCELLED", "RELEASED")
    assert arena.holds(job_id) == [released]


# the insert is committed, and PostgreSQL's response is lost


def test_a_submission_whose_commit_was_not_answered_is_replayed_and_charged_once(arena: Arena) -> None:
    way = LossyWay(_socket(arena))
    with way.open():
        arena.restart("jobs", JOBS_DATABASE_URL=f"postgresql://{service_role('jobs')}@127.0.0.1:{way.port}/jobs")
        mark = str(uuid4())
        request = arena.request(mark=mark)
        way.lose_commit_of(mark)

        refused = refusal(lambda: arena.stack.submit(request))
        assert way.lost.is_set()
        assert refused is not None
        assert refused.code is grpc.StatusCode.UNAVAILABLE
        assert arena.state(request.job_id) == ("PENDING", "HELD")
        [hold] = arena.holds(request.job_id)
        assert hold.state == "ACTIVE"

        assert arena.stack.jobs.CreateJob(request, timeout=_CALL_SECONDS).replayed
        _expect_success_with(arena, hold)
        arena.restart("jobs")


def _socket(arena: Arena) -> Path:
    [host] = parse_qs(urlsplit(arena.stack.database_urls["jobs"]).query)["host"]
    return Path(host) / ".s.PGSQL.5432"
