"""Register handlers with a decorator, and load them from modules and entry points."""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar

from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.handler_modules import import_handlers

ENTRY_POINT_GROUP: Final = "innosystem.handlers"
_ID_LENGTH_MAX: Final = 200
# Each claim lists all of them.
_HANDLERS_MAX: Final = 1000
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Function = TypeVar("Function", bound=Callable[..., Any])


class Mode(Enum):
    """Where a handler runs. The function decides, not the job type's processor type."""

    COROUTINE = "coroutine"
    """`async def`: in the runner's event loop; cancelled at the timeout."""
    THREAD = "thread"
    """`def`: in a thread, which cannot be stopped: the timeout is reported when it ends."""
    PROCESS = "process"
    """`def` with `process=True`: in a process of the pool, which is killed at the timeout."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function.

    Attributes:
        id: The `processing_logic_id` of the job types that it serves.
        function: The function to call.
        mode: Where to call it.
        takes_job: Whether the function takes the JobContext as its second argument.
    """

    id: str
    function: Callable[..., Any]
    mode: Mode
    takes_job: bool

    def __str__(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def place(self) -> str:
        """The file and line of the function."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return "unknown file" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


class Registry:
    """Handlers by ID. The decorator `handler` fills the default registry; tests create their own."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._modules: list[str] = []

    def __contains__(self, handler_id: object) -> bool:
        return handler_id in self._handlers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._handlers))

    def get(self, handler_id: str) -> Handler | None:
        """Return a handler, or None for an unknown ID."""
        return self._handlers.get(handler_id)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that were loaded. A process that loads the same modules has the same handlers."""
        return tuple(self._modules)

    def add(self, handler_id: str, function: Callable[..., Any], *, process: bool = False) -> None:
        """Register a function.

        Args:
            handler_id: The `processing_logic_id` of the job types that it serves.
            function: Takes the parsed input, and optionally the JobContext.
            process: Whether to run it in a process of its own.

        Raises:
            HandlerRegistrationError: The ID is taken, the function cannot be a handler, or the limit is reached.
        """
        if not 1 <= len(handler_id) <= _ID_LENGTH_MAX:
            raise HandlerRegistrationError(f"A handler's ID has 1 to 200 characters: {handler_id!r}")
        added = describe(function, handler_id=handler_id, process=process)
        taken = self._handlers.get(handler_id)
        if taken is not None:
            raise HandlerRegistrationError(_registered_twice(taken, added))
        if len(self._handlers) == _HANDLERS_MAX:
            raise HandlerRegistrationError(f"A runner has at most {_HANDLERS_MAX} handlers, and {handler_id!r} is more")
        self._handlers[handler_id] = added

    def load(self, modules: Iterable[str], *, with_entry_points: bool = False) -> None:
        """Import modules, whose decorators register their handlers.

        Args:
            modules: Names of modules, which may be in the current directory, or paths of Python files.
            with_entry_points: Whether to import the modules that installed distributions list in the group
                `innosystem.handlers` as well.

        Raises:
            HandlerRegistrationError: A module cannot be imported: the message has the author's part of the traceback.
        """
        if "" not in sys.path and "." not in sys.path:
            sys.path.insert(0, "")
        names = [*modules]
        if with_entry_points:
            names += [point.module for point in entry_points(group=ENTRY_POINT_GROUP)]
        for given in dict.fromkeys(names):
            name = import_handlers(given)
            if name not in self._modules:
                self._modules.append(name)


def describe(function: Callable[..., Any], *, handler_id: str, process: bool = False) -> Handler:
    """Describe how to call a function.

    Raises:
        HandlerRegistrationError: The function takes no input, or more than input and job; or it is a coroutine
            function with `process=True`.
    """
    is_async = inspect.iscoroutinefunction(function)
    if is_async and process:
        raise HandlerRegistrationError(f"The handler {handler_id!r} is `async def`: process=True requires a `def`")
    mode = Mode.COROUTINE if is_async else Mode.PROCESS if process else Mode.THREAD
    return Handler(handler_id, function, mode, _takes_job(function, handler_id))


def _takes_job(function: Callable[..., Any], handler_id: str) -> bool:
    """Return whether a function takes (input, job) rather than (input)."""
    parameters = list(inspect.signature(function).parameters.values())
    places = [each for each in parameters if each.kind in _POSITIONAL]
    required = [each for each in places if each.default is inspect.Parameter.empty]
    variable = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
    named_only = any(
        each.kind is inspect.Parameter.KEYWORD_ONLY and each.default is inspect.Parameter.empty for each in parameters
    )
    takes_at_most = 2 if variable else len(places)
    if len(required) > 2 or takes_at_most < 1 or named_only:  # noqa: PLR2004 - input and job
        raise HandlerRegistrationError(f"The handler {handler_id!r} must take (input) or (input, job)")
    # An optional second parameter belongs to the author, unless it is called `job`.
    return len(required) == 2 or variable or (len(places) > 1 and places[1].name == "job")  # noqa: PLR2004


def _registered_twice(first: Handler, second: Handler) -> str:
    if first.place == second.place and first.function.__module__ != second.function.__module__:
        return (
            f"The handler {first.id!r} is registered twice by {first.place}, which is imported under two names: "
            f"{first.function.__module__!r} and {second.function.__module__!r}. Use one of them"
        )
    return (
        f"The handler {first.id!r} is registered twice: as {first} ({first.place}) "
        f"and as {second} ({second.place}). Give one of them another ID"
    )


default_registry: Final = Registry()
"""The registry that `handler` fills and `python -m innosystem.runner` runs."""


def handler(handler_id: str, *, process: bool = False) -> Callable[[Function], Function]:
    """Register a function as the handler for job types with this `processing_logic_id`.

    The function takes the parsed JSON input, and as an optional second argument the JobContext. Its return value must
    be JSON and becomes the job's output. An exception fails the job.

    Args:
        handler_id: The `processing_logic_id`.
        process: Whether to run a `def` in a process of its own instead of a thread: for CPU-bound work, or work that
            must be stopped at its timeout.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        HandlerRegistrationError: The decorator was used without an ID.
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
