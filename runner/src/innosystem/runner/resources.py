"""What handlers share in a process: made once, before the first job, and closed at the end."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias, get_args

import structlog

from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.handler_modules import authors_traceback
from innosystem.runner.signatures import evaluated, injected

log = structlog.get_logger()

_MAKE_SECONDS: Final = 50.0
CLOSE_SECONDS: Final = 2.0

Values: TypeAlias = Mapping[Any, Any]
"""Resources that were made, by their types."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A function that makes a resource.

    Attributes:
        type: The type by which it is injected.
        function: The function: it returns the resource, or yields it and closes it afterwards.
        needs: The types of the resources that it takes, by the names of its parameters.
    """

    type: Any
    function: Callable[..., Any]
    needs: Mapping[str, Any]

    def __str__(self) -> str:
        code = inspect.unwrap(self.function).__code__
        return f"{self.function.__qualname__!r} ({code.co_filename}:{code.co_firstlineno})"


def describe_resource(function: Callable[..., Any]) -> Resource:
    """Describe the resource that a function makes.

    Raises:
        HandlerRegistrationError: The function does not say which type it makes, or takes what is no resource.
    """
    what = f"The resource {getattr(function, '__qualname__', function)!r}"
    parameters, returned = evaluated(function, what)
    if _yields(function):
        returned = next(iter(get_args(returned)), inspect.Parameter.empty)
    if returned in (inspect.Parameter.empty, None, Any, object):
        raise HandlerRegistrationError(
            f"{what} needs the annotation of what it makes, by which handlers get it: "
            "`-> Database`, or `-> Iterator[Database]` if it yields"
        )
    return Resource(returned, function, injected(parameters, f"{what} may take other resources by their types"))


def _yields(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def in_order(
    resources: Mapping[Any, Resource], needed: Iterable[Any], needing: str, given: Container[Any] = ()
) -> list[Resource]:
    """Return the resources that make some types, each after those that it takes itself.

    Args:
        resources: All resources by their types.
        needed: The types.
        needing: What takes them, for the message of an error.
        given: The types that need not be made.

    Raises:
        HandlerRegistrationError: A type has no resource, or a resource takes itself.
    """
    ordered: dict[Any, Resource] = {}

    def add(type: Any, needing: str, above: tuple[Any, ...]) -> None:
        if type in ordered or type in given:
            return
        resource = resources.get(type)
        if resource is None:
            raise HandlerRegistrationError(
                f"{needing} takes {_name(type)}, which no resource makes: write @resource above a function that "
                f"returns or yields {_name(type)}, in a module that the runner loads"
            )
        if type in above:
            raise HandlerRegistrationError(f"The resource {resource} takes itself, through others or directly")
        for inner in resource.needs.values():
            add(inner, f"The resource {resource}", (*above, type))
        ordered[type] = resource

    for type in needed:
        add(type, needing, ())
    return list(ordered.values())


def _name(type: Any) -> str:
    return getattr(type, "__qualname__", None) or repr(type)


@asynccontextmanager
async def made(resources: Iterable[Resource], instead: Values = MappingProxyType({})) -> AsyncIterator[Values]:
    """Make resources one after the other, and close them in the opposite order.

    Each has 50 seconds to be made, and 2 seconds to close: what does not close is logged and left.

    Args:
        resources: In an order in which each comes after those that it takes.
        instead: What is used instead of the resources of these types.

    Raises:
        HandlerRegistrationError: A resource cannot be made: the message has the author's part of the traceback.
    """
    values: dict[Any, Any] = {**instead}
    async with AsyncExitStack() as closing:
        for resource in resources:
            values[resource.type] = await _make(resource, values, closing)
        yield values


async def _make(resource: Resource, values: Values, closing: AsyncExitStack) -> Any:
    taken = {name: values[type] for name, type in resource.needs.items()}
    limit = asyncio.timeout(_MAKE_SECONDS)
    try:
        async with limit:
            return await _enter(resource, taken, closing)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as exc:
        # A user's function may raise anything, SystemExit included.
        why = f"it took longer than {_MAKE_SECONDS:g} s" if limit.expired() else f"\n{authors_traceback(exc)}"
        raise HandlerRegistrationError(f"The resource {resource} cannot be made: {why}") from exc


async def _enter(resource: Resource, taken: Mapping[str, Any], closing: AsyncExitStack) -> Any:
    function = resource.function
    if inspect.isasyncgenfunction(function):
        asynchronous = asynccontextmanager(function)(**taken)
        value = await asynchronous.__aenter__()
        closing.push_async_callback(_close, resource, lambda: asynchronous.__aexit__(None, None, None))
        return value
    if inspect.isgeneratorfunction(function):
        synchronous = contextmanager(function)(**taken)
        value = synchronous.__enter__()
        closing.push_async_callback(_close, resource, lambda: synchronous.__exit__(None, None, None))
        return value
    value = function(**taken)
    return await value if inspect.iscoroutinefunction(function) else value


async def _close(resource: Resource, exit: Callable[[], Any]) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            closed = exit()
            if inspect.isawaitable(closed):
                await closed
    except Exception:
        # The jobs are done: what is not closed properly is no reason to end with an error.
        log.exception("resource_not_closed", resource=str(resource))
