"""One run of the bench: which measures, in which order, on which stacks."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.measures import backlog, calls, pickup, soak, throughput
from tools.bench.peers import peer_runs
from tools.bench.peers.environment import python_of
from tools.bench.plan import Plan
from tools.bench.platform.stack_under_test import Say, StackUnderTest, start_stack, watched
from tools.bench.reference import reference
from tools.bench.report import machine
from tools.bench.report.figures import Figures, ratios

_COMPARED = frozenset({"P1", "P2"})
_LOADING = frozenset({"P1", "P2", "P3", "P5"})


@dataclass(frozen=True)
class BenchRequest:
    """The measures to run.

    Attributes:
        plan: The sizes.
        measures: A choice of P1 to P8.
        peers_folder: The folder of the peers' environment; None leaves the peers out.
        soak_minutes: The length of the soak; None for no soak.
    """

    plan: Plan
    measures: frozenset[str]
    peers_folder: Path | None = None
    soak_minutes: float | None = None

    @property
    def compares(self) -> bool:
        """Whether the peers are measured as well."""
        return self.peers_folder is not None and bool(self.measures & _COMPARED)


@dataclass
class BenchResult:
    """The results.

    Attributes:
        figures: The figures, by key.
        runs: The single runs behind them.
        versions: The versions of the software.
        services: The settings of services and runners.
    """

    figures: Figures = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)

    def add(self, measured: tuple[Figures, Mapping[str, Any]]) -> None:
        """Add the figures and runs of a measure."""
        figures, runs = measured
        self.figures.update(figures)
        self.runs.update(runs)


async def run(request: BenchRequest, say: Say, folder: Path) -> BenchResult:
    """Run the measures.

    Args:
        request: The measures and their sizes.
        say: Prints the progress for people.
        folder: For stacks and logs.
    """
    result = BenchResult()
    python = None
    if request.peers_folder is not None and request.compares:
        # First, so that an unreachable package index fails immediately.
        say("the peers' environment")
        python = await python_of(request.peers_folder)
    if request.measures - {"P6"} or request.soak_minutes is not None:
        async with start_stack(request.plan, say, folder / "main") as stack:
            await watched(stack, lambda one: _on_main(one, request, result, python))
    if "P6" in request.measures:
        # A separate stack: the jobs that still wait at the end are discarded with it.
        async with start_stack(request.plan, say, folder / "backlog") as stack:
            await _note(stack, result)
            result.add(await watched(stack, backlog.measure))
    return result


async def _on_main(stack: StackUnderTest, request: BenchRequest, result: BenchResult, python: Path | None) -> None:
    await _note(stack, result)
    # First, while no earlier measure has left work to clean up.
    if "P4" in request.measures:
        result.add(await pickup.idle(stack))
    async with AsyncExitStack() as sampling:
        memory = None
        if "P7" in request.measures:
            memory = await sampling.enter_async_context(soak.memory_of(stack))
        await _under_load(stack, request, result)
    if memory is not None:
        result.add(soak.figures_of(memory))
    await _yardsticks(stack, request, result, python)
    if "P8" in request.measures:
        result.add(await calls.layers(stack))
    if request.soak_minutes is not None:
        result.add(await soak.soak(stack, request.soak_minutes))


async def _under_load(stack: StackUnderTest, request: BenchRequest, result: BenchResult) -> None:
    """Run the measures during which P7 samples memory."""
    if "P1" in request.measures:
        result.add(await _throughput(stack, throughput.in_batches(stack)))
    if request.measures & {"P2", "P5"}:
        result.add(await _throughput(stack, throughput.one_by_one(stack)))
    if "P3" in request.measures:
        result.add(await calls.deductions(stack))
    if "P5" in request.measures:
        result.add(await pickup.busy(stack, result.figures["p2_jobs_per_second"] / 2))
    if "P7" in request.measures and not request.measures & _LOADING:
        await soak.load(stack)


async def _throughput(stack: StackUnderTest, workload: throughput.Workload) -> tuple[Figures, dict[str, Any]]:
    figures, runs = await throughput.measure(stack, workload)
    return figures, {f"{workload.name}_jobs_per_second": runs}


async def _yardsticks(stack: StackUnderTest, request: BenchRequest, result: BenchResult, python: Path | None) -> None:
    """Measure the yardsticks of P1 and P2, on the same servers, while the services are idle."""
    if "P1" in request.measures:
        result.add(await reference.measure(stack))
    if python is not None:
        result.add(await peer_runs.measure(stack, python))
    figures = result.figures
    sql, dramatiq = figures.get("sql_jobs_per_second"), figures.get("dramatiq_jobs_per_second")
    figures.update(ratios(figures, sql=sql, dramatiq=dramatiq))


async def _note(stack: StackUnderTest, result: BenchResult) -> None:
    result.versions = await machine.versions(stack.databases["jobs"], str(stack.settings["REDIS_URL"]))
    result.services = machine.tuned(stack.settings)
