"""Write handlers for jobs, and run them.

A handler is a function with the `processing_logic_id` of a job type:

    from innosystem.runner import JobContext, JobError, handler

    @handler("images.thumbnail")
    async def thumbnail(input: dict, job: JobContext) -> dict:
        if "url" not in input:
            raise JobError("url is missing", type="INVALID_INPUT", retryable=False)
        ...

A handler decides by what it raises what happens to its job. Any exception fails the attempt, and the job
is retried while it has attempts left. `JobError(..., retry_after=60)` sets the delay before the retry,
`JobError(..., retryable=False)` prevents a retry, and `Snooze(60)` runs the job again later without using
up an attempt.

`python -m innosystem.runner --handlers my_package.my_module` runs the handlers. `innosystem.runner.testing`
helps to test them.
"""

from innosystem.runner.batch import Batch, BatchItem
from innosystem.runner.context import JobContext
from innosystem.runner.errors import CheckpointError, HandlerRegistrationError, JobError, Snooze
from innosystem.runner.outcome import AwaitingCallback, Failed, Outcome, Snoozed, Succeeded
from innosystem.runner.registry import Handler, Registry, handler, middleware, resource
from innosystem.runner.usage_meter import UsageMeter

__all__ = [
    "AwaitingCallback",
    "Batch",
    "BatchItem",
    "CheckpointError",
    "Failed",
    "Handler",
    "HandlerRegistrationError",
    "JobContext",
    "JobError",
    "Outcome",
    "Registry",
    "Snooze",
    "Snoozed",
    "Succeeded",
    "UsageMeter",
    "handler",
    "middleware",
    "resource",
]
