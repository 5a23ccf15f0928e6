"""Gather jobs into batches, and call their handlers with many at a time."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from innosystem.runner.batch import Batch, RunInput
from innosystem.runner.context import JobContext
from innosystem.runner.outcome import Outcome
from innosystem.runner.process_backpressure import ProcessBackpressure
from innosystem.runner.registry import Handler

Call: TypeAlias = Callable[[Handler, Sequence[RunInput], float | None], Awaitable[Sequence[Outcome]]]
Key: TypeAlias = tuple[str, str]


@dataclass(eq=False, slots=True)
class _Member:
    input_json: str
    job: JobContext
    timeout: float | None
    outcome: "asyncio.Future[Outcome]"


@dataclass(eq=False, slots=True)
class _Batch:
    """Jobs that are called together.

    Attributes:
        members: The jobs whose results are wanted.
        bytes: How much the inputs have together.
        timer: Makes the call when the first job has waited long enough.
        call: The call, once it is made.
    """

    handler: Handler
    limits: Batch
    key: Key
    members: dict[_Member, None] = field(default_factory=dict)
    bytes: int = 0
    timer: asyncio.TimerHandle | None = None
    call: "asyncio.Task[None] | None" = None

    def has_room(self, size: int) -> bool:
        return self.bytes + size <= self.limits.bytes


class Batches:
    """The batches of a runner. The jobs of one share a slot of the runner, so that a batch may have more than it has.

    Args:
        call: Calls a handler.
        backpressure: Counts the jobs that share a slot.
    """

    def __init__(self, call: Call, backpressure: ProcessBackpressure) -> None:
        self._call = call
        self._backpressure = backpressure
        self._open: dict[Key, _Batch] = {}
        self._hurrying = False

    async def run(
        self, handler: Handler, limits: Batch, input_json: str, job: JobContext, timeout: float | None
    ) -> Outcome:
        """Run a job in a batch with others.

        A cancelled job leaves its batch. The call is cancelled when all of its jobs have left.

        Raises:
            NotStarted: The handler was not called, and would have to wait long.
            asyncio.CancelledError: The run was cancelled.
        """
        member = _Member(input_json, job, timeout, asyncio.get_running_loop().create_future())
        batch = self._join(handler, limits, member)
        try:
            return await member.outcome
        finally:
            await self._leave(batch, member)

    def hurry(self) -> None:
        """Call the handlers of the jobs that wait, and from now on without waiting: the runner stops."""
        self._hurrying = True
        for batch in list(self._open.values()):
            self._begin(batch)

    def _join(self, handler: Handler, limits: Batch, member: _Member) -> _Batch:
        key = (handler.id, member.job.customer_id if limits.per_customer else "")
        size = len(member.input_json) if member.input_json.isascii() else len(member.input_json.encode())
        batch = self._open.get(key)
        if batch is not None and not batch.has_room(size):
            self._begin(batch)
            batch = None
        if batch is None:
            batch = self._open[key] = _Batch(handler, limits, key)
            wait = 0.0 if self._hurrying else limits.wait_seconds
            # Not in the context of the first job.
            batch.timer = asyncio.get_running_loop().call_later(wait, self._begin, batch, context=contextvars.Context())
        else:
            self._backpressure.share(1)
        batch.members[member] = None
        batch.bytes += size
        if len(batch.members) == limits.size or not batch.has_room(1):
            self._begin(batch)
        return batch

    async def _leave(self, batch: _Batch, member: _Member) -> None:
        del batch.members[member]
        if batch.members:
            self._backpressure.share(-1)
        elif batch.call is None:
            self._close(batch)
        elif not batch.call.done():
            # The last job keeps the slot until the handler has stopped.
            batch.call.cancel()
            await asyncio.wait([batch.call])

    def _close(self, batch: _Batch) -> None:
        """Let no more jobs into a batch."""
        if batch.timer is not None:
            batch.timer.cancel()
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]

    def _begin(self, batch: _Batch) -> None:
        self._close(batch)
        name = f"batch of {len(batch.members)} jobs of handler {batch.handler.id}"
        batch.call = asyncio.get_running_loop().create_task(
            self._run(batch, list(batch.members)), name=name, context=contextvars.Context()
        )

    async def _run(self, batch: _Batch, members: Sequence[_Member]) -> None:
        timeout = min((each.timeout for each in members if each.timeout is not None), default=None)
        deadline = None if timeout is None else datetime.now(UTC) + timedelta(seconds=timeout)
        inputs = [(each.input_json, replace(each.job, deadline=deadline)) for each in members]
        try:
            outcomes = await self._call(batch.handler, inputs, timeout)
        except asyncio.CancelledError:
            # All jobs have left, or a handler has cancelled a task that was not its own.
            for each in members:
                each.outcome.cancel()
            raise
        except Exception as exc:  # noqa: BLE001 - not started, or a defect: either concerns each of its jobs
            for each in members:
                if not each.outcome.done():
                    each.outcome.set_exception(exc)
            return
        for each, outcome in zip(members, outcomes, strict=True):
            if not each.outcome.done():
                each.outcome.set_result(outcome)
