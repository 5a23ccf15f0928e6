"""Write handlers for jobs, and run them.

A handler is a function with the `processing_logic_id` of a job type:

    from innosystem.runner import JobContext, JobError, handler

    @handler("images.thumbnail")
    async def thumbnail(input: dict, job: JobContext) -> dict:
        if "url" not in input:
            raise JobError("url is missing", type="INVALID_INPUT", retryable=False)
        ...

`python -m innosystem.runner --handlers my_package.my_module` runs it. `innosystem.runner.testing` has
what tests of handlers need.
"""

from innosystem.runner.context import JobContext
from innosystem.runner.errors import HandlerRegistrationError, JobError
from innosystem.runner.registry import Handler, Registry, handler

__all__ = [
    "Handler",
    "HandlerRegistrationError",
    "JobContext",
    "JobError",
    "Registry",
    "handler",
]
