"""Functions of the author around the runs of handlers: middleware, and what is called after a final failure."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from innosystem.runner.context import JobContext
from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.outcome import AwaitingCallback, Failed, Outcome, Snoozed, Succeeded, failed, raised, timed_out
from innosystem.runner.process_slots import NotStarted
from innosystem.runner.resources import Values
from innosystem.runner.signatures import evaluated, injected, takes_positions

Run: TypeAlias = Callable[[], Awaitable[Outcome]]
_OUTCOMES: Final = (Succeeded, Failed, Snoozed, AwaitingCallback)


@dataclass(frozen=True, slots=True)
class Around:
    """A function that gets two arguments, and resources by their types.

    Attributes:
        function: The function.
        resources: The types of the resources that it takes, by the names of their parameters.
    """

    function: Callable[..., Any]
    resources: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def bound(self, values: Values) -> Callable[..., Any]:
        """Return the function with its resources."""
        return partial(self.function, **{name: values[type] for name, type in self.resources.items()})


def describe_around(function: Callable[..., Any], arguments: str, what: str) -> Around:
    """Describe a function around runs.

    Args:
        function: The function.
        arguments: The names of its two arguments, for the message of an error.
        what: What it is, for the same.

    Raises:
        HandlerRegistrationError: The function takes something else.
    """
    rule = f"{what} must take ({arguments}), and after these only resources by their types"
    parameters, _ = evaluated(function, what)
    if not takes_positions(parameters, 2):
        raise HandlerRegistrationError(rule)
    return Around(function, injected(parameters[2:], rule))


def describe_middleware(function: Callable[..., Any]) -> Around:
    """Describe a middleware.

    Raises:
        HandlerRegistrationError: The function is not `async def`, or takes something else than a middleware.
    """
    what = f"The middleware {getattr(function, '__qualname__', function)!r}"
    if not inspect.iscoroutinefunction(function):
        raise HandlerRegistrationError(f"{what} must be `async def`: it runs in the event loop of the runner")
    return describe_around(function, "job, call_next", what)


class Chain:
    """Middleware around runs, the first one outermost. All of it runs in the runner's event loop.

    Args:
        layers: The middleware, with its resources.
    """

    def __init__(self, layers: Sequence[Callable[..., Any]]) -> None:
        self._layers = layers

    async def run(self, job: JobContext, timeout: float | None, run: Run) -> Outcome:
        """Run a handler inside the middleware, which fails the job by what it raises.

        Args:
            job: The job.
            timeout: How many seconds the middleware may take, without the handler, which has a timeout of its own.
            run: Runs the handler.

        Raises:
            NotStarted: The handler was not called, and would have to wait long.
        """
        loop = asyncio.get_running_loop()
        not_started: list[NotStarted] = []
        given: list[Outcome] = []
        began = loop.time()
        limit = asyncio.timeout(timeout)

        async def innermost() -> Outcome:
            used = loop.time() - began
            limit.reschedule(None)
            try:
                given.append(await run())
                return given[-1]
            except NotStarted as exc:
                not_started.append(exc)
                raise
            finally:
                if timeout is not None:
                    limit.reschedule(loop.time() + timeout - used)

        try:
            async with limit:
                outcome = await self._through(0, job, innermost)
        except TimeoutError:
            outcome = timed_out(timeout or 0.0)
        if isinstance(outcome, AwaitingCallback) and outcome not in given:
            outcome = failed(TypeError("a middleware returned an AwaitingCallback that call_next did not return"))
        if not_started:
            # Nothing has run, whatever the middleware has made of that.
            raise not_started[0]
        return timed_out(timeout or 0.0) if limit.expired() else outcome

    async def _through(self, layer: int, job: JobContext, innermost: Run) -> Outcome:
        if layer == len(self._layers):
            return await innermost()
        inner: list[Awaitable[Outcome]] = []

        async def call_next() -> Outcome:
            if inner:
                raise RuntimeError("call_next was called twice: a job runs once in an attempt")
            inner.append(self._through(layer + 1, job, innermost))
            return await inner[0]

        try:
            outcome = await self._layers[layer](job, call_next)
            if not isinstance(outcome, _OUTCOMES):
                raise TypeError(
                    f"a middleware returned {type(outcome).__name__}: it must return what call_next returned"
                )
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 - SystemExit of a middleware must not end the runner
            return raised(exc)
        return outcome
