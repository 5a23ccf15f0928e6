"""Which faults come when: a schedule that depends on nothing but its seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from services import SERVICES

SERVICE_REPLICAS = tuple(f"{service}-{index}" for service in SERVICES for index in range(2))
RUNNERS = ("runner-0", "runner-1", "runner-2")
LINKS = ("redis", "postgres-customers", "postgres-wallets", "postgres-jobs", *SERVICE_REPLICAS)
# What jobs go through most of all is hit most often.
_BUSY_REPLICAS = ("wallets-0", "wallets-1", *("jobs-0", "jobs-1") * 2, "customers-0", "customers-1")
_BUSY_LINKS = ("redis", "postgres-jobs", "jobs-0", "jobs-1", *LINKS)


@dataclass(frozen=True, kw_only=True)
class Sort:
    """One sort of faults.

    Attributes:
        targets: What it may hit.
        seconds: The shortest and the longest time that it lasts.
        copies: How often it is in the deck that the schedule is dealt from.
        once: Whether a run has it exactly once, beside the deck, for at most a fifth of the run.
    """

    targets: tuple[str, ...]
    seconds: tuple[float, float] = (0, 0)
    copies: int = 1
    once: bool = False


SORTS: Mapping[str, Sort] = MappingProxyType(
    {
        "kill a runner": Sort(targets=RUNNERS, copies=2),
        # Longer than the lease: it comes back with results that nobody wants any more.
        "freeze a runner": Sort(targets=RUNNERS, seconds=(3.5, 8), copies=2),
        "roll a runner": Sort(targets=RUNNERS),
        "kill a replica": Sort(targets=_BUSY_REPLICAS, copies=2),
        "freeze a replica": Sort(targets=_BUSY_REPLICAS, seconds=(0.5, 6), copies=2),
        "roll a replica": Sort(targets=_BUSY_REPLICAS),
        "crash PostgreSQL": Sort(targets=("postgres",), seconds=(0, 3)),
        "end all backends": Sort(targets=("postgres",), copies=2),
        "crash Redis, empty afterwards": Sort(targets=("redis",), seconds=(0, 4)),
        "empty Redis": Sort(targets=("redis",), copies=2),
        "pause Redis": Sort(targets=("redis",), seconds=(0.5, 4)),
        "delay a link": Sort(targets=_BUSY_LINKS, seconds=(1, 5)),
        "reset a link": Sort(targets=_BUSY_LINKS, copies=2),
        "black-hole a link": Sort(targets=_BUSY_LINKS, seconds=(1, 6), copies=2),
        "drop replies of a link": Sort(targets=_BUSY_LINKS, seconds=(0.2, 2), copies=2),
        "freeze a runner and complete late": Sort(targets=RUNNERS, seconds=(4.5, 7), copies=2),
        "push duplicates": Sort(targets=("redis",)),
        "push unknown IDs": Sort(targets=("redis",)),
        "push rubbish": Sort(targets=("redis",)),
        # Longer than a lease and than any limit on waiting for a lock.
        "lock a row": Sort(targets=("wallets", "jobs"), seconds=(3.5, 9), copies=2),
        # Longer than the deadlines of those who call it.
        "freeze a replica for long": Sort(targets=SERVICE_REPLICAS, seconds=(8, 14)),
        "fail Redis over": Sort(targets=("redis",), copies=2),
        "reconnect to a read-only PostgreSQL": Sort(targets=SERVICES, seconds=(0.5, 3)),
        "write a value of a later release": Sort(targets=("jobs",), seconds=(3, 8)),
        "put a foreign key under a list's name": Sort(targets=("redis",), seconds=(2, 6)),
        "submit a poison job": Sort(targets=("runners",)),
        "stop the wallets service": Sort(targets=("wallets",), seconds=(120, 120), copies=0, once=True),
        "flood by one customer": Sort(targets=("jobs",), seconds=(60, 60), copies=0, once=True),
    }
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        at_seconds: When it begins, from the start of the load.
        sort: What it is, of `SORTS`.
        target: What it hits.
        seconds: How long it lasts.
        chance: A number from 0 to 1, for what else is decided.
    """

    at_seconds: float
    sort: str
    target: str
    seconds: float
    chance: float


def schedule(seed: int, *, for_seconds: float, every_seconds: float, quiet_seconds: float = 2.0) -> list[Fault]:
    """Deals faults from a shuffled deck of all sorts, repeatedly: in a short run too there is something of each.

    Args:
        seed: Where chance comes from.
        for_seconds: No fault begins after this time.
        every_seconds: The mean time between two.
        quiet_seconds: No fault begins before this time.
    """
    chance = random.Random(seed)
    deck: list[str] = []
    dealt: list[Fault] = []
    at = quiet_seconds
    while at < for_seconds:
        if not deck:
            deck = [name for name, sort in SORTS.items() for _ in range(sort.copies)]
            chance.shuffle(deck)
        dealt.append(_dealt(deck.pop(), at, chance))
        at += chance.uniform(0.2, 1.8) * every_seconds
    # One after the other, each in a part of the run of its own.
    once = [name for name, sort in SORTS.items() if sort.once and for_seconds > quiet_seconds]
    chance.shuffle(once)
    for place, name in enumerate(once):
        fault = _dealt(name, quiet_seconds + (for_seconds - quiet_seconds) * place / len(once), chance)
        dealt.append(replace(fault, seconds=min(fault.seconds, for_seconds / 5)))
    return sorted(dealt, key=lambda fault: fault.at_seconds)


def _dealt(name: str, at_seconds: float, chance: random.Random) -> Fault:
    sort = SORTS[name]
    return Fault(
        at_seconds=round(at_seconds, 3),
        sort=name,
        target=chance.choice(sort.targets),
        seconds=round(chance.uniform(*sort.seconds), 3),
        chance=chance.random(),
    )
