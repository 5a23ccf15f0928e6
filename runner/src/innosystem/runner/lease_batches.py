"""The division of leases into the requests that renew them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from itertools import chain
from typing import Final, TypeAlias

from innosystem.runner.in_hand import JobInHand

# The service renews this many well within the time limit; the contract allows 10,000 jobs and 1,000 leases.
JOBS_MAX: Final = 1_000
_PARTS: Final = 8


Batch: TypeAlias = list[JobInHand]


class Renewal(Enum):
    """The result of a request that renews leases."""

    RENEWED = auto()
    """The service responded."""
    HELD_UP = auto()
    """The service did not respond, or refused: an item of the request may be the cause."""
    UNAVAILABLE = auto()
    """The service could not be reached."""


def renew_divided(batches: Sequence[Batch], send: Callable[[Sequence[Batch], bool], list[Renewal]]) -> Batch:
    """Renew the leases of batches of jobs, separating the jobs that hold up others.

    If no batch is renewed, the service may be down rather than held up: one batch is divided to find out.

    Args:
        batches: The jobs.
        send: Sends a request for each batch and returns the results. The second argument is whether the batches
            were divided.

    Returns:
        The jobs whose leases are not renewed.
    """
    left: Batch = []
    renewed = divided = False
    while batches:
        renewals = send(batches, divided)
        renewed = renewed or Renewal.RENEWED in renewals
        suspects: list[Batch] = []
        for batch, renewal in zip(batches, renewals, strict=True):
            if renewal is Renewal.HELD_UP and len(batch) > 1 and (renewed or not divided):
                suspects.append(batch)
            elif renewal is not Renewal.RENEWED:
                left += batch
        if not renewed:
            left += chain.from_iterable(suspects[1:])
            suspects = suspects[:1]
        batches, divided = [part for batch in suspects for part in _parts(batch)], True
    return left


def batches(jobs: Iterable[JobInHand]) -> Iterator[Batch]:
    """Split jobs into batches of a bounded size, keeping the jobs of a lease together."""
    ordered = sorted(jobs, key=lambda job: job.lease_id)
    for begin in range(0, len(ordered), JOBS_MAX):
        yield ordered[begin : begin + JOBS_MAX]


def _parts(batch: Batch) -> list[Batch]:
    size = -(-len(batch) // _PARTS)
    return [batch[begin : begin + size] for begin in range(0, len(batch), size)]
