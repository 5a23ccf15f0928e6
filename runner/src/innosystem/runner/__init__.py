"""Write handlers for jobs, and run them.

A handler is a function with the `processing_logic_id` of a job type:

    from innosystem.runner import JobContext, JobError, handler

    @handler("images.thumbnail")
    async def thumbnail(input: dict, job: JobContext) -> dict:
        if "url" not in input:
            raise JobError("url is missing", type="INVALID_INPUT", retryable=False)
        ...

What a handler raises says what becomes of its job: any exception fails the attempt, and there is
another as long as the job has attempts left; `JobError(..., retry_after=60)` chooses when,
`JobError(..., retryable=False)` that there is none, and `Snooze(60)` has the job run again later
without using up an attempt.

`python -m innosystem.runner --handlers my_package.my_module` runs it. `innosystem.runner.testing` has
what tests of handlers need.
"""

from innosystem.runner.context import JobContext
from innosystem.runner.errors import HandlerRegistrationError, JobError, Snooze
from innosystem.runner.registry import Handler, Registry, handler

__all__ = [
    "Handler",
    "HandlerRegistrationError",
    "JobContext",
    "JobError",
    "Registry",
    "Snooze",
    "handler",
]
