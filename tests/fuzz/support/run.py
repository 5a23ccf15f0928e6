"""One run: requests over real connections, many at a time, and judgement."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from grpc import aio

from tests.fuzz.support.methods import methods
from tests.fuzz.support.platform import Platform
from tests.fuzz.support.requests import Request, Requests
from tests.fuzz.support.sending import Identity, Response, send
from tests.fuzz.support.world import prepare

CONNECTIONS = 4
AT_A_TIME = 48
GROWTH_MAX_MIB = 96.0
"""How much larger a process may be in the end than after the first fifth of a run.

A service keeps nothing of a request. It keeps bounded caches, the statements that it has prepared on each connection,
and what the C library does not give back of the largest requests, of which there are `AT_A_TIME` at most.
"""

_WARM_UP_SHARE = 0.2
# Requests use up what exists: jobs are cancelled, keys revoked, customers deactivated.
_WORLD_REQUESTS = 1500
_SAY_EVERY = 10_000
_COMPLAINTS_MAX = 200
# In a run of as many requests each method is carried out, or the requests that are made of it are of no use.
_EACH_CARRIED_OUT = 20_000

# What operators and services can do to the books, as these requests do: write off jobs that are not finished, release
# the holds of waiting jobs, and give wallets to customers that nobody has created. And what runners can do with a
# charge token: have a charge declined or blocked. No request may unbalance the ledger, or charge a job twice, and no
# runner may charge or settle what is not due.
_OF_TRUSTED_CALLERS = (
    "charges_without_job:",
    "holds_missing:",
    "unknown_customers:",
    "declined:",
    "blocked:",
    # Released in the batch of the charge, just before it. Verify can't tell it from a hold whose end was falsified.
    "hold_id: the hold was not captured, and is RELEASED",
)


@dataclass
class Result:
    """What came of a run.

    Attributes:
        complaints: What is not as it has to be; empty if all is well.
        codes: How many calls ended with each status.
        reasons: How many calls failed with each reason.
        carried_out: How many calls of each method ended with OK.
        callers: How many calls of each caller did.
        requests: How many were sent.
        seconds: How long that took.
        sizes: The memory of each service in MiB, after the warm-up and in the end.
    """

    complaints: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    carried_out: Counter[str] = field(default_factory=Counter)
    callers: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    seconds: float = 0.0
    sizes: list[Mapping[str, float]] = field(default_factory=list)

    @property
    def never_carried_out(self) -> list[str]:
        """The methods that no request has had carried out."""
        return sorted({one.path for one in methods()} - self.carried_out.keys())

    @property
    def line(self) -> str:
        """The last line of the report."""
        verdict = f"FAILED: {len(self.complaints)} complaints" if self.complaints else "ok"
        return f"fuzz {verdict}: {self.requests} requests in {self.seconds:.0f} s"

    def record(self, request: Request, response: Response) -> None:
        """Count a response, and keep what is wrong with it."""
        self.requests += 1
        self.codes[response.code] += 1
        if response.reason:
            self.reasons[response.reason] += 1
        if response.code == "OK":
            self.carried_out[request.method.path] += 1
            self.callers[request.caller.name] += 1
        if len(self.complaints) < _COMPLAINTS_MAX:
            self.complaints += [f"{complaint}\n  {request}" for complaint in response.complaints]


async def run(
    folder: Path,
    *,
    seed: int,
    requests: int,
    say: Callable[[str], None],
    only: int | None = None,
    limited: bool = False,
) -> Result:
    """Start the services, send requests, and judge.

    Args:
        folder: Where everything works and logs; it stays.
        seed: Decides on the requests.
        requests: How many.
        say: Called with what happens.
        only: The number of the one request to send, to look at it again.
        limited: Whether clients and customers have low limits.
    """
    made = Requests(seed, methods(), CONNECTIONS)
    numbers = range(requests) if only is None else range(only, only + 1)
    result = Result()
    foreign: set[Identity] = set()
    async with Platform.open(folder, limited=limited) as platform:
        say(f"the platform runs in {folder}")
        channels = {
            service: [
                aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(CONNECTIONS)
            ]
            for service, address in platform.stack.addresses.items()
        }
        begun = time.monotonic()
        for first in range(numbers.start, numbers.stop, _WORLD_REQUESTS):
            world = await asyncio.to_thread(
                prepare, platform.stack, platform.tokens, f"{seed}:{first // _WORLD_REQUESTS * _WORLD_REQUESTS}"
            )
            foreign |= world.foreign
            last = min(numbers.stop, first + _WORLD_REQUESTS)
            made_now = (made.make(number, world.known, world.callers) for number in range(first, last))
            await _send_all(made_now, channels, result, foreign)
            # Who is A in the next round is another customer.
            foreign |= world.own
            result.complaints += platform.ended()
            if not result.sizes and last - numbers.start >= len(numbers) * _WARM_UP_SHARE:
                result.sizes.append(platform.sizes())
            if first // _SAY_EVERY != last // _SAY_EVERY:
                say(f"{last} requests, {time.monotonic() - begun:.0f} s, MiB {_rounded(platform.sizes())}")
            if len(result.complaints) >= _COMPLAINTS_MAX or platform.ended():
                break
        result.seconds = time.monotonic() - begun
        for channel in (one for each in channels.values() for one in each):
            await channel.close()
        result.complaints += await asyncio.to_thread(_judge, platform, result)
    return result


async def _send_all(
    requests: Iterator[Request],
    channels: Mapping[str, list[aio.Channel]],
    result: Result,
    foreign: Collection[Identity],
) -> None:
    async def sender() -> None:
        for request in requests:
            channel = channels[request.method.server][request.connection]
            result.record(request, await send(channel, request, foreign))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(sender())


def _judge(platform: Platform, result: Result) -> list[str]:
    """What is wrong besides the responses."""
    if ended := platform.ended():
        return [*ended, *platform.mishaps()]
    result.sizes.append(platform.sizes())
    before, after = result.sizes[0], result.sizes[-1]
    grown = {name: after[name] - before[name] for name in after}
    return [
        *unused(result),
        *(f"{name} has grown by {mib:.0f} MiB" for name, mib in grown.items() if mib > GROWTH_MAX_MIB),
        *platform.mishaps(),
        *(one for one in platform.books() if not any(known in one for known in _OF_TRUSTED_CALLERS)),
    ]


def unused(result: Result) -> list[str]:
    """Return the methods that a run long enough has never had carried out, as complaints."""
    return [f"never carried out: {one}" for one in result.never_carried_out if result.requests >= _EACH_CARRIED_OUT]


def _rounded(sizes: Mapping[str, float]) -> dict[str, int]:
    return {name: round(size) for name, size in sizes.items()}
