"""Batches: each item succeeds or fails alone, for any reason, and the results are aligned with the items."""

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
I = TypeVar("I")  # noqa: E741 - an item, beside T for the parsed item
T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A", bound=Message)

# A larger item takes milliseconds to parse: a thread parses it, so that the event loop continues.
_LARGE_BYTES = 64 * 1024


async def batch_results(
    items: Iterable[I],
    field: str,
    *,
    parse: Callable[[I], T],
    work: Callable[[list[T]], Awaitable[Sequence[R | DomainError]]],
    message: Callable[[R | DomainError], A],
) -> list[A]:
    """Serve a batch: parse each item, run the work for the valid ones, and build the messages of the results.

    An unforeseen exception becomes the INTERNAL error of the item that it belongs to, wherever it is raised. The work
    may therefore run repeatedly and must be safe to repeat.

    Args:
        items: The items of the request.
        field: The name of the request's field with the items, for messages.
        parse: Returns the use case's argument for an item; may raise a `DomainError`.
        work: Returns a result for each argument, in the same order.
        message: Returns the message of a result.

    Returns:
        The messages, aligned with the items.
    """
    parsed = await parse_items(items, field, parse)
    return result_messages(await merge_results(parsed, field, work), message)


def result_messages(results: Iterable[R | DomainError], message: Callable[[R | DomainError], A]) -> list[A]:
    """Return the message of each result; a failure to build one becomes the error of that item."""
    return [_message_or_error(message, result) for result in results]


async def parse_items(items: Iterable[I], field: str, parse: Callable[[I], T]) -> list[T | DomainError]:
    """Parse each item.

    Returns:
        What was parsed, or the error, for each item.
    """
    parsed: list[T | DomainError] = []
    time_slice = TimeSlice()
    for position, item in enumerate(items):
        if isinstance(item, Message) and item.ByteSize() > _LARGE_BYTES:
            parsed.append(await asyncio.to_thread(_parsed_or_error, item, f"{field}[{position}]", parse))
        else:
            parsed.append(_parsed_or_error(item, f"{field}[{position}]", parse))
        await time_slice.rest()
    return parsed


async def merge_results(
    parsed: Sequence[T | DomainError], field: str, work: Callable[[list[T]], Awaitable[Sequence[R | DomainError]]]
) -> list[R | DomainError]:
    """Run the work for the valid items, and merge the results with the errors of the others.

    Args:
        parsed: What `parse_items` returned.
        field: The name of the request's field with the items.
        work: Returns a result for each valid item, in the same order.
    """
    valid = [item for item in parsed if not isinstance(item, DomainError)]
    results = iter(await in_parts(valid, work))
    return [
        item if isinstance(item, DomainError) else _placed(next(results), field, position)
        for position, item in enumerate(parsed)
    ]


def checked(validator: ContractValidator, parse: Callable[[M], T]) -> Callable[[M], T]:
    """Return a parser that checks a message against the contract first."""

    def check_and_parse(message: M) -> T:
        validator.check(message)
        return parse(message)

    return check_and_parse


def parse_id(text: str) -> UUID:
    """Return the UUID of an item in a list of IDs.

    Raises:
        InvalidField: If the item is not a UUID.
    """
    found = parse_uuid(text)
    if found is None:
        raise InvalidField.of("", "must be a valid UUID")
    return found


def _parsed_or_error(item: I, path: str, parse: Callable[[I], T]) -> T | DomainError:
    try:
        return parse(item)
    except DomainError as error:
        return error.within(path)
    except Exception as error:  # noqa: BLE001 - logged, and returned as the item's error
        return unforeseen(error, path)


def _placed(result: R | DomainError, field: str, position: int) -> R | DomainError:
    return result.within(f"{field}[{position}]") if isinstance(result, DomainError) else result


def _message_or_error(message: Callable[[R | DomainError], A], result: R | DomainError) -> A:
    try:
        return message(result)
    except Exception as error:  # noqa: BLE001 - logged, and returned as the item's error
        return message(unforeseen(error, "result"))
