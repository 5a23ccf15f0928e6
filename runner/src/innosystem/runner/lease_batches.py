"""The leases that the runner holds, and the requests that renew them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from itertools import chain
from typing import Final, TypeAlias

from innosystem.runner.in_hand import JobInHand

# Requests that the service answers well within their limit; the contract allows 10,000 jobs and 1,000 leases.
JOBS_MAX: Final = 1_000
_PARTS: Final = 8


Batch: TypeAlias = list[JobInHand]


class Renewal(Enum):
    """What became of a request that renews leases."""

    RENEWED = auto()
    """It was answered."""
    HELD_UP = auto()
    """It was not: a part of it may be what holds it up, or is refused."""
    UNAVAILABLE = auto()
    """Nobody was there to answer."""


def renew_divided(batches: Sequence[Batch], send: Callable[[Sequence[Batch], bool], list[Renewal]]) -> Batch:
    """Renew the leases of batches of jobs; what holds up others is divided from them.

    A service that answers nothing at all is away, and not held up: one batch is divided to find that out.

    Args:
        batches: The jobs.
        send: Sends a request for each batch and tells what became of it. Also told whether they were divided.

    Returns:
        The jobs whose leases are not renewed.
    """
    left: Batch = []
    answered = divided = False
    while batches:
        answers = send(batches, divided)
        answered = answered or Renewal.RENEWED in answers
        suspects: list[Batch] = []
        for batch, answer in zip(batches, answers, strict=True):
            if answer is Renewal.HELD_UP and len(batch) > 1 and (answered or not divided):
                suspects.append(batch)
            elif answer is not Renewal.RENEWED:
                left += batch
        if not answered:
            left += chain.from_iterable(suspects[1:])
            suspects = suspects[:1]
        batches, divided = [part for batch in suspects for part in _parts(batch)], True
    return left


def batches(jobs: Iterable[JobInHand]) -> Iterator[Batch]:
    """Split jobs into batches of a bounded size, those of one lease together."""
    ordered = sorted(jobs, key=lambda job: job.lease_id)
    for begin in range(0, len(ordered), JOBS_MAX):
        yield ordered[begin : begin + JOBS_MAX]


def _parts(batch: Batch) -> list[Batch]:
    size = -(-len(batch) // _PARTS)
    return [batch[begin : begin + size] for begin in range(0, len(batch), size)]
