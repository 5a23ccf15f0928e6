"""Watching a job while the jobs service is replaced."""

import asyncio
from uuid import uuid4

import grpc
import pytest

from innosystem.client import connect, watch_job
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from services import SERVICES
from tests.e2e.stack import Stack, new_job

LIMIT_SECONDS = 60


def cancel(stack: Stack, job_id: str) -> None:
    stack.jobs.CancelJob(pb.CancelJobRequest(job_id=job_id), timeout=LIMIT_SECONDS, wait_for_ready=True)


async def followed(stack: Stack, job_id: str) -> list[job_pb2.Job]:
    """Follows a job; when its first state has come the service is started anew, and only then the job continues."""
    states: list[job_pb2.Job] = []
    async with connect(stack.addresses["jobs"]) as channel, asyncio.timeout(LIMIT_SECONDS):
        async for job in watch_job(JobServiceStub(channel), job_id):
            states.append(job)
            if len(states) == 1:
                await asyncio.to_thread(stack.restart, "jobs")
                await asyncio.to_thread(cancel, stack, job_id)
    return states


def test_a_job_is_watched_to_its_end_although_the_service_is_restarted(stack: Stack) -> None:
    stack.start(*SERVICES)
    job = stack.submit(new_job(stack.paying_customer(), stack.job_type("echo")))
    states = asyncio.run(followed(stack, job.id))
    assert states[0].status == job_pb2.JOB_STATUS_PENDING
    assert states[-1].status == job_pb2.JOB_STATUS_CANCELLED
    assert states[-1].billing_status in (job_pb2.BILLING_STATUS_RELEASED, job_pb2.BILLING_STATUS_NOT_BILLABLE)
    etags = [int(state.etag) for state in states]
    assert etags == sorted(set(etags))


async def test_who_watches_is_told_of_an_outage_once() -> None:
    said: list[str] = []
    async with connect("127.0.0.1:1") as channel:
        watched = watch_job(
            JobServiceStub(channel), str(uuid4()), give_up_seconds=2.5, on_outage=lambda: said.append("unreachable")
        )
        with pytest.raises(grpc.aio.AioRpcError):
            _ = [job async for job in watched]
    assert said == ["unreachable"]


async def test_who_watches_gives_up_when_no_server_answers_for_long() -> None:
    async with connect("127.0.0.1:1") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            _ = [job async for job in watch_job(JobServiceStub(channel), str(uuid4()), give_up_seconds=0.2)]
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
