"""Batches: each item succeeds or fails alone, whatever is wrong with it, and the results are aligned with the items."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message

from services.kit.batching.parts import in_parts, unforeseen
from services.kit.batching.time_slice import TimeSlice
from services.kit.errors import DomainError, InvalidField
from services.kit.query.values import parse_uuid
from services.kit.rpc.validation import ContractValidator

M = TypeVar("M", bound=Message)
I = TypeVar("I")  # noqa: E741 - an item, as T is what becomes of it
T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A", bound=Message)

# What is larger takes milliseconds to read, which the event loop does not wait for.
_LARGE_BYTES = 64 * 1024


async def answered(
    items: Iterable[I],
    field: str,
    *,
    parse: Callable[[I], T],
    work: Callable[[list[T]], Awaitable[Sequence[R | DomainError]]],
    answer: Callable[[R | DomainError], A],
) -> list[A]:
    """Answers a batch: reads each item, does the work for the good ones, and makes the answers.

    An exception that nobody foresaw is answered as the INTERNAL error of the item that it belongs to, wherever it
    happens. So it must be safe to do the work again.

    Args:
        items: The items.
        field: The name of the field they are in, for messages.
        parse: Makes the use case's argument out of an item; may raise a `DomainError`.
        work: Answers a result for each argument, in the same order.
        answer: Makes the message of a result.

    Returns:
        The answers, aligned with the items.
    """
    parsed = await each(items, field, parse)
    return answers(await merged(parsed, field, work), answer)


def answers(results: Iterable[R | DomainError], answer: Callable[[R | DomainError], A]) -> list[A]:
    """Makes the message of each result; one that can't be made is the error of that item."""
    return [_guarded(answer, result) for result in results]


async def each(items: Iterable[I], field: str, parse: Callable[[I], T]) -> list[T | DomainError]:
    """Reads each item.

    Returns:
        What was parsed, or why it could not be.
    """
    parsed: list[T | DomainError] = []
    time_slice = TimeSlice()
    for position, item in enumerate(items):
        if isinstance(item, Message) and item.ByteSize() > _LARGE_BYTES:
            parsed.append(await asyncio.to_thread(_parsed, item, f"{field}[{position}]", parse))
        else:
            parsed.append(_parsed(item, f"{field}[{position}]", parse))
        await time_slice.rest()
    return parsed


async def merged(
    parsed: Sequence[T | DomainError], field: str, work: Callable[[list[T]], Awaitable[Sequence[R | DomainError]]]
) -> list[R | DomainError]:
    """Does the work for the items that are good, and puts the results between the errors of the others.

    Args:
        parsed: The items of `each`.
        field: The name of the field they are in.
        work: Answers a result for each item, in the same order.
    """
    good = [item for item in parsed if not isinstance(item, DomainError)]
    results = iter(await in_parts(good, work))
    return [
        item if isinstance(item, DomainError) else _placed(next(results), field, position)
        for position, item in enumerate(parsed)
    ]


def checked(validator: ContractValidator, parse: Callable[[M], T]) -> Callable[[M], T]:
    """Puts the check against the contract before the parsing of a message."""

    def check_and_parse(message: M) -> T:
        validator.check(message)
        return parse(message)

    return check_and_parse


def an_id(text: str) -> UUID:
    """The UUID that an item of a list of IDs is.

    Raises:
        InvalidField: If it is none.
    """
    found = parse_uuid(text)
    if found is None:
        raise InvalidField.of("", "must be a valid UUID")
    return found


def _parsed(item: I, path: str, parse: Callable[[I], T]) -> T | DomainError:
    try:
        return parse(item)
    except DomainError as error:
        return error.within(path)
    except Exception as error:  # noqa: BLE001 - it is logged, and told
        return unforeseen(error, path)


def _placed(result: R | DomainError, field: str, position: int) -> R | DomainError:
    return result.within(f"{field}[{position}]") if isinstance(result, DomainError) else result


def _guarded(answer: Callable[[R | DomainError], A], result: R | DomainError) -> A:
    try:
        return answer(result)
    except Exception as error:  # noqa: BLE001 - it is logged, and told
        return answer(unforeseen(error, "answer"))
