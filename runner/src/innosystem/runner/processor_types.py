"""Compare the processor type that a job type names with how the handler is written."""

import time
from typing import Final

import structlog

from innosystem.jobs.v1 import job_service_pb2, job_type_pb2
from innosystem.runner.registry import Handler, Mode

log = structlog.get_logger()

# How a handler may be written; what has no handler of an author is not among them.
RUNNABLE: Final = frozenset(
    {job_type_pb2.PROCESSOR_TYPE_SYNC, job_type_pb2.PROCESSOR_TYPE_ASYNC, job_type_pb2.PROCESSOR_TYPE_BATCH}
)
_EVERY_SECONDS: Final = 60.0


class ProcessorTypes:
    """Logs the job types whose handler is not written as they say, each once a minute."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}

    def check(self, claimed: job_service_pb2.ClaimedJob, handler: Handler) -> None:
        """Log a job type that names another processor type than the handler has."""
        expected, description = written(handler)
        if claimed.processor_type == expected:
            return
        job_type_id, now = claimed.job.job_type_id, time.monotonic()
        if now - self._logged_at.get(job_type_id, float("-inf")) < _EVERY_SECONDS:
            return
        self._logged_at[job_type_id] = now
        log.warning(
            "processor_type_mismatch",
            job_type_id=job_type_id,
            processor_type=type_name(claimed.processor_type),
            handler_is=description,
            note=f"the handler runs as it is written; change the job type to {type_name(expected)}, or clear its type",
        )


def written(handler: Handler) -> tuple["job_type_pb2.ProcessorType.ValueType", str]:
    """Return the processor type of a handler, and how it is written."""
    if handler.batch is not None:
        return job_type_pb2.PROCESSOR_TYPE_BATCH, "a handler of batches"
    if handler.mode is Mode.COROUTINE:
        return job_type_pb2.PROCESSOR_TYPE_ASYNC, "async def"
    return job_type_pb2.PROCESSOR_TYPE_SYNC, "def"


def type_name(number: int) -> str:
    """Return the name of a processor type, for people."""
    try:
        return job_type_pb2.ProcessorType.Name(number).removeprefix("PROCESSOR_TYPE_")  # type: ignore[arg-type] # any
    except ValueError:
        return f"a processor type of number {number}"
