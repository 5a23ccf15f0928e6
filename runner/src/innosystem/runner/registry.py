"""Finds the handler for a job: by the decorator, in modules, and in entry points."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar

from innosystem.runner.errors import HandlerRegistrationError

ENTRY_POINT_GROUP: Final = "innosystem.handlers"
_ID_LENGTH_MAX: Final = 200
# Each claim names them all.
_HANDLERS_MAX: Final = 1000
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Function = TypeVar("Function", bound=Callable[..., Any])


class Mode(Enum):
    """Where a handler is run. How it is written decides, not the job type's processor type."""

    COROUTINE = "coroutine"
    """`async def`: in the runner's event loop; cancelled at its timeout."""
    THREAD = "thread"
    """`def`: in a thread, which nothing can stop: its timeout is reported when it ends."""
    PROCESS = "process"
    """`def` with `process=True`: in a process of the pool, which is killed at the timeout."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function.

    Attributes:
        id: The `processing_logic_id` of the job types that it serves.
        function: What to call.
        mode: Where to call it.
        takes_job: Whether it takes the JobContext as its second argument.
    """

    id: str
    function: Callable[..., Any]
    mode: Mode
    takes_job: bool

    def __str__(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"


class Registry:
    """Handlers by ID. `handler` fills the one that runners use; tests make their own."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._modules: list[str] = []

    def __contains__(self, handler_id: object) -> bool:
        return handler_id in self._handlers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._handlers))

    def get(self, handler_id: str) -> Handler | None:
        """Find a handler; None if there is none."""
        return self._handlers.get(handler_id)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that were loaded: another process that loads them has the same handlers."""
        return tuple(self._modules)

    def add(self, handler_id: str, function: Callable[..., Any], *, process: bool = False) -> None:
        """Register a function.

        Args:
            handler_id: The `processing_logic_id` of the job types that it serves.
            function: Takes the parsed input, and the JobContext too if it wants it.
            process: Whether to run it in a process of its own.

        Raises:
            HandlerRegistrationError: The ID is taken, the function can't be a handler, or there are too many.
        """
        if not 1 <= len(handler_id) <= _ID_LENGTH_MAX:
            raise HandlerRegistrationError(f"A handler's ID has 1 to 200 characters: {handler_id!r}")
        added = describe(function, handler_id=handler_id, process=process)
        taken = self._handlers.get(handler_id)
        if taken is not None:
            raise HandlerRegistrationError(f"The handler {handler_id!r} is registered twice: as {taken} and as {added}")
        if len(self._handlers) == _HANDLERS_MAX:
            raise HandlerRegistrationError(f"A runner has at most {_HANDLERS_MAX} handlers, and {handler_id!r} is more")
        self._handlers[handler_id] = added

    def load(self, modules: Iterable[str], *, with_entry_points: bool = False) -> None:
        """Import modules, whose decorators register their handlers.

        Args:
            modules: Names of modules, importable from the current directory too.
            with_entry_points: Whether to import what installed distributions name in the group
                `innosystem.handlers` as well.

        Raises:
            HandlerRegistrationError: A module can't be imported.
        """
        if "" not in sys.path and "." not in sys.path:
            sys.path.insert(0, "")
        names = [*modules]
        if with_entry_points:
            names += [point.module for point in entry_points(group=ENTRY_POINT_GROUP)]
        for name in dict.fromkeys(names):
            try:
                importlib.import_module(name)
            except HandlerRegistrationError:
                raise
            except Exception as exc:
                # Whatever a user's module raises: the name of the module is what helps.
                raise HandlerRegistrationError(
                    f"The handlers in {name!r} can't be loaded: {type(exc).__name__}: {exc}"
                ) from exc
            if name not in self._modules:
                self._modules.append(name)


def describe(function: Callable[..., Any], *, handler_id: str, process: bool = False) -> Handler:
    """Find out how a function is to be called.

    Raises:
        HandlerRegistrationError: It takes no input, or more than input and job; or it is a
            coroutine function and to be run in a process.
    """
    is_async = inspect.iscoroutinefunction(function)
    if is_async and process:
        raise HandlerRegistrationError(
            f"The handler {handler_id!r} is `async def`: only a `def` is run with process=True"
        )
    mode = Mode.COROUTINE if is_async else Mode.PROCESS if process else Mode.THREAD
    return Handler(handler_id, function, mode, _takes_job(function, handler_id))


def _takes_job(function: Callable[..., Any], handler_id: str) -> bool:
    """Tell whether a function takes (input, job) or (input)."""
    parameters = list(inspect.signature(function).parameters.values())
    places = [each for each in parameters if each.kind in _POSITIONAL]
    required = [each for each in places if each.default is inspect.Parameter.empty]
    variable = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
    named_only = any(
        each.kind is inspect.Parameter.KEYWORD_ONLY and each.default is inspect.Parameter.empty for each in parameters
    )
    takes_at_most = 2 if variable else len(places)
    if len(required) > 2 or takes_at_most < 1 or named_only:  # noqa: PLR2004 - input and job
        raise HandlerRegistrationError(f"The handler {handler_id!r} has to take (input) or (input, job)")
    # An optional second parameter may be anything of the author's, unless it is called `job`.
    return len(required) == 2 or variable or (len(places) > 1 and places[1].name == "job")  # noqa: PLR2004


default_registry: Final = Registry()
"""What `handler` fills and `python -m innosystem.runner` runs."""


def handler(handler_id: str, *, process: bool = False) -> Callable[[Function], Function]:
    """Register a function as the handler for job types with this `processing_logic_id`.

    The function takes the parsed JSON input, and as an optional second argument the JobContext;
    what it returns has to be JSON and becomes the job's output. An exception fails the job.

    Args:
        handler_id: The `processing_logic_id`.
        process: Whether to run a `def` in a process of its own instead of a thread: for work that
            needs the CPU, or that has to be stopped at its timeout.

    Returns:
        A decorator that gives the function back as it is.

    Raises:
        HandlerRegistrationError: It was written without an ID.
    """
    if callable(handler_id):
        name = getattr(handler_id, "__name__", "a_function")
        raise HandlerRegistrationError(
            f'A handler needs the ID of its job types: write @handler("the.id") above {name!r}, not @handler alone'
        )

    def register(function: Function) -> Function:
        default_registry.add(handler_id, function, process=process)
        return function

    return register
