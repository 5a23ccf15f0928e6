"""The use of CPU time under the workloads of P1 and P2: by process, by package and by function."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from tools.bench.measures import throughput
from tools.bench.measures.throughput import Workload
from tools.bench.plan import Plan
from tools.bench.platform import consumption
from tools.bench.platform.consumption import PartUsage, Snapshot
from tools.bench.platform.processes import require_proc
from tools.bench.platform.stack_under_test import NOOP, Say, StackUnderTest, start_stack, watched
from tools.bench.profile import pyspy, stacks

_WORKLOADS: Mapping[str, Callable[[StackUnderTest], Workload]] = {
    "P1": throughput.in_batches,
    "P2": throughput.one_by_one,
}
#: The measures that can be profiled.
MEASURES = tuple(_WORKLOADS)


@dataclass(frozen=True)
class Profiled:
    """The profile of one measure.

    Attributes:
        workload: How jobs were submitted.
        jobs_per_second: The rate end to end, while sampling.
        used: The CPU time of each part.
        others_seconds: The CPU time of everything else on the machine, the sampling included.
        busy: The part of the machine's CPU time that was used.
        commits: The transactions, by database.
        calls: The calls, by service and method.
        stacks: The samples of each Python process.
        files: The files of these samples.
    """

    workload: Workload
    jobs_per_second: float
    used: Sequence[PartUsage]
    others_seconds: float
    busy: float
    commits: Mapping[str, int]
    calls: Mapping[str, Mapping[str, int]]
    stacks: Mapping[str, stacks.Profile]
    files: Mapping[str, Path]


async def profile(
    plan: Plan, measures: Sequence[str], say: Say, *, folder: Path, target: Path, done: Callable[[Profiled], None]
) -> None:
    """Profile measures.

    Args:
        plan: The sizes of the runs.
        measures: A choice of `MEASURES`.
        say: Prints the progress for people.
        folder: For the stack.
        target: The folder for the collapsed stacks; created if it is missing.
        done: Receives the profile of each measure.

    Raises:
        CommandError: This machine lacks the means, or this user the right.
    """
    require_proc()
    program = pyspy.py_spy()
    await asyncio.to_thread(target.mkdir, parents=True, exist_ok=True)

    async def work(stack: StackUnderTest) -> None:
        for measure in measures:
            done(await _profile(stack, _WORKLOADS[measure](stack), program, target))

    async with start_stack(plan, say, folder / "main") as stack:
        await watched(stack, work)


async def _profile(stack: StackUnderTest, workload: Workload, program: Path, target: Path) -> Profiled:
    stack.say(f"{workload.name.upper()}: {workload.jobs} jobs, {workload.batch} a call, under observation")
    await stack.finish(workload.jobs, batch=workload.batch, callers=workload.callers)
    generator = stack.generator(
        "jobs", job_type=NOOP, jobs=workload.jobs, batch=workload.batch, callers=workload.callers
    )
    async with generator:
        pids = {**consumption.python_processes(stack), "load generator": generator.pid}
        named = {f"{workload.name}-{name.replace(' ', '-')}": pid for name, pid in pids.items()}
        async with pyspy.sampling(program, named, target) as files:
            before = await consumption.take_snapshot(stack)
            load = await generator.go()
            settled = await stack.jobs.until_settled()
            after = await consumption.take_snapshot(stack)
    calls = await asyncio.to_thread(consumption.calls, stack, before)
    # The generator has ended by now, and reports its own usage.
    generated = PartUsage("load generator", load["cpu_seconds"], load["main_cpu_seconds"])
    used = sorted([*consumption.usage(before, after), generated], key=attrgetter("seconds"), reverse=True)
    return Profiled(
        workload,
        workload.jobs / (settled - load["began"]),
        used,
        max(after.busy - before.busy - sum(one.seconds for one in used), 0.0),
        (after.busy - before.busy) / max(after.available - before.available, 1e-9),
        _grown(before, after),
        calls,
        {name: await asyncio.to_thread(_read, file) for name, file in files.items()},
        files,
    )


def _grown(before: Snapshot, after: Snapshot) -> dict[str, int]:
    return {service: count - before.commits[service] for service, count in after.commits.items()}


def _read(file: Path) -> stacks.Profile:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return stacks.read(lines)
