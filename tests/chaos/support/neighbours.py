"""One thing is bad, and what has nothing to do with it continues as before: the oracle of neighbours.

While everything else is well, a customer of its own submits, reads, pays and has jobs picked up, in a steady rhythm.
First that is measured with nothing wrong; then again under one trouble after the other. None of the calls that have
nothing to do with a trouble may fail, and their 99th percentile stays within five times of before.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc

from innosystem.client import connect
from innosystem.jobs.v1 import job_service_pb2, job_type_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.wallets.v1.wallet_service_pb2 import CreditRequest
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.chaos.support.calls import read
from tests.chaos.support.kinds import FREE, QUICK
from tests.chaos.support.load import Load
from tests.chaos.support.notes import Notes
from tests.chaos.support.platform import Platform
from tests.chaos.support.troubles import ALL_PROBES, TROUBLES, Trouble

if TYPE_CHECKING:
    # The type of a stub over an aio channel exists for type checkers only.
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceAsyncStub

TIMES_SLOWER_MAX = 5.0
CALM_SECONDS = 1.0
"""The 99th percentile of some hundred calls is a matter of chance on a shared machine: below this it says nothing."""

_CALL_SECONDS = 10.0
_RECOVERY_SECONDS = 60.0
_EVERY_SECONDS = 0.1
# Calls go to these replicas; the other one of each service is the one that is bad.
_REPLICA = 1


@dataclass(frozen=True)
class Sample:
    """One call, or the pickup of one job.

    Attributes:
        probe: Which of the neighbour's doings.
        seconds: How long it took.
        error: What it failed with; empty if it did not.
    """

    probe: str
    seconds: float
    error: str = ""


@dataclass
class _Sent:
    """A job that was submitted.

    Attributes:
        pickup: As what its pickup counts.
        at: When, in seconds since 1970.
    """

    pickup: str
    job_id: str
    at: float


@dataclass
class Neighbour:
    """A customer who has nothing to do with any trouble, and what happened to their calls.

    Attributes:
        samples: The calls since the last `take`.
    """

    platform: Platform
    load: Load
    jobs: "JobServiceAsyncStub"
    wallets: "WalletServiceAsyncStub"
    samples: list[Sample] = field(default_factory=list)
    _sent: list[_Sent] = field(default_factory=list)
    _calls: set[asyncio.Task[None]] = field(default_factory=set)
    _known: str = ""

    @classmethod
    @asynccontextmanager
    async def open(cls, platform: Platform, load: Load) -> AsyncIterator["Neighbour"]:
        """Connect to one replica of each service."""
        token = platform.token
        async with (
            connect(_target(platform, "jobs"), token=token) as jobs,
            connect(_target(platform, "wallets"), token=token) as wallets,
        ):
            yield cls(platform, load, JobServiceStub(jobs), WalletServiceStub(wallets))

    async def run(self) -> None:
        """Call in a steady rhythm, whatever became of the calls before, until cancelled."""
        probes: Sequence[Callable[[], Awaitable[None]]] = (
            lambda: self._submit("submit", QUICK),
            lambda: self._submit("submit free", FREE),
            self._read,
            self._pay,
        )
        while True:
            for probe in probes:
                task = asyncio.ensure_future(probe())
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
                await asyncio.sleep(_EVERY_SECONDS / len(probes))

    async def take(self, probes: Collection[str]) -> Mapping[str, list[Sample]]:
        """Wait for what is under way, and return the samples of some probes since the last time."""
        await asyncio.gather(*self._calls)
        sent, self._sent = self._sent, []
        samples, self.samples = self.samples, []
        if wanted := [one for one in sent if one.pickup in probes]:
            samples += await self._picked_up(wanted)
        found: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            if sample.probe in probes:
                found[sample.probe].append(sample)
        return found

    async def recover(self, patience: float) -> bool:
        """Wait until jobs, paid and free, are picked up soon again; say whether they were in time."""
        until = time.monotonic() + _RECOVERY_SECONDS
        while time.monotonic() < until:
            await asyncio.gather(self._submit("submit", QUICK), self._submit("submit free", FREE), self._pay())
            samples = [sample for taken in (await self.take(ALL_PROBES)).values() for sample in taken]
            if not any(sample.error or sample.seconds > CALM_SECONDS * patience for sample in samples):
                return True
        return False

    async def _submit(self, probe: str, kind: str) -> None:
        submission = self.load.neighbours_job(kind)
        submission.request.priority = job_type_pb2.PRIORITY_HIGH
        at = time.time()
        if await self._sampled(probe, self.jobs.CreateJob(submission.request, timeout=_CALL_SECONDS)):
            submission.accepted = True
            self._sent.append(_Sent(probe.replace("submit", "pickup"), submission.job_id, at))
            self._known = submission.job_id
        else:
            self.load.repeat(submission)

    async def _read(self) -> None:
        if self._known:
            request = job_service_pb2.GetJobRequest(job_id=self._known)
            await self._sampled("read", self.jobs.GetJob(request, timeout=_CALL_SECONDS))

    async def _pay(self) -> None:
        request = CreditRequest(
            customer_id=self.load.neighbour, currency="EUR", amount_cents=1, idempotency_key=str(uuid4())
        )
        if await self._sampled("pay", self.wallets.Credit(request, timeout=_CALL_SECONDS)):
            self.load.credited_cents[self.load.neighbour] += 1
        else:
            self.load.repeat_credit(request)

    async def _sampled(self, probe: str, call: Awaitable[object]) -> bool:
        began, error = time.monotonic(), ""
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            error = str(read(failure))
        self.samples.append(Sample(probe, time.monotonic() - began, error))
        return not error

    async def _picked_up(self, sent: Sequence[_Sent]) -> list[Sample]:
        """When the handlers of jobs began, once all have; a job that is not picked up in time failed."""
        until = time.monotonic() + _CALL_SECONDS
        begun: Mapping[str, float] = {}
        while time.monotonic() < until:
            begun = (await asyncio.to_thread(Notes.read, self.platform.notes)).begun_at
            if all(one.job_id in begun for one in sent):
                break
            await asyncio.sleep(_EVERY_SECONDS)
        return [
            Sample(one.pickup, begun[one.job_id] - one.at)
            if one.job_id in begun
            else Sample(one.pickup, math.inf, "not picked up")
            for one in sent
        ]


async def neighbours(
    platform: Platform,
    load: Load,
    say: Callable[[str], None],
    *,
    seconds: float,
    patience: float = 1,
    troubles: Sequence[Trouble] = TROUBLES,
) -> list[str]:
    """Measure a neighbour without trouble, and then under each.

    Args:
        platform: Everything runs, and nothing is wrong.
        load: The jobs beside.
        say: Called with the figures.
        seconds: How long each is measured.
        patience: What limits are multiplied by where others use the same machine.
        troubles: Which.

    Returns:
        Complaints, none if every neighbour was left in peace.
    """
    complaints: list[str] = []
    async with Neighbour.open(platform, load) as neighbour:
        if not await neighbour.recover(patience):
            return ["the neighbour could not work before anything was wrong"]
        before = await _measured(neighbour, seconds, ALL_PROBES)
        say(f"neighbours before: {_told(before)}")
        for trouble in troubles:
            async with trouble.inflicted(platform, load):
                during = await _measured(neighbour, seconds * trouble.times_longer, trouble.neighbours)
            say(f"neighbours while {trouble.name}: {_told(during)}")
            problems = judged(before, during, trouble.neighbours, trouble.limit_seconds * patience)
            complaints += [f"while {trouble.name}: {problem}" for problem in problems]
            if not await neighbour.recover(patience):
                complaints.append(f"after {trouble.name} the neighbour did not recover in {_RECOVERY_SECONDS:g} s")
    return complaints


async def _measured(neighbour: Neighbour, seconds: float, probes: Collection[str]) -> Mapping[str, list[Sample]]:
    running = asyncio.create_task(neighbour.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return await neighbour.take(probes)


def judged(
    before: Mapping[str, Sequence[Sample]],
    during: Mapping[str, Sequence[Sample]],
    probes: Collection[str],
    limit_seconds: float = CALM_SECONDS,
) -> list[str]:
    """Say what a trouble did to those that have nothing to do with it."""
    problems: list[str] = []
    for probe in sorted(probes):
        samples = during.get(probe, ())
        if not samples:
            problems.append(f"{probe}: nothing was measured")
            continue
        if errors := [sample.error for sample in samples if sample.error]:
            problems.append(f"{probe}: {len(errors)} of {len(samples)} failed, such as {errors[0]}")
        limit = max(TIMES_SLOWER_MAX * percentile_99(before.get(probe, ())), limit_seconds)
        if (slow := percentile_99(samples)) > limit:
            problems.append(f"{probe}: p99 {slow:.3f} s of {len(samples)}, more than {limit:.3f} s")
    return problems


def percentile_99(samples: Sequence[Sample]) -> float:
    """The time within which 99 of 100 were over; 0 if there are none."""
    times = sorted(sample.seconds for sample in samples)
    return times[math.ceil(0.99 * len(times)) - 1] if times else 0.0


def _told(measured: Mapping[str, Sequence[Sample]]) -> str:
    return ", ".join(
        f"{probe} p99 {1000 * percentile_99(samples):.0f} ms of {len(samples)}"
        for probe, samples in sorted(measured.items())
    )


def _target(platform: Platform, service: str) -> str:
    return f"127.0.0.1:{platform.links[f'{service}-{_REPLICA}'].port}"
