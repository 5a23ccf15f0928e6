"""Jobs that are posted to an endpoint: real services, real runners and a real HTTP server that calls back by RPC."""

import hmac
import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import Parse

from innosystem.jobs.v1 import job_pb2, job_service_pb2, job_type_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from services import SERVICES
from tests.e2e.outbound import start_outbound_runner
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_job, refusal
from tests.e2e.test_runner import check_ledger, settled
from tests.support.documents import Document
from tests.support.http_endpoint import RunningEndpoint, running_endpoint
from tests.support.until import until_sync
from tools.local.credentials import create_credentials

RUNNING, SUCCEEDED, FAILED = job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_SUCCEEDED, job_pb2.JOB_STATUS_FAILED
CHARGED, RELEASED = job_pb2.BILLING_STATUS_CHARGED, job_pb2.BILLING_STATUS_RELEASED
KEY = b64encode(b"a key of the endpoint, and of the runner").decode()
SECRETS = {"hooks": f"whsec_{KEY}", "hooks-token": "only-the-endpoint-may-see-this"}


class Post(NamedTuple):
    """What the endpoint has got."""

    headers: dict[str, str]
    body: str

    @property
    def message(self) -> dict[str, Any]:
        """The body as JSON."""
        message: dict[str, Any] = json.loads(self.body)
        return message

    @property
    def token(self) -> str:
        """What its result is reported with."""
        return str(self.message["callback"]["token"])


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, fresh_database: Callable[[str], str], redis_url: str
) -> Iterator[Stack]:
    urls = {service: fresh_database(service) for service in SERVICES}
    folder = tmp_path_factory.mktemp("webhooks")
    keys = {"INNOSYSTEM_CHARGE_KEYS_FILE": create_credentials(folder / "keys").shared["INNOSYSTEM_CHARGE_KEYS_FILE"]}
    stack = Stack(folder, urls, redis_url, key_prefix=f"{uuid4()}:")
    stack.start(*SERVICES, JOBS_RESCUE_GRACE_SECONDS="0", **keys)
    yield stack
    stack.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint() as started:
        yield started


@pytest.fixture(scope="module")
def call_back(running: Stack) -> Iterator[Callable[..., Any]]:
    """Report the result of a job as an endpoint does: over a connection of its own, without credentials."""
    with grpc.insecure_channel(running.addresses["jobs"]) as channel:

        def call(job_id: str, token: str, output: Any = "done") -> job_service_pb2.CompleteWebhookJobResponse:
            request = job_service_pb2.CompleteWebhookJobRequest(
                job_id=job_id, callback_token=token, output_json=json.dumps(output)
            )
            return JobServiceStub(channel).CompleteWebhookJob(request, timeout=15)

        yield call


@pytest.fixture
def runner(running: Stack, endpoint: RunningEndpoint) -> Iterator[Process]:
    process = start_outbound_runner(running, endpoint, SECRETS)
    yield process
    assert process.stop() == 0
    check_ledger(running)


def submitted(stack: Stack, url: str, *, wait_seconds: int = 3600, max_attempts: int = 1) -> str:
    webhook = job_type_pb2.Webhook(
        url=url,
        headers={"Authorization": "Bearer {secret:hooks-token}", "X-Page": "{$.page}"},
        signing_secret="hooks",
        callback_timeout=Duration(seconds=wait_seconds),
    )
    name = stack.job_type(
        "",
        processor_type=job_type_pb2.PROCESSOR_TYPE_WEBHOOK,
        webhook=webhook,
        max_attempts=max_attempts,
        retry_policy=job_type_pb2.RetryPolicy(initial_backoff=Duration(nanos=10_000_000)),
    )
    return stack.submit(new_job(stack.paying_customer(), name, '{"page": 7}')).id


def posts_of(endpoint: RunningEndpoint, job_id: str) -> list[Post]:
    seen = [one for one in endpoint.requests() if one["headers"].get("webhook-id", "").startswith(job_id)]
    return [Post(one["headers"], one["body"]) for one in seen]


def posted(endpoint: RunningEndpoint, job_id: str, count: int = 1) -> Post:
    """Wait until a job was posted so often; return the last."""
    found = until_sync(lambda: posts if len(posts := posts_of(endpoint, job_id)) >= count else None)
    assert found is not None
    return found[count - 1]


def awaiting(stack: Stack, job_id: str) -> job_pb2.Job:
    """Wait until the runner has reported that the endpoint has accepted a job."""
    found = until_sync(lambda: job if (job := stack.job(job_id)).HasField("callback_expires_at") else None)
    assert found is not None
    return found


@contextmanager
def held(endpoint: RunningEndpoint) -> Iterator[str]:
    """Give a path whose requests are not responded to before the end."""
    name = str(uuid4())
    try:
        yield f"/held/{name}"
    finally:
        with urlopen(endpoint.url(f"/release/{name}"), timeout=10):
            pass


def signature(post: Post) -> str:
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.{post.body}".encode()
    return f"v1,{b64encode(hmac.digest(b64decode(KEY), signed, 'sha256')).decode()}"


def test_a_job_is_posted_signed_and_its_result_comes_later_while_no_runner_holds_it(
    running: Stack, endpoint: RunningEndpoint, call_back: Callable[..., Any]
) -> None:
    runner = start_outbound_runner(running, endpoint, SECRETS)
    job_id = submitted(running, endpoint.url("/status/202?body=no+json"))
    job = awaiting(running, job_id)
    assert (job.status, job.attempt) == (RUNNING, 1)
    # Nothing is in its hands: it ends without waiting for the job.
    assert runner.stop() == 0
    assert [line["event"] for line in runner.lines("job_posted", job_id=job_id)] == ["job_posted"]
    assert running.job(job_id).status == RUNNING

    [post] = posts_of(endpoint, job_id)
    assert post.headers["webhook-signature"] == signature(post)
    assert post.headers["webhook-id"] == post.headers["Idempotency-Key"]
    assert (post.headers["Authorization"], post.headers["X-Page"]) == ("Bearer only-the-endpoint-may-see-this", "7")
    assert (post.message["job_id"], post.message["attempt"], post.message["input"]) == (job_id, 1, {"page": 7})

    assert call_back(job_id, post.token, {"pages": 7}).status == SUCCEEDED
    job = settled(running, job_id)
    assert (json.loads(job.output_json), job.cost_cents, job.billing_status) == ({"pages": 7}, 5, CHARGED)
    assert post.token not in runner.output + runner.errors
    check_ledger(running)


def test_a_result_may_come_before_the_post_is_responded_to(
    running: Stack, runner: Process, endpoint: RunningEndpoint, call_back: Callable[..., Any]
) -> None:
    with held(endpoint) as path:
        job_id = submitted(running, endpoint.url(path))
        assert call_back(job_id, posted(endpoint, job_id).token).status == SUCCEEDED
        assert settled(running, job_id).billing_status == CHARGED
    runner.logged("job_posted", job_id=job_id)

    job = running.job(job_id)
    assert (job.status, job.attempt, len(posts_of(endpoint, job_id))) == (SUCCEEDED, 1, 1)


def test_a_result_that_is_repeated_or_has_a_wrong_token_changes_nothing(
    running: Stack, runner: Process, endpoint: RunningEndpoint, call_back: Callable[..., Any]
) -> None:
    job_id, other = (submitted(running, endpoint.url("/status/200")) for _ in range(2))
    token, of_other = posted(endpoint, job_id).token, posted(endpoint, other).token
    awaiting(running, job_id)
    for wrong in (of_other, "x", token[:-8] + "AAAAAAAA"):
        error = refusal(lambda: call_back(job_id, wrong))  # noqa: B023 - called immediately
        assert error is not None
        assert error.reason == "BAD_CREDENTIALS"
    assert running.job(job_id).status == RUNNING

    assert call_back(job_id, token).status == SUCCEEDED
    job = settled(running, job_id)
    assert call_back(job_id, token).status == SUCCEEDED
    error = refusal(lambda: call_back(job_id, token, "another"))
    assert error is not None
    assert error.reason == "LEASE_LOST"
    assert settled(running, job_id) == job
    call_back(other, of_other)
    assert settled(running, other).billing_status == CHARGED


def test_an_endpoint_that_sends_no_result_gets_the_job_again_under_another_id(
    running: Stack, runner: Process, endpoint: RunningEndpoint, call_back: Callable[..., Any]
) -> None:
    job_id = submitted(running, endpoint.url("/status/200"), wait_seconds=1, max_attempts=2)
    first, second = posted(endpoint, job_id), posted(endpoint, job_id, 2)

    assert first.headers["webhook-id"] != second.headers["webhook-id"]
    assert second.message["attempt"] == 2
    job = settled(running, job_id)
    assert (job.status, job.attempt, job.rescue_count) == (FAILED, 2, 0)
    assert (job.error.type, job.billing_status) == ("WEBHOOK_TIMEOUT", RELEASED)
    error = refusal(lambda: call_back(job_id, second.token))
    assert error is not None
    assert error.reason == "LEASE_LOST"


def test_a_post_that_is_refused_is_retried_and_one_for_good_is_not(
    running: Stack, runner: Process, endpoint: RunningEndpoint, call_back: Callable[..., Any]
) -> None:
    waits = submitted(running, endpoint.url("/status/503?retry-after=3000"), max_attempts=2)
    gone = submitted(running, endpoint.url("/status/410?body=gone"), max_attempts=2)
    away = submitted(running, endpoint.url("/close"), max_attempts=2)
    inside = submitted(running, endpoint.url("/redirect/307?to=http://169.254.169.254/"))

    job = settled(running, gone)
    assert (job.status, job.attempt, job.error.type) == (FAILED, 1, "HTTP_410")
    assert job.error.message == "The endpoint responded with status 410: gone"
    running.jobs.RetryJob(job_service_pb2.RetryJobRequest(job_id=gone), timeout=15)
    # The same attempt of the job by its number, and not for the endpoint.
    assert posted(endpoint, gone, 2).headers["webhook-id"] != posted(endpoint, gone).headers["webhook-id"]
    assert settled(running, gone).error.type == "HTTP_410"
    job = settled(running, away)
    assert (job.status, job.attempt, job.error.type) == (FAILED, 2, "CONNECTION_FAILED")
    assert settled(running, inside).error.type == "HOST_NOT_ALLOWED"
    found = until_sync(lambda: one if (one := running.job(waits)).status == job_pb2.JOB_STATUS_SCHEDULED else None)
    assert found is not None
    assert 2900 < (found.run_at.ToDatetime() - found.error.at.ToDatetime()).total_seconds() <= 3001


def test_a_job_whose_runner_was_killed_after_the_post_is_posted_again_under_the_same_id_and_charged_once(
    running: Stack, endpoint: RunningEndpoint, call_back: Callable[..., Any]
) -> None:
    first = start_outbound_runner(
        running, endpoint, SECRETS, RUNNER_LEASE_SECONDS="1", INNOSYSTEM_CRASH_AT="runner.before_complete"
    )
    job_id = submitted(running, endpoint.url("/status/202"))
    before = posted(endpoint, job_id)
    assert first.wait() != 0
    assert not running.job(job_id).HasField("callback_expires_at")

    second = start_outbound_runner(running, endpoint, SECRETS)
    again = posted(endpoint, job_id, 2)
    assert again.headers["webhook-id"] == before.headers["webhook-id"]
    awaiting(running, job_id)
    # The endpoint takes the second POST for a repetition, and has the first token only.
    assert call_back(job_id, before.token).status == SUCCEEDED
    assert call_back(job_id, again.token).status == SUCCEEDED
    job = settled(running, job_id)
    assert (job.billing_status, job.attempt, job.rescue_count) == (CHARGED, 1, 1)
    assert second.stop() == 0
    check_ledger(running)


@pytest.fixture
def receiver(running: Stack, tmp_path: Path) -> Iterator[int]:
    """The receiver of the guide, on a port of its own."""
    [program] = [one for one in Document.read("docs/handlers.md").blocks if one.body.startswith("# my_receiver.py\n")]
    (tmp_path / "my_receiver.py").write_text(program.body, encoding="utf-8")
    environment = {"PORT": "0", "RENDERER_KEY": f"whsec_{KEY}", "JOBS_ADDRESS": running.addresses["jobs"]}
    command = [sys.executable, "my_receiver.py"]
    with subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_the_receiver_of_the_guide_verifies_a_post_and_reports_its_result(running: Stack, receiver: int) -> None:
    blocks = [one.body for one in Document.read("docs/handlers.md").blocks if '"signing_secret"' in one.body]
    [webhook] = [Parse(body, job_type_pb2.Webhook()) for body in blocks]
    webhook.url = webhook.url.replace("8098", str(receiver))
    secrets = running.folder / "secrets-of-the-guide"
    secrets.mkdir()
    (secrets / webhook.signing_secret).write_text(f"whsec_{b64encode(bytes(32)).decode()} whsec_{KEY}")
    (secrets / "renderer-token").write_text("a-token-of-the-guide")
    runner = running.start_runner(
        None,
        RUNNER_HTTP_ALLOWED_HOSTS=f"http://localhost:{receiver}",
        RUNNER_HTTP_PRIVATE_NETWORKS="127.0.0.1,::1",
        RUNNER_SECRETS_DIR=str(secrets),
    )
    name = running.job_type("", processor_type=job_type_pb2.PROCESSOR_TYPE_WEBHOOK, webhook=webhook)
    job_id = running.submit(new_job(running.paying_customer(), name, json.dumps({"text": "x" * 2500}))).id
    job = settled(running, job_id)
    assert (job.status, json.loads(job.output_json), job.billing_status) == (SUCCEEDED, {"pages": 3}, CHARGED)

    (secrets / webhook.signing_secret).write_text(f"whsec_{b64encode(bytes(32)).decode()}")
    job = settled(running, running.submit(new_job(running.paying_customer(), name, '{"text": ""}')).id)
    assert (job.status, job.error.type) == (FAILED, "HTTP_401")
    assert runner.stop() == 0
