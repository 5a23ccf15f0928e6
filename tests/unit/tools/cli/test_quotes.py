"""A dry run against a service that does not know quotes submits one job at most, and cancels it."""

from typing import Any, cast

import pytest

from innosystem.client import Innosystem
from innosystem.jobs.v1.job_pb2 import Job
from innosystem.jobs.v1.job_service_pb2 import (
    BatchCancelJobsRequest,
    BatchCancelJobsResponse,
    BatchCreateJobsRequest,
    BatchCreateJobsResponse,
    BatchCreateJobsResult,
    CreateJobResponse,
)
from tools.cli.commands.submit.job_lines import Defaults, batches
from tools.cli.commands.submit.quotes import QuoteReport, quote_lines
from tools.errors import CommandError


class OldJobs:
    """JobService of release 0.1.0, which ignores validate_only."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.cancelled: list[str] = []

    async def BatchCreateJobs(self, request: BatchCreateJobsRequest) -> BatchCreateJobsResponse:  # noqa: N802 - an RPC
        ids = [one.job_id for one in request.requests]
        self.accepted += ids
        responses = [CreateJobResponse(job=Job(id=job_id)) for job_id in ids]
        return BatchCreateJobsResponse(results=[BatchCreateJobsResult(response=one) for one in responses])

    async def BatchCancelJobs(self, request: BatchCancelJobsRequest) -> BatchCancelJobsResponse:  # noqa: N802 - an RPC
        self.cancelled += request.ids.job_ids
        return BatchCancelJobsResponse()


async def test_a_dry_run_against_a_service_of_0_1_0_cancels_the_one_job_that_it_has_submitted() -> None:
    class Platform:
        jobs = OldJobs()

    lines = [b'{"input": %d}' % number for number in range(5)]
    source = batches(lines, Defaults(customer_id="ada", job_type="greet"))
    with pytest.raises(CommandError, match="without --dry-run"):
        await quote_lines(cast("Innosystem", cast("Any", Platform)), source, QuoteReport(), lambda: None)
    assert len(Platform.jobs.accepted) == 1
    assert Platform.jobs.cancelled == Platform.jobs.accepted
