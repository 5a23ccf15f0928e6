"""Call handlers, and make outcomes of whatever they return or raise."""

import os
from collections.abc import Sequence
from typing import Any, Final

from innosystem.runner.batch import BatchCall, RunInput
from innosystem.runner.context import JobContext
from innosystem.runner.outcome import Outcome, raised
from innosystem.runner.registry import Handler

_FORKED_STATUS: Final = 70


def arguments(handler: Handler, parsed: Any, job: JobContext) -> Sequence[Any]:
    """Return the arguments to call a handler with."""
    return (parsed, job) if handler.takes_job else (parsed,)


def call_blocking(handler: Handler, input_json: str, job: JobContext) -> Outcome:
    """Run a `def` handler in this thread."""
    process = os.getpid()
    try:
        return handler.output.encode(handler.call(*arguments(handler, handler.input.decode(input_json), job)))
    except BaseException as exc:  # noqa: BLE001 - SystemExit of a handler must not end the runner
        return raised(exc)
    finally:
        _end_if_forked(process)


async def call_coroutine(handler: Handler, input_json: str, job: JobContext) -> Outcome:
    """Run an `async def` handler in this task, which must be dedicated: a handler may cancel the current task."""
    process = os.getpid()
    try:
        return handler.output.encode(await handler.call(*arguments(handler, handler.input.decode(input_json), job)))
    except BaseException as exc:  # noqa: BLE001 - SystemExit of a handler must not end the runner
        return raised(exc)
    finally:
        _end_if_forked(process)


def call_batch_blocking(handler: Handler, inputs: Sequence[RunInput]) -> list[Outcome]:
    """Run a `def` handler of batches in this thread."""
    process = os.getpid()
    call = BatchCall(handler.input, handler.output, inputs)
    try:
        if call.items:
            call.returned(handler.call(call.items))
    except BaseException as exc:  # noqa: BLE001 - SystemExit of a handler must not end the runner
        call.raised(exc)
    finally:
        _end_if_forked(process)
    return call.outcomes


async def call_batch_coroutine(handler: Handler, inputs: Sequence[RunInput]) -> list[Outcome]:
    """Run an `async def` handler of batches in this task, which must be dedicated."""
    process = os.getpid()
    call = BatchCall(handler.input, handler.output, inputs)
    try:
        if call.items:
            call.returned(await handler.call(call.items))
    except BaseException as exc:  # noqa: BLE001 - SystemExit of a handler must not end the runner
        call.raised(exc)
    finally:
        _end_if_forked(process)
    return call.outcomes


def _end_if_forked(process: int) -> None:
    """Exit from a process that a handler forked and that returned from the handler: it would be a second runner."""
    if os.getpid() != process:
        os._exit(_FORKED_STATUS)
