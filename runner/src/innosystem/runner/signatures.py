"""Find out from a function's signature what a runner has to pass to it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final

from innosystem.runner.context import JobContext
from innosystem.runner.errors import HandlerRegistrationError

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
# A second parameter that says nothing about its type is the job.
_ANYTHING: Final = (Parameter.empty, Any, object)
_MAY_TAKE: Final = "must take (input) or (input, job), and after these only resources by their types"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler's function takes and returns.

    Attributes:
        takes_job: Whether its second argument is the JobContext.
        input: The annotation of its first parameter.
        output: The annotation of its return value.
        resources: The types of the resources that it takes, by the names of their parameters.
    """

    takes_job: bool
    input: Any
    output: Any
    resources: Mapping[str, Any]


def signature_of(function: Callable[..., Any], what: str) -> Signature:
    """Read the signature of a handler's function.

    Args:
        function: The function.
        what: The handler, for the message of an error.

    Raises:
        HandlerRegistrationError: The function takes no input, something that is neither the job nor a resource, or its
            annotations cannot be evaluated.
    """
    parameters, output = evaluated(function, what)
    places = [each for each in parameters if each.kind in _POSITIONAL]
    variable = any(each.kind is Parameter.VAR_POSITIONAL for each in parameters)
    if not places and not variable:
        raise HandlerRegistrationError(f"{what} {_MAY_TAKE}")
    takes_job = variable or (len(places) > 1 and _is_job(places[1]))
    taken = places[: 2 if takes_job else 1]
    rest = [each for each in parameters if each not in taken]
    return Signature(takes_job, places[0].annotation if places else Any, output, injected(rest, f"{what} {_MAY_TAKE}"))


def evaluated(function: Callable[..., Any], what: str) -> tuple[Sequence[Parameter], Any]:
    """Return a function's parameters and its return annotation, with annotations that are strings evaluated."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except Exception as exc:
        # The evaluation may raise anything.
        raise HandlerRegistrationError(
            f"The annotations of {what} cannot be evaluated: {exc}. What they name must be imported when the module "
            "runs, not under TYPE_CHECKING only"
        ) from exc
    return list(signature.parameters.values()), signature.return_annotation


def takes_positions(parameters: Sequence[Parameter], count: int) -> bool:
    """Return whether the first parameters accept positions."""
    return len(parameters) >= count and all(each.kind in _POSITIONAL for each in parameters[:count])


def injected(parameters: Sequence[Parameter], rule: str) -> Mapping[str, Any]:
    """Return the types of the resources that some parameters take, by name. Those with a default are the author's.

    Raises:
        HandlerRegistrationError: A parameter has no type, or accepts positions only.
    """
    needed = [each for each in parameters if each.default is Parameter.empty and each.kind not in _VARIABLE]
    for each in needed:
        if each.annotation is JobContext:
            raise HandlerRegistrationError(f"{rule}: the job is the second argument, and here it is {each.name!r}")
        if each.annotation is Parameter.empty:
            raise HandlerRegistrationError(f"{rule}: {each.name!r} has no annotation")
        if each.kind is Parameter.POSITIONAL_ONLY:
            raise HandlerRegistrationError(f"{rule}: {each.name!r} accepts a position only")
    return {each.name: each.annotation for each in needed}


def _is_job(second: Parameter) -> bool:
    if second.name == "job" or second.annotation is JobContext:
        return True
    # An optional parameter belongs to the author.
    return second.default is Parameter.empty and second.annotation in _ANYTHING
