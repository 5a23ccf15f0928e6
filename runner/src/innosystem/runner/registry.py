"""Register handlers with a decorator, and load them from modules and entry points."""

import inspect
import sys
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from importlib.metadata import entry_points
from typing import Any, Final, Self, TypeVar

from innosystem.runner.around_runs import Around, describe_around, describe_middleware
from innosystem.runner.batch import Batch, batch_signature_of
from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.handler_modules import import_handlers
from innosystem.runner.json_types import ANY_JSON, JsonType, Schema, json_type
from innosystem.runner.resources import Resource, Values, describe_resource, in_order
from innosystem.runner.signatures import signature_of

ENTRY_POINT_GROUP: Final = "innosystem.handlers"
_ID_LENGTH_MAX: Final = 200
# Each claim lists all of them, and those that the runner has itself: at most 1,000.
_HANDLERS_MAX: Final = 990
_OF_THE_PLATFORM: Final = "innosystem."

Function = TypeVar("Function", bound=Callable[..., Any])


class Mode(Enum):
    """Where a handler runs. The function decides, not the job type's processor type."""

    COROUTINE = "coroutine"
    """`async def`: in the runner's event loop; cancelled at the timeout."""
    THREAD = "thread"
    """`def`: in a thread, which cannot be stopped: the timeout is reported when it ends."""
    PROCESS = "process"
    """`def` with `process=True`: in a process of the pool, which is killed at the timeout."""


IN_RUNNER: Final = (Mode.COROUTINE, Mode.THREAD)
"""The modes of handlers that run in the runner's process, and as suspects in processes of their own."""
IN_POOL: Final = (Mode.PROCESS,)


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function.

    Attributes:
        id: The `processing_logic_id` of the job types that it serves.
        function: The function as it was written.
        mode: Where to call it.
        takes_job: Whether the function takes the JobContext as its second argument.
        call: The function to call with the input, and the job: it has its resources already.
        input: How its input is read; with `batch` each of its inputs.
        output: How its return value is written; with `batch` each of its results.
        resources: The types of the resources that it takes, by the names of their parameters.
        on_failure: What to call when a job has failed for good.
        batch: How many jobs it takes in one call; None if it takes one.
    """

    id: str
    function: Callable[..., Any]
    mode: Mode
    takes_job: bool
    call: Callable[..., Any]
    input: JsonType = ANY_JSON
    output: JsonType = ANY_JSON
    resources: Mapping[str, Any] = field(default_factory=dict)
    on_failure: Around | None = None
    batch: Batch | None = None

    def __str__(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def input_schema(self) -> Schema | None:
        """Return the JSON Schema of the inputs that fit; None for a handler that takes any JSON."""
        return self.input.schema("input")

    def output_schema(self) -> Schema | None:
        """Return the JSON Schema of the outputs; None for a handler that may return any JSON."""
        return self.output.schema("output")

    def bound(self, values: Values) -> Self:
        """Return the handler with its resources.

        Args:
            values: The resources of this process by their types.
        """
        if not self.resources:
            return self
        taken = {name: values[type] for name, type in self.resources.items()}
        return replace(self, call=partial(self.function, **taken))

    @property
    def place(self) -> str:
        """The file and line of the function."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return "unknown file" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


class Registry:
    """Handlers by ID. The decorator `handler` fills the default registry; tests create their own."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._resources: dict[Any, Resource] = {}
        self._middleware: list[Around] = []
        self._modules: list[str] = []

    def __contains__(self, handler_id: object) -> bool:
        return handler_id in self._handlers

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._handlers))

    def of(self, function: Callable[..., Any]) -> Handler | None:
        """Return the handler that a function is registered as, or None if it is not."""
        return next((each for each in self._handlers.values() if each.function is function), None)

    def get(self, handler_id: str) -> Handler | None:
        """Return a handler, or None for an unknown ID."""
        return self._handlers.get(handler_id)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that were loaded. A process that loads the same modules has the same handlers."""
        return tuple(self._modules)

    @property
    def middleware(self) -> tuple[Around, ...]:
        """The middleware, the outermost first."""
        return tuple(self._middleware)

    def add(
        self,
        handler_id: str,
        function: Callable[..., Any],
        *,
        process: bool = False,
        on_failure: Callable[..., Any] | None = None,
        batch: Batch | None = None,
    ) -> None:
        """Register a function.

        Args:
            handler_id: The `processing_logic_id` of the job types that it serves.
            function: Takes the input, optionally the JobContext, and resources.
            process: Whether to run it in a process of its own.
            on_failure: Called when a job has failed for good.
            batch: How many jobs it takes in one call; None if it takes one.

        Raises:
            HandlerRegistrationError: The ID is taken, the function cannot be a handler, or the limit is reached.
        """
        if not 1 <= len(handler_id) <= _ID_LENGTH_MAX:
            raise HandlerRegistrationError(f"A handler's ID has 1 to 200 characters: {handler_id!r}")
        if handler_id.startswith(_OF_THE_PLATFORM):
            raise HandlerRegistrationError(
                f"IDs that begin with {_OF_THE_PLATFORM!r} are the platform's: {handler_id!r}"
            )
        added = describe(function, handler_id=handler_id, process=process, on_failure=on_failure, batch=batch)
        taken = self._handlers.get(handler_id)
        if taken is not None:
            raise HandlerRegistrationError(_registered_twice(taken, added))
        if len(self._handlers) == _HANDLERS_MAX:
            raise HandlerRegistrationError(f"A runner has at most {_HANDLERS_MAX} handlers, and {handler_id!r} is more")
        self._handlers[handler_id] = added

    def add_resource(self, function: Callable[..., Any]) -> None:
        """Register a function that makes a resource.

        Raises:
            HandlerRegistrationError: The function does not say which type it makes, or the type has a resource.
        """
        added = describe_resource(function)
        taken = self._resources.setdefault(added.type, added)
        if taken is not added:
            raise HandlerRegistrationError(f"Two resources make the same type: {taken} and {added}")

    def add_middleware(self, function: Callable[..., Any]) -> None:
        """Register a middleware, inside of those that are registered already.

        Raises:
            HandlerRegistrationError: The function cannot be a middleware.
        """
        self._middleware.append(describe_middleware(function))

    def with_only(self, handler: Handler) -> "Registry":
        """Return a registry with one handler, and with the resources and middleware of this one."""
        made = Registry()
        made._handlers = {handler.id: handler}
        made._resources, made._middleware = self._resources, self._middleware
        return made

    def resources(self, modes: Collection[Mode], given: Container[Any] = ()) -> list[Resource]:
        """Return the resources that handlers take, each after those that it takes itself.

        Args:
            modes: How the handlers run that are asked for.
            given: The types that need not be made.

        Raises:
            HandlerRegistrationError: A handler takes a type that no resource makes.
        """
        found: dict[Any, Resource] = {}
        for each in self._handlers.values():
            if each.mode in modes:
                found |= {one.type: one for one in self.resources_of(each, given)}
        return list(found.values())

    def resources_of_runner(self, given: Container[Any] = ()) -> list[Resource]:
        """Return what is made in the runner's own process: for its handlers, the middleware, and `on_failure`.

        Args:
            given: The types that need not be made.

        Raises:
            HandlerRegistrationError: One of them takes a type that no resource makes.
        """
        found = {one.type: one for one in self.resources(IN_RUNNER, given)}
        around = [("The middleware", each) for each in self._middleware]
        around += [("The on_failure", each.on_failure) for each in self._handlers.values() if each.on_failure]
        for what, each in around:
            ordered = in_order(self._resources, each.resources.values(), f"{what} {each}", given)
            found |= {one.type: one for one in ordered}
        return list(found.values())

    def resources_of(self, handler: Handler, given: Container[Any] = ()) -> list[Resource]:
        """Return the resources that a handler takes, each after those that it takes itself.

        Args:
            handler: The handler.
            given: The types that need not be made.

        Raises:
            HandlerRegistrationError: It takes a type that no resource makes.
        """
        needing = f"The handler {handler.id!r} ({handler.place})"
        return in_order(self._resources, handler.resources.values(), needing, given)

    def load(self, modules: Iterable[str], *, with_entry_points: bool = False) -> None:
        """Import modules, whose decorators register their handlers.

        Args:
            modules: Names of modules, which may be in the current directory, or paths of Python files.
            with_entry_points: Whether to import the modules that installed distributions list in the group
                `innosystem.handlers` as well.

        Raises:
            HandlerRegistrationError: A module cannot be imported: the message has the author's part of the traceback.
                Or a handler takes a type that no resource makes.
        """
        names = [*modules]
        if with_entry_points:
            names += [point.module for point in entry_points(group=ENTRY_POINT_GROUP)]
        self.import_modules(names)
        self.resources(IN_POOL)
        self.resources_of_runner()

    def import_modules(self, modules: Iterable[str]) -> None:
        """Import modules, as `load` does, and leave open whether there is a resource for each type that is taken.

        Raises:
            HandlerRegistrationError: A module cannot be imported.
        """
        if "" not in sys.path and "." not in sys.path:
            sys.path.insert(0, "")
        for given in dict.fromkeys(modules):
            name = import_handlers(given)
            if name not in self._modules:
                self._modules.append(name)


def describe(
    function: Callable[..., Any],
    *,
    handler_id: str,
    process: bool = False,
    on_failure: Callable[..., Any] | None = None,
    batch: Batch | None = None,
) -> Handler:
    """Describe how to call a function.

    Raises:
        HandlerRegistrationError: The function takes no input, or what is neither input, job nor resource; or it is a
            coroutine function with `process=True`.
    """
    what = f"The handler {handler_id!r}"
    is_async = inspect.iscoroutinefunction(function)
    if is_async and process:
        raise HandlerRegistrationError(f"{what} is `async def`: process=True requires a `def`")
    signature = (batch_signature_of if batch else signature_of)(function, what)
    return Handler(
        id=handler_id,
        function=function,
        mode=Mode.COROUTINE if is_async else Mode.PROCESS if process else Mode.THREAD,
        takes_job=signature.takes_job,
        call=function,
        input=json_type(signature.input, of=f"The input of the handler {handler_id!r}"),
        output=json_type(signature.output, of=f"The return value of the handler {handler_id!r}"),
        resources=signature.resources,
        on_failure=on_failure and describe_around(on_failure, "job, error", f"The on_failure of the {what[4:]}"),
        batch=batch,
    )


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


def handler(
    handler_id: str,
    *,
    process: bool = False,
    on_failure: Callable[..., Any] | None = None,
    batch: Batch | None = None,
) -> Callable[[Function], Function]:
    """Register a function as the handler for job types with this `processing_logic_id`.

    The function takes the input, as an optional second argument the JobContext, and after these resources by their
    types. Its return value becomes the job's output. An exception fails the job.

    Without an annotation, or with `dict` or `Any`, input and output are parsed JSON. Other annotations (dataclasses,
    models of pydantic, Structs of msgspec, TypedDicts, lists of those, built-in types) are what the input is converted
    to, and what the return value must be: an input that does not fit fails the job for good (`INVALID_INPUT`).

    Args:
        handler_id: The `processing_logic_id`.
        process: Whether to run a `def` in a process of its own instead of a thread: for CPU-bound work, or work that
            must be stopped at its timeout.
        on_failure: Called with the JobContext and the JobError, and resources by their types, when a job has failed for
            good: once at most, in the runner's process, `async def` in its event loop and `def` in a thread, for 30
            seconds at most. What it raises is logged.
        batch: Makes it a handler of many jobs in one call: it takes a list of `BatchItem`s instead of input and job,
            and returns a list with a result, or an exception, for each.

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
        default_registry.add(handler_id, function, process=process, on_failure=on_failure, batch=batch)
        return function

    return register


def resource(function: Function) -> Function:
    """Register a function that makes what handlers share in a process, such as a client or a model.

    The function returns the resource, or yields it once and closes it after that; it may be `def` or `async def`.
    Handlers get it by the type of a parameter: the return annotation `-> Database`, or `-> Iterator[Database]` and
    `-> AsyncIterator[Database]` of a function that yields. A resource may take other resources in the same way.

    It is made once in each process that needs it, before the first job, and closed at the end. A runner whose resource
    cannot be made does not start.

    Returns:
        The function, unchanged.

    Raises:
        HandlerRegistrationError: The function does not say which type it makes, or the type has a resource.
    """
    default_registry.add_resource(function)
    return function


def middleware(function: Function) -> Function:
    """Register an `async def` function that is called around each run, of all handlers and however they run.

    It gets the JobContext, `call_next`, and resources by their types. `await call_next()` runs the handler, and returns
    a `Succeeded`, a `Failed`, a `Snoozed` or an `AwaitingCallback`: nothing is raised. It returns that outcome, or
    another one. What it raises fails the job as if the handler had raised it. The first one that is registered is the
    outermost.

    Middleware runs in the runner's event loop, also around handlers in threads and processes. It has as much time as
    the handler, without the handler's own.

    Returns:
        The function, unchanged.

    Raises:
        HandlerRegistrationError: The function cannot be a middleware.
    """
    default_registry.add_middleware(function)
    return function
