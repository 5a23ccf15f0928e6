"""Claimed jobs, as the jobs service returns them."""

from collections.abc import Callable

import pytest

from innosystem.client import new_id
from innosystem.jobs.v1 import job_pb2, job_service_pb2, job_type_pb2

ClaimedJobs = Callable[..., job_service_pb2.ClaimedJob]


@pytest.fixture
def claimed() -> ClaimedJobs:
    """Return a factory of claimed jobs: `claimed("handler.id", input_json="...", timeout_seconds=1)`."""

    def make(
        handler_id: str,
        *,
        input_json: str = "null",
        timeout_seconds: float = 0,
        processor_type: int = job_type_pb2.PROCESSOR_TYPE_ASYNC,
        request_id: str = "",
    ) -> job_service_pb2.ClaimedJob:
        made = job_service_pb2.ClaimedJob(
            job=job_pb2.Job(
                id=str(new_id()),
                customer_id=str(new_id()),
                job_type_id=str(new_id()),
                input_json=input_json,
                queue="default",
                attempt=1,
                max_attempts=3,
                rescue_count=2,
                snooze_count=4,
                labels={"color": "red"},
            ),
            processing_logic_id=handler_id,
            request_id=request_id,
        )
        # As on the wire: including numbers without a name in this release.
        made.MergeFromString(bytes([3 << 3, processor_type]))
        made.timeout.FromNanoseconds(int(timeout_seconds * 1e9))
        return made

    return make
