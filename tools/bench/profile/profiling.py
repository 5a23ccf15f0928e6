"""Where the CPU goes while jobs are done as P1 and P2 submit them: by process, by package and by function."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from tools.bench.measures import throughput
from tools.bench.measures.throughput import Way
from tools.bench.plan import Plan
from tools.bench.platform import consumption
from tools.bench.platform.consumption import Look, Used
from tools.bench.platform.processes import require_proc
from tools.bench.platform.stack_under_test import NOOP, Arena, Say, arena, watched
from tools.bench.profile import pyspy as spy
from tools.bench.profile import stacks

_WAYS: Mapping[str, Callable[[Arena], Way]] = {"P1": throughput.in_batches, "P2": throughput.one_by_one}
#: What can be profiled.
MEASURES = tuple(_WAYS)


@dataclass(frozen=True)
class Profiled:
    """What was seen of one measure.

    Attributes:
        way: How jobs were submitted.
        jobs_per_second: End to end, under observation.
        used: The CPU time of each part.
        others_seconds: The CPU time of everything else on the machine, the sampling included.
        busy: The part of the machine's CPU time that was used.
        commits: Transactions, by database.
        calls: Calls, by service and method.
        stacks: The samples of each Python process.
        files: Where those are left.
    """

    way: Way
    jobs_per_second: float
    used: Sequence[Used]
    others_seconds: float
    busy: float
    commits: Mapping[str, int]
    calls: Mapping[str, Mapping[str, int]]
    stacks: Mapping[str, stacks.Profile]
    files: Mapping[str, Path]


async def profile(
    plan: Plan, measures: Sequence[str], say: Say, *, folder: Path, target: Path, done: Callable[[Profiled], None]
) -> None:
    """Profiles.

    Args:
        plan: The sizes of the runs.
        measures: Of `MEASURES`.
        say: Tells people how far it is.
        folder: For the stack.
        target: Where the collapsed stacks are left; made if it is missing.
        done: Is told of each measure.

    Raises:
        CommandError: If this machine, or this user, can't.
    """
    require_proc()
    program = spy.py_spy()
    await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)

    async def work(place: Arena) -> None:
        for measure in measures:
            done(await _profile(place, _WAYS[measure](place), program, target))

    async with arena(plan, say, folder / "main") as place:
        await watched(place, work)


async def _profile(place: Arena, way: Way, program: Path, target: Path) -> Profiled:
    place.say(f"{way.name.upper()}: {way.jobs} jobs, {way.batch} a call, under observation")
    await place.finish(way.jobs, batch=way.batch, callers=way.callers)
    generator = place.generator("jobs", job_type=NOOP, jobs=way.jobs, batch=way.batch, callers=way.callers)
    async with generator:
        pids = {**consumption.python_processes(place), "load generator": generator.pid}
        named = {f"{way.name}-{name.replace(' ', '-')}": pid for name, pid in pids.items()}
        async with spy.spying(program, named, target) as files:
            before = await consumption.look(place)
            went = await generator.go()
            settled = await place.jobs.until_settled()
            after = await consumption.look(place)
    calls = await asyncio.to_thread(consumption.calls, place, before)
    # The generator is gone by now, and says itself what it has used.
    load = Used("load generator", went["cpu_seconds"], went["main_cpu_seconds"])
    used = sorted([*consumption.used(before, after), load], key=attrgetter("seconds"), reverse=True)
    return Profiled(
        way,
        way.jobs / (settled - went["began"]),
        used,
        max(after.busy - before.busy - sum(one.seconds for one in used), 0.0),
        (after.busy - before.busy) / max(after.available - before.available, 1e-9),
        _grown(before, after),
        calls,
        {name: await asyncio.to_thread(_read, file) for name, file in files.items()},
        files,
    )


def _grown(before: Look, after: Look) -> dict[str, int]:
    return {service: count - before.commits[service] for service, count in after.commits.items()}


def _read(file: Path) -> stacks.Profile:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return stacks.read(lines)
