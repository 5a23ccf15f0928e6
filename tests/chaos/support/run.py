"""One run: a load, faults, rest, and judgement."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg
import redis

from innosystem.client import Innosystem, connect
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from tests.chaos.support.books import BooksSnapshot, read_books
from tests.chaos.support.fault_injection import Inflictor
from tests.chaos.support.faults import Fault, schedule
from tests.chaos.support.figures import Figures, figures
from tests.chaos.support.load import JOBS_PER_SECOND, Load
from tests.chaos.support.neighbours import neighbours
from tests.chaos.support.notes import Notes
from tests.chaos.support.oracle import Evidence, complaints, unfinished
from tests.chaos.support.platform import WINDOW, Platform
from tests.chaos.support.troubles import TROUBLES, Trouble
from tests.chaos.support.verifying import verify

# The last thing that happens is that holds without a job are released.
REST_SECONDS_MAX = 150.0
FAULT_EVERY_SECONDS = 2.0
NEIGHBOURS_SECONDS = 12.0

_LOOK_SECONDS = 1.0


@dataclass
class Result:
    """What came of a run.

    Attributes:
        complaints: What is not as it has to be; empty if all is well.
        figures: What happened.
        rest_seconds: How long it took until nothing moved any more; None if it did not come to rest.
    """

    complaints: list[str] = field(default_factory=list)
    figures: Figures | None = None
    rest_seconds: float | None = None

    @property
    def line(self) -> str:
        """The last line of the report."""
        verdict = f"FAILED: {len(self.complaints)} complaints; " if self.complaints else "ok: "
        rest = "not at rest" if self.rest_seconds is None else f"at rest after {self.rest_seconds:.1f} s"
        return f"chaos {verdict}{self.figures.line + ', ' if self.figures else ''}{rest}"


async def run(
    folder: Path,
    *,
    seed: int,
    for_seconds: float,
    say: Callable[[str], None],
    jobs_per_second: float = JOBS_PER_SECOND,
    fault_every_seconds: float = FAULT_EVERY_SECONDS,
    neighbours_seconds: float = 0,
    neighbours_patience: float = 1,
    troubles: Sequence[Trouble] = TROUBLES,
) -> Result:
    """Run the platform under load and faults, and judges it.

    Args:
        folder: Where everything works and logs; it stays.
        seed: Decides on jobs and faults.
        for_seconds: How long there are faults.
        say: Called with what happens.
        jobs_per_second: How many jobs are submitted.
        fault_every_seconds: The mean time between two faults.
        neighbours_seconds: How long neighbours are measured under each trouble before; 0 for not at all.
        neighbours_patience: What their limits are multiplied by.
        troubles: Under which.
    """
    faults = schedule(seed, for_seconds=for_seconds, every_seconds=fault_every_seconds)
    (folder / "faults.json").write_text(json.dumps([asdict(fault) for fault in faults], indent=1))
    async with (
        Platform.open(folder, window=max(WINDOW, round(jobs_per_second))) as platform,
        _clients(platform) as clients,
    ):
        say(f"the platform runs in {folder}; {len(faults)} faults in {for_seconds:g} s")
        load = Load(clients, seed=seed, jobs_per_second=jobs_per_second)
        await load.prepare()
        broken: list[str] = []
        async with connect(platform.target("jobs"), token=platform.runner_token) as channel:
            inflictor = Inflictor(platform, JobServiceStub(channel), load)
            watching = asyncio.create_task(platform.watch())
            async with load.running():
                if neighbours_seconds:
                    broken += await neighbours(
                        platform,
                        load,
                        say,
                        seconds=neighbours_seconds,
                        patience=neighbours_patience,
                        troubles=troubles,
                    )
                broken += await _inflict(inflictor, faults, say, for_seconds)
            await platform.mend()
            say("the faults are over and everything runs again")
            rest_seconds, left = await _rest(platform, load)
            watching.cancel()
        result = await asyncio.to_thread(_judge, platform, load, inflictor)
        result.rest_seconds = rest_seconds
        if left:
            result.complaints.append(
                f"not at rest after {REST_SECONDS_MAX:g} s: {len(left)} things, such as {left[:5]}"
            )
        result.complaints += broken
        return result


def _clients(platform: Platform) -> Innosystem:
    return Innosystem(
        customers=platform.target("customers"),
        wallets=platform.target("wallets"),
        jobs=platform.target("jobs"),
        token=platform.token,
    )


async def _inflict(
    inflictor: Inflictor, faults: Sequence[Fault], say: Callable[[str], None], for_seconds: float
) -> list[str]:
    """Has each fault begin at its time, whether those before it are over or not; returns what went wrong with that."""
    began = time.monotonic()
    running: list[asyncio.Task[None]] = []
    for fault in faults:
        await asyncio.sleep(max(0.0, fault.at_seconds - (time.monotonic() - began)))
        say(f"{time.monotonic() - began:7.1f} s  {fault.sort}: {fault.target} ({fault.seconds:g} s)")
        running.append(asyncio.create_task(inflictor.inflict(fault)))
    await asyncio.sleep(max(0.0, for_seconds - (time.monotonic() - began)))
    ended = await asyncio.gather(*running, return_exceptions=True)
    return [f"the fault {fault} broke: {error!r}" for fault, error in zip(faults, ended, strict=True) if error]


async def _rest(platform: Platform, load: Load) -> tuple[float | None, list[str]]:
    """Wait until nothing moves any more; return how long that took, or what moves still."""
    began = time.monotonic()
    finishing = asyncio.create_task(load.finish())
    left = ["the load is not done"]
    try:
        while time.monotonic() - began < REST_SECONDS_MAX:
            await asyncio.wait([finishing], timeout=_LOOK_SECONDS)
            with suppress(psycopg.OperationalError, redis.RedisError):
                left = unfinished(await asyncio.to_thread(_books, platform))
            if finishing.done() and not left:
                return time.monotonic() - began, []
    finally:
        finishing.cancel()
        load.give_up()
    return None, left or ["the load is not done"]


def _books(platform: Platform) -> BooksSnapshot:
    return read_books(platform.database_urls, platform.redis.url)


def _judge(platform: Platform, load: Load, inflictor: Inflictor) -> Result:
    """Read everything once more, and compare."""
    evidence = Evidence(
        books=_books(platform),
        submissions=load.submissions,
        credited_cents=load.credited_cents,
        notes=Notes.read(platform.notes),
        may_be_refused=load.may_be_refused,
        handed_back=_handed_back(platform),
    )
    members = platform.members.values()
    found = [
        *complaints(evidence),
        *verify(platform.database_urls),
        *load.complaints,
        *inflictor.complaints,
        *(complaint for member in members for complaint in member.complaints),
        *(defect for member in members for defect in member.defects()),
        *platform.orphans(),
    ]
    return Result(complaints=found, figures=figures(evidence, load, inflictor, platform))


def _handed_back(platform: Platform) -> Counter[str]:
    """What runners handed back when they were asked to stop, also when they could not tell whether it arrived."""
    counts: Counter[str] = Counter()
    for process in [process for runner in platform.runners for process in runner.history]:
        # Those whose handlers it stopped, and those that were claimed after that.
        stopped = {job_id for line in process.lines("handing_back") for job_id in line["job_ids"]}
        counts.update(stopped | {line["job_id"] for line in process.lines("job_returned")})
    return counts
