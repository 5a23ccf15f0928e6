"""Handlers that take many jobs in one call, and how that becomes an outcome for each job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from inspect import Parameter
from operator import or_
from types import UnionType
from typing import Any, Final, Generic, TypeAlias, TypeVar, Union, get_args, get_origin

from innosystem.runner.context import JobContext
from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.json_types import JsonType
from innosystem.runner.outcome import Failed, Outcome, failure, raised
from innosystem.runner.signatures import Signature, evaluated, injected, takes_positions

_SIZE_MAX: Final = 1000
_WAIT_SECONDS_MAX: Final = 60.0
_ANYTHING: Final = (Parameter.empty, Any, list, Sequence)

Input = TypeVar("Input")

RunInput: TypeAlias = tuple[str, JobContext]
"""The input of a job as JSON, and the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How many jobs a handler takes in one call.

    A call is made when the first limit is reached. Jobs of a batch share one slot of their runner.

    Attributes:
        size: How many jobs at most, from 1 to 1,000.
        wait_seconds: How long the first job waits for others, up to 60.
        bytes: How much their inputs have together at most, as JSON. A larger input has a call of its own.
        per_customer: Whether the jobs of a call are those of one customer.

    Raises:
        HandlerRegistrationError: A limit is out of its range.
    """

    size: int = 100
    wait_seconds: float = 0.05
    bytes: int = 4 * 1024 * 1024
    per_customer: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.size <= _SIZE_MAX:
            raise HandlerRegistrationError(f"A batch has 1 to {_SIZE_MAX} jobs: size={self.size}")
        if not 0 <= self.wait_seconds <= _WAIT_SECONDS_MAX:
            raise HandlerRegistrationError(
                f"A batch waits 0 to {_WAIT_SECONDS_MAX:g} seconds: wait_seconds={self.wait_seconds}"
            )
        if self.bytes < 1:
            raise HandlerRegistrationError(f"A batch has at least one byte: bytes={self.bytes}")


@dataclass(frozen=True, slots=True)
class BatchItem(Generic[Input]):
    """One job of a batch.

    Attributes:
        input: Its input.
        job: The job. Its deadline is that of the call: the earliest of its jobs.
    """

    input: Input
    job: JobContext


def batch_signature_of(function: Callable[..., Any], what: str) -> Signature:
    """Read the signature of a handler that takes batches.

    Returns:
        The annotations of one input, and of one result.

    Raises:
        HandlerRegistrationError: The function takes something else than items and resources, or returns no list.
    """
    rule = f"{what} must take (items), and after these only resources by their types"
    parameters, returned = evaluated(function, what)
    if not takes_positions(parameters, 1):
        raise HandlerRegistrationError(rule)
    resources = injected(parameters[1:], rule)
    return Signature(False, _input_of(parameters[0].annotation, what), _output_of(returned, what), resources)


def _input_of(annotation: Any, what: str) -> Any:
    if annotation in _ANYTHING:
        return Any
    item = next(iter(get_args(annotation)), None)
    if item is BatchItem:
        return Any
    if get_origin(item) is not BatchItem:
        raise HandlerRegistrationError(f"{what} takes batches: its items are list[BatchItem] or list[BatchItem[...]]")
    return get_args(item)[0]


def _output_of(annotation: Any, what: str) -> Any:
    """Return the annotation of one result without the exceptions, which are results as well."""
    if annotation in _ANYTHING:
        return Any
    if not isinstance(origin := get_origin(annotation), type) or not issubclass(origin, Sequence):
        raise HandlerRegistrationError(f"{what} takes batches: it returns list[...], a result for each item")
    result = get_args(annotation)[0]
    is_union = get_origin(result) in (Union, UnionType)
    kept = [one for one in (get_args(result) if is_union else (result,)) if not _is_exception(one)]
    return reduce(or_, kept) if kept else Any


def _is_exception(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseException)


class BatchCall:
    """One call of a handler with many jobs.

    Args:
        reads: How the inputs are read. One that does not fit fails its own job, and is not among the items.
        writes: How the results are written.
        inputs: The jobs.

    Attributes:
        items: What to call the handler with; empty if it is not to be called.
        outcomes: The outcome of each job, in the order of the jobs.
    """

    def __init__(self, reads: JsonType, writes: JsonType, inputs: Sequence[RunInput]) -> None:
        self._writes = writes
        self._places: list[int] = []
        self.items: list[BatchItem[Any]] = []
        self.outcomes: list[Outcome] = [failure("NOT_RUN", "The job was not run") for _ in inputs]
        for place, (input_json, job) in enumerate(inputs):
            try:
                item = BatchItem(reads.decode(input_json), job)
            except BaseException as exc:  # noqa: BLE001 - validators of authors may raise anything
                self.outcomes[place] = raised(exc)
            else:
                self.items.append(item)
                self._places.append(place)

    def returned(self, results: Any) -> None:
        """Take what the handler has returned."""
        if not isinstance(results, list | tuple):
            self.failed(_misfit(f"{type(results).__name__} instead of a list"))
        elif len(results) != len(self.items):
            self.failed(_misfit(f"{len(results)} results for {len(self.items)} items"))
        else:
            for place, result in zip(self._places, results, strict=True):
                self.outcomes[place] = self._outcome(result)

    def raised(self, exc: BaseException) -> None:
        """Take what the handler has raised: it is the outcome of each item."""
        self.failed(raised(exc))

    def failed(self, outcome: Outcome) -> None:
        """Give each item this outcome."""
        for place in self._places:
            self.outcomes[place] = outcome

    def _outcome(self, result: Any) -> Outcome:
        if isinstance(result, BaseException):
            return raised(result)
        try:
            return self._writes.encode(result)
        except BaseException as exc:  # noqa: BLE001 - serializers of authors may raise anything
            return raised(exc)


def _misfit(what: str) -> Failed:
    return failure("INVALID_OUTPUT", f"The handler returned {what}: a batch has a result for each item")
