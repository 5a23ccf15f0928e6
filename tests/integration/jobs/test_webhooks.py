"""Jobs that are posted to an endpoint: the result comes by a callback, and no runner holds them meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from google.protobuf.duration_pb2 import Duration

from innosystem.jobs.v1 import job_pb2, job_type_pb2, job_type_service_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from services.kit.charges.callbacks import Callback
from tests.support.rpc.jobs_stack import WEBHOOK, JobsStack, accepted, new_job_type
from tests.support.rpc.refusals import Refused, reason_of
from tests.support.rpc.servers import CALLBACK_TOKENS, CALLBACK_URL
from tests.support.until import until_sync

Expire = Callable[[str], None]

RUNNING, PENDING, SCHEDULED = job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_PENDING, job_pb2.JOB_STATUS_SCHEDULED
SUCCEEDED, FAILED = job_pb2.JOB_STATUS_SUCCEEDED, job_pb2.JOB_STATUS_FAILED


@pytest.fixture
def let_the_wait_end(database_url: str) -> Expire:
    """End the wait of a job for its callback, as time would."""

    def end(job_id: str) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "UPDATE jobs SET callback_expires_at = now() - interval '1 s',"
                " lease_expires_at = now() - interval '1 s' WHERE id = %s",
                [job_id],
            )

    return end


def callback(job_id: str, token: str, **outcome: Any) -> pb.CompleteWebhookJobRequest:
    return pb.CompleteWebhookJobRequest(job_id=job_id, callback_token=token, **(outcome or {"output_json": "[1]"}))


def failure(*, retryable: bool) -> job_pb2.JobError:
    return job_pb2.JobError(type="RenderFailed", message="no fonts", retryable=retryable)


def webhook_with(headers: dict[str, str]) -> job_type_pb2.Webhook:
    return job_type_pb2.Webhook(url="https://example.com/", signing_secret="hooks", headers=headers)


def webhook_type(world: JobsStack, **values: Any) -> str:
    # No failed job is due again while the tests of this module look for changes.
    retry_policy = job_type_pb2.RetryPolicy(initial_backoff=Duration(seconds=3600), max_backoff=Duration(seconds=3600))
    return world.job_type(**{**WEBHOOK, "retry_policy": retry_policy, **values}).name


def claim_again(world: JobsStack, job_id: str) -> pb.ClaimedJob:
    request = pb.ClaimJobsRequest(
        job_ids=[job_id], runner_id=str(uuid4()), lease_id=str(uuid4()), handlers=["innosystem.webhook"]
    )
    until_sync(lambda: world.get(job_id).status == PENDING)
    [claimed] = world.jobs.ClaimJobs(request).jobs
    return claimed


def test_a_claim_has_all_that_a_post_needs(world: JobsStack) -> None:
    webhook = job_type_pb2.Webhook(
        url="https://hooks.example.com/jobs?v=1",
        headers={"X-Tenant": "a", "Authorization": "Bearer {secret:hooks-token}"},
        signing_secret="hooks",
        callback_timeout=Duration(seconds=90),
    )
    job = world.job(job_type=webhook_type(world, webhook=webhook))
    claimed = claim_again(world, job.id)
    assert claimed.processing_logic_id == "innosystem.webhook"
    assert claimed.webhook.webhook == webhook
    assert claimed.webhook.callback_url == f"{CALLBACK_URL}/v1/jobs/{job.id}/callback"


@pytest.mark.parametrize("handlers", [[], ["echo"]], ids=["of the first release", "of other handlers"])
def test_a_runner_that_cannot_post_gets_no_such_job(world: JobsStack, handlers: list[str]) -> None:
    job = world.job(job_type=webhook_type(world))
    request = pb.ClaimJobsRequest(
        job_ids=[job.id], runner_id=str(uuid4()), lease_id=str(uuid4()), handlers=handlers, queues=["default"]
    )
    assert not world.jobs.ClaimJobs(request).jobs
    assert world.get(job.id).status == PENDING
    if not handlers:
        # Such a call describes the runner, which is stored a moment later.
        known = pb.GetRunnerRequest(runner_id=request.runner_id)
        until_sync(lambda: reason_of(partial(world.jobs.GetRunner, known)) != "RUNNER_NOT_FOUND")


def test_a_job_that_is_accepted_runs_without_a_runner_until_its_callback(world: JobsStack) -> None:
    job, lease_id, token = world.awaiting()
    waiting = world.get(job.id)
    assert waiting.status == RUNNING
    left = waiting.callback_expires_at.ToDatetime() - waiting.started_at.ToDatetime()
    assert timedelta(hours=1) <= left < timedelta(hours=1, minutes=1)
    renewal = pb.RenewLeasesRequest(runner_id=str(uuid4()), lease_ids=[lease_id], job_ids=[job.id])
    assert [one.job_id for one in world.jobs.RenewLeases(renewal).not_renewed] == [job.id]
    assert world.get(job.id).callback_expires_at == waiting.callback_expires_at
    assert world.jobs.CompleteWebhookJob(callback(job.id, token)).status == SUCCEEDED
    done = world.get(job.id)
    assert (done.status, done.output_json, done.attempt) == (SUCCEEDED, "[1]", 1)
    assert not done.HasField("callback_expires_at")


def test_the_settler_charges_a_job_that_was_called_back_without_delay(world: JobsStack) -> None:
    job, _, token = world.awaiting()
    world.jobs.CompleteWebhookJob(callback(job.id, token))
    assert world.get(job.id).billing_status == job_pb2.BILLING_STATUS_CHARGE_DUE
    world.settle()
    assert world.get(job.id).billing_status == job_pb2.BILLING_STATUS_CHARGED
    assert world.wallet(job.customer_id).current_balance_cents == 100_000 - 5


def test_a_callback_says_what_the_job_has_used(world: JobsStack) -> None:
    metering = job_type_pb2.Metering(unit="page", unit_price_micro_cents=2_000_000, max_cost_cents=50)
    job, _, token = world.awaiting(job_type=webhook_type(world, metering=metering))
    request = callback(job.id, token)
    request.usage_units = 7
    world.jobs.CompleteWebhookJob(request)
    done = world.get(job.id)
    assert (done.usage_units, done.cost_cents) == (7, 14)


def test_a_callback_may_be_faster_than_the_report_of_the_post(world: JobsStack) -> None:
    job, lease_id, token = world.posted()
    assert world.jobs.CompleteWebhookJob(callback(job.id, token)).status == SUCCEEDED
    for _ in range(2):
        [late] = world.complete(accepted(job.id, lease_id, token))
        assert late.recorded.status == SUCCEEDED
        assert not late.recorded.HasField("charge")
    [other] = world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=failure(retryable=True)))
    assert "LEASE_LOST" in str(other.error)
    assert world.get(job.id).output_json == "[1]"


@pytest.mark.parametrize("outcome", [{"output_json": "[1]"}, {"error": failure(retryable=False)}], ids=["ok", "failed"])
def test_a_repeated_callback_returns_the_same_and_another_one_is_refused(
    world: JobsStack, refused: Refused, outcome: dict[str, Any]
) -> None:
    job, _, token = world.awaiting()
    first = world.jobs.CompleteWebhookJob(callback(job.id, token, **outcome))
    state = world.get(job.id)
    assert world.jobs.CompleteWebhookJob(callback(job.id, token, **outcome)) == first
    refused(world.jobs.CompleteWebhookJob, callback(job.id, token, output_json="[2]"), "LEASE_LOST")
    assert world.get(job.id) == state


def test_a_repeated_report_of_the_post_is_recorded_once(world: JobsStack) -> None:
    job, lease_id, token = world.awaiting()
    state = world.get(job.id)
    [again] = world.complete(accepted(job.id, lease_id, token))
    assert again.recorded.status == RUNNING
    assert world.get(job.id) == state


def test_a_callback_that_fails_uses_up_an_attempt_and_its_token(world: JobsStack, refused: Refused) -> None:
    job, _, token = world.awaiting(job_type=webhook_type(world, max_attempts=2))
    failed = callback(job.id, token, error=failure(retryable=True))
    assert world.jobs.CompleteWebhookJob(failed).status == SCHEDULED
    error = world.get(job.id).error
    assert (error.type, error.message, error.attempt) == ("RenderFailed", "no fonts", 1)
    refused(world.jobs.CompleteWebhookJob, callback(job.id, token), "LEASE_LOST")


def test_a_token_of_an_earlier_attempt_is_refused_while_a_later_one_runs(
    world: JobsStack, refused: Refused, database_url: str
) -> None:
    job, _, first = world.awaiting(job_type=webhook_type(world, max_attempts=2))
    world.jobs.CompleteWebhookJob(callback(job.id, first, error=failure(retryable=True)))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE jobs SET status = 'PENDING', dispatched_at = now() WHERE id = %s", [job.id])
    second = claim_again(world, job.id).webhook.callback_token
    refused(world.jobs.CompleteWebhookJob, callback(job.id, first), "LEASE_LOST")
    assert world.jobs.CompleteWebhookJob(callback(job.id, second)).status == SUCCEEDED


def test_a_job_whose_runner_is_lost_after_the_post_is_posted_again_under_the_same_attempt(
    world: JobsStack, refused: Refused
) -> None:
    job, lease_id, first = world.posted()
    world.jobs.ReturnJobs(pb.ReturnJobsRequest(returns=[pb.JobReturn(job_id=job.id, lease_id=lease_id)]))
    error = refused(world.jobs.CompleteWebhookJob, callback(job.id, first), "DEPENDENCY_UNAVAILABLE")
    assert error.metadata["dependency"] == "runner"
    assert claim_again(world, job.id).job.attempt == 1
    # An endpoint that takes the second POST for a repetition has the first token.
    assert world.jobs.CompleteWebhookJob(callback(job.id, first)).status == SUCCEEDED


def test_wrong_tokens_get_the_same_refusal_whatever_is_wrong(world: JobsStack, refused: Refused) -> None:
    job, _, token = world.awaiting()
    other, _, of_other = world.awaiting()
    old = CALLBACK_TOKENS.token(Callback(UUID(job.id), 0, 1, timedelta(0)), timedelta(seconds=-10))
    nobody = str(uuid4())
    ghost = CALLBACK_TOKENS.token(Callback(UUID(nobody), 0, 1, timedelta(0)), timedelta(hours=1))
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    requests = [
        callback(job.id, of_other),
        callback(job.id, old),
        callback(job.id, forged[:-4] + "AAAA"),
        callback(job.id, "x"),
        callback(job.id, "ä"),
        callback(nobody, token),
        callback(nobody, ghost),
    ]
    errors = [refused(world.jobs.CompleteWebhookJob, one, "BAD_CREDENTIALS") for one in requests]
    assert len({(one.message, str(one.metadata)) for one in errors}) == 1
    assert world.get(job.id).status == world.get(other.id).status == RUNNING


def test_a_job_that_waits_for_its_callback_can_be_cancelled(world: JobsStack, refused: Refused) -> None:
    job, _, token = world.awaiting()
    cancelled = world.jobs.CancelJob(pb.CancelJobRequest(job_id=job.id)).job
    assert cancelled.status == job_pb2.JOB_STATUS_CANCELLED
    assert not cancelled.HasField("callback_expires_at")
    refused(world.jobs.CompleteWebhookJob, callback(job.id, token), "LEASE_LOST")


def test_no_callback_in_time_is_a_failed_attempt_and_no_lost_runner(
    world: JobsStack, refused: Refused, let_the_wait_end: Expire
) -> None:
    job, _, token = world.awaiting(job_type=webhook_type(world, max_attempts=2))
    world.end_waits()
    assert world.get(job.id).status == RUNNING
    let_the_wait_end(job.id)
    world.end_waits()
    after = world.get(job.id)
    assert (after.status, after.attempt, after.rescue_count) == (SCHEDULED, 1, 0)
    assert (after.error.type, after.error.retryable) == ("WEBHOOK_TIMEOUT", True)
    wait = after.run_at.ToDatetime() - after.error.at.ToDatetime()
    assert timedelta(hours=0.8) <= wait <= timedelta(hours=1.2)
    refused(world.jobs.CompleteWebhookJob, callback(job.id, token), "LEASE_LOST")


def test_no_callback_to_the_last_attempt_fails_the_job_and_releases_its_hold(
    world: JobsStack, let_the_wait_end: Expire
) -> None:
    job, _, _ = world.awaiting()
    let_the_wait_end(job.id)
    world.end_waits()
    assert world.get(job.id).status == FAILED
    assert world.released(job.id).error.type == "WEBHOOK_TIMEOUT"


def test_a_runner_cannot_have_a_job_wait_without_the_token_of_its_claim(world: JobsStack) -> None:
    job, lease_id = world.running()
    _, _, token = world.posted()
    for wrong in ("", "x", token):
        [result] = world.complete(accepted(job.id, lease_id, wrong))
        assert "INVALID_FIELD" in str(result.error)
    assert not world.get(job.id).HasField("callback_expires_at")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"webhook": None}, "webhook"),
        ({"processor_type": job_type_pb2.PROCESSOR_TYPE_SYNC, "processing_logic_id": "echo"}, "webhook"),
        ({"processing_logic_id": "echo"}, "processing_logic_id"),
        ({"webhook": job_type_pb2.Webhook(signing_secret="hooks")}, "webhook.url"),
        ({"webhook": job_type_pb2.Webhook(url="https://u:p@example.com/", signing_secret="hooks")}, "webhook.url"),
        ({"webhook": job_type_pb2.Webhook(url="ftp://example.com/", signing_secret="hooks")}, "webhook.url"),
        ({"webhook": job_type_pb2.Webhook(url="https://example.com/")}, "webhook.signing_secret"),
        (
            {"webhook": job_type_pb2.Webhook(url="https://example.com/", signing_secret="../hooks")},
            "webhook.signing_secret",
        ),
        ({"webhook": webhook_with({"Authorization": "Bearer in-the-open"})}, "webhook.headers"),
        ({"webhook": webhook_with({"Webhook-Signature": "v1,a"})}, "webhook.headers"),
    ],
    ids=[
        "none",
        "of another type",
        "another handler",
        "no url",
        "credentials",
        "scheme",
        "no secret",
        "path",
        "open",
        "ours",
    ],
)
def test_a_webhook_that_cannot_work_is_refused(
    world: JobsStack, refused: Refused, values: dict[str, Any], field: str
) -> None:
    request = job_type_service_pb2.CreateJobTypeRequest(job_type=new_job_type(**{**WEBHOOK, **values}))
    refused.field(world.job_types.CreateJobType, request, f"job_type.{field}")


def test_only_webhooks_have_their_handler(world: JobsStack, refused: Refused) -> None:
    request = job_type_service_pb2.CreateJobTypeRequest(job_type=new_job_type(processing_logic_id="innosystem.webhook"))
    refused.field(world.job_types.CreateJobType, request, "job_type.processing_logic_id")


def test_a_webhook_is_stored_repeated_and_changed(world: JobsStack, refused: Refused) -> None:
    job_type = new_job_type(**{**WEBHOOK, "processing_logic_id": ""})
    request = job_type_service_pb2.CreateJobTypeRequest(job_type=job_type)
    created = world.job_types.CreateJobType(request).job_type
    assert created.processing_logic_id == "innosystem.webhook"
    assert created.webhook.callback_timeout.seconds == 3600
    assert world.job_types.CreateJobType(request).replayed
    request.job_type.webhook.url = "https://other.example.com/"
    refused(world.job_types.CreateJobType, request, "IDEMPOTENCY_KEY_REUSED")
    update = job_type_service_pb2.UpdateJobTypeRequest(job_type=request.job_type)
    update.update_mask.paths.append("webhook")
    changed = world.job_types.UpdateJobType(update).job_type
    assert changed.webhook.url == "https://other.example.com/"
    assert world.job_types.UpdateJobType(update).job_type == changed
