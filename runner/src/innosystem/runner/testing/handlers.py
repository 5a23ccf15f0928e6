"""Run a handler once, as a runner would."""

import asyncio
import json
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, Unpack

from typing_extensions import override

from innosystem.client import new_id
from innosystem.runner.batch import BatchItem
from innosystem.runner.calling import arguments
from innosystem.runner.context import JobContext
from innosystem.runner.errors import HandlerRegistrationError, JobError
from innosystem.runner.logs import job_in_logs
from innosystem.runner.outcome import Failed, Succeeded, timed_out
from innosystem.runner.registry import Handler, Mode, default_registry, describe
from innosystem.runner.resources import Values, made
from innosystem.runner.saying import Listener, Progress
from innosystem.runner.stop_signal import StopSignal
from innosystem.runner.usage_meter import UsageMeter


class Said(Listener):
    """What a handler has said: pass one as `listener` to `run_handler`.

    Attributes:
        progressed: The progress, each with `percent` and `message`.
        checkpoints: The checkpoints, as the next run would get them.
    """

    def __init__(self) -> None:
        self.progressed: list[Progress] = []
        self.checkpoints: list[Any] = []

    @override
    def progress(self, progress: Progress) -> None:
        self.progressed.append(progress)

    @override
    def checkpoint(self, text: str) -> "Future[None]":
        self.checkpoints.append(json.loads(text))
        stored: Future[None] = Future()
        stored.set_result(None)
        return stored


class JobFields(TypedDict, total=False):
    """The fields of a JobContext that a test may choose."""

    job_id: str
    customer_id: str
    job_type_id: str
    queue: str
    attempt: int
    max_attempts: int
    labels: dict[str, str]
    request_id: str
    deadline: datetime | None
    rescue_count: int
    snooze_count: int
    usage_meter: UsageMeter
    last_checkpoint: Any
    listener: Listener | None


async def run_handler_async(
    handler: Callable[..., Any] | str,
    input: Any = None,
    *,
    timeout_seconds: float | None = None,
    resources: Values | None = None,
    **job: Unpack[JobFields],
) -> Any:
    """Run a handler on an input and return its output, for tests with an event loop.

    A coroutine that blocks the event loop cannot be cancelled at its timeout, here and in a runner: its output counts,
    and a RuntimeWarning says so.

    Input and output are converted through JSON, so a test sees the same values as the handler and the customer: a tuple
    becomes a list. A handler with `process=True` runs in a thread here, so that a test can replace what it uses, and
    one with `batch` is called with this job alone.

    Args:
        handler: The function, or the ID that it is registered under.
        input: The input of the job; None as for a job that was submitted without one.
        timeout_seconds: The timeout of the job type, which also sets `deadline`; by default there is none.
        resources: What the handler gets instead of the resources of these types; the others are made for the run, and
            closed after it.
        job: Fields of the JobContext; the others get default values.

    Raises:
        JobError: The input does not fit the handler's annotation (type `INVALID_INPUT`). The output does not fit, is
            not JSON, too large, or not storable: what the platform refuses. Or the handler took longer than its
            timeout (type `TIMEOUT`): a coroutine is cancelled, a thread is asked to stop.
        HandlerRegistrationError: A resource is not registered, or cannot be made.
        TypeError: The JobContext has no such field.
        Exception: Any exception of the handler, including `Snooze`.
    """
    if unknown := sorted(job.keys() - JobFields.__annotations__.keys()):
        raise TypeError(
            f"run_handler has no argument {', '.join(unknown)}; the fields of the job are: "
            f"{', '.join(JobFields.__annotations__)}"
        )
    found = find(handler)
    if timeout_seconds is not None:
        job.setdefault("deadline", datetime.now(UTC) + timedelta(seconds=timeout_seconds))
    stop = StopSignal()
    context = _context(found.id, stop, **job)
    item = found.input.decode(json.dumps(input))
    given = arguments(found, item, context) if found.batch is None else ([BatchItem(item, context)],)
    resources = resources or {}
    async with made(default_registry.resources_of(found, given=resources), instead=resources) as values:
        outcome = await _outcome(found.bound(values), given, context, timeout_seconds)
    if isinstance(outcome, Failed):
        raise JobError(outcome.message, type=outcome.type, retryable=outcome.retryable)
    return json.loads(outcome.output_json)


async def _outcome(
    handler: Handler, given: Sequence[Any], job: JobContext, timeout_seconds: float | None
) -> Succeeded | Failed:
    is_async = handler.mode is Mode.COROUTINE
    limit = asyncio.timeout(timeout_seconds)
    with job_in_logs(job):
        running: Awaitable[Any] = handler.call(*given) if is_async else asyncio.to_thread(handler.call, *given)
        began = time.monotonic()
        try:
            async with limit:
                returned = await running
        except TimeoutError:
            if job.stop is not None:
                job.stop.requested = True
            if not limit.expired():
                raise
            return timed_out(timeout_seconds or 0.0)
        _warn_if_late(time.monotonic() - began, timeout_seconds)
    return handler.output.encode(returned if handler.batch is None else _only(returned))


def _only(results: Any) -> Any:
    """Return the result of a batch of one."""
    if not isinstance(results, list | tuple) or len(results) != 1:
        raise JobError("The handler returned no list with one result", type="INVALID_OUTPUT", retryable=False)
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def run_handler(
    handler: Callable[..., Any] | str,
    input: Any = None,
    *,
    timeout_seconds: float | None = None,
    resources: Values | None = None,
    **job: Unpack[JobFields],
) -> Any:
    """Run a handler like `run_handler_async`, for tests without an event loop."""
    return asyncio.run(run_handler_async(handler, input, timeout_seconds=timeout_seconds, resources=resources, **job))


def find(handler: Callable[..., Any] | str) -> Handler:
    """Return a handler by its function or its ID; a function need not be registered.

    Raises:
        HandlerRegistrationError: No handler has this ID, or the function cannot be one.
    """
    if not isinstance(handler, str):
        return default_registry.of(handler) or describe(handler, handler_id=handler.__qualname__)
    found = default_registry.get(handler)
    if found is None:
        raise HandlerRegistrationError(
            f"No handler {handler!r} is registered: is its module imported? Registered handlers: "
            f"{', '.join(default_registry) or 'none'}"
        )
    return found


def _warn_if_late(seconds: float, timeout_seconds: float | None) -> None:
    if timeout_seconds is not None and seconds > timeout_seconds:
        warnings.warn(
            f"The handler blocked the event loop for up to {seconds:.1f} s, so that it could not be stopped at its "
            f"timeout of {timeout_seconds:g} s: write `def` instead of `async def` for work that blocks",
            RuntimeWarning,
            stacklevel=2,
        )


def _context(handler_id: str, stop: StopSignal, **job: Unpack[JobFields]) -> JobContext:
    fields: JobFields = {
        "job_id": str(new_id()),
        "customer_id": str(new_id()),
        "job_type_id": str(new_id()),
        "queue": "default",
        "attempt": 1,
        "max_attempts": 1,
        "labels": {},
        "request_id": str(new_id()),
        "deadline": datetime.now(UTC) + timedelta(minutes=5),
        "listener": Said(),
        **job,
    }
    return JobContext(processing_logic_id=handler_id, stop=stop, **fields)
