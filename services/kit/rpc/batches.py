"""Batches: each item succeeds or fails alone, and the results are aligned with the items."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from services.kit.errors import DomainError, InvalidField
from services.kit.rpc.validation import ContractValidator

M = TypeVar("M", bound=Message)
T = TypeVar("T")
R = TypeVar("R")


def each(
    messages: Iterable[M], field: str, validator: ContractValidator, parse: Callable[[M], T]
) -> list[T | DomainError]:
    """Checks each item against the contract and parses it.

    Args:
        messages: The items.
        field: The name of the field they are in, for messages.
        validator: Knows the rules of the contract.
        parse: Makes the use case's argument out of an item; may raise a `DomainError`.

    Returns:
        What was parsed, or why it could not be.
    """
    parsed: list[T | DomainError] = []
    for position, message in enumerate(messages):
        try:
            validator.check(message)
            parsed.append(parse(message))
        except InvalidField as error:
            parsed.append(error.within(f"{field}[{position}]."))
        except DomainError as error:
            parsed.append(error)
    return parsed


async def merged(
    parsed: Sequence[T | DomainError], work: Callable[[list[T]], Awaitable[Sequence[R]]]
) -> list[R | DomainError]:
    """Does the work for the items that are good, and puts the results between the errors of the others.

    Args:
        parsed: The items of `each`.
        work: Answers a result for each item, in the same order.
    """
    good = [item for item in parsed if not isinstance(item, DomainError)]
    results = iter(await work(good) if good else ())
    return [item if isinstance(item, DomainError) else next(results) for item in parsed]


def one(result: R | DomainError) -> R:
    """The result of a batch of one, which is all that was asked for.

    Raises:
        DomainError: If the result is an error.
    """
    if isinstance(result, DomainError):
        raise result
    return result
