"""A kit for tests of handlers: no server is needed, and no wait between attempts takes time."""

from innosystem.runner.testing.handlers import JobFields, Said, run_handler, run_handler_async
from innosystem.runner.testing.jobs import Attempt, Cancellation, JobResult, run_job, run_job_async
from innosystem.runner.testing.rules import JobRules

__all__ = [
    "Attempt",
    "Cancellation",
    "JobFields",
    "JobResult",
    "JobRules",
    "Said",
    "run_handler",
    "run_handler_async",
    "run_job",
    "run_job_async",
]
