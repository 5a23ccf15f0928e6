"""One run of the bench: which measures, in which order, on which stacks."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.measures import backlog, calls, pickup, soak, throughput
from tools.bench.peers import peer_runs as contest
from tools.bench.peers.environment import python_of
from tools.bench.plan import Plan
from tools.bench.platform.stack_under_test import Arena, Say, arena, watched
from tools.bench.reference import reference
from tools.bench.report import machine
from tools.bench.report.figures import Figures, ratios

_COMPARED = frozenset({"P1", "P2"})
_LOADING = frozenset({"P1", "P2", "P3", "P5"})


@dataclass(frozen=True)
class Wanted:
    """What is to be measured.

    Attributes:
        plan: The sizes.
        measures: Of P1 to P8.
        peers_folder: Where the peers' environment is, or is made; None leaves the peers out.
        soak_minutes: How long to look at memory; None for not at all.
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
class Found:
    """What was measured.

    Attributes:
        figures: By key.
        runs: The single runs behind them.
        versions: What it ran with.
        services: How the services and runners were set.
    """

    figures: Figures = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)

    def add(self, found: tuple[Figures, Mapping[str, Any]]) -> None:
        """Takes in what a measure has found."""
        self.figures.update(found[0])
        self.runs.update(found[1])


async def run(wanted: Wanted, say: Say, folder: Path) -> Found:
    """Measures.

    Args:
        wanted: What.
        say: Tells people how far it is.
        folder: For stacks and logs.
    """
    found = Found()
    python = None
    if wanted.peers_folder is not None and wanted.compares:
        # First, so that a package index that can't be reached is said at once.
        say("the peers' environment")
        python = await python_of(wanted.peers_folder)
    if wanted.measures - {"P6"} or wanted.soak_minutes is not None:
        async with arena(wanted.plan, say, folder / "main") as place:
            await watched(place, lambda one: _on_main(one, wanted, found, python))
    if "P6" in wanted.measures:
        # A stack of its own: what waits in the end is thrown away with it.
        async with arena(wanted.plan, say, folder / "backlog") as place:
            await _note(place, found)
            found.add(await watched(place, backlog.measure))
    return found


async def _on_main(place: Arena, wanted: Wanted, found: Found, python: Path | None) -> None:
    await _note(place, found)
    # First, while there is nothing that could still be cleaned up behind anything.
    if "P4" in wanted.measures:
        found.add(await pickup.idle(place))
    async with AsyncExitStack() as looking:
        memory = None
        if "P7" in wanted.measures:
            memory = await looking.enter_async_context(soak.memory_of(place))
        await _under_load(place, wanted, found)
    if memory is not None:
        found.add(soak.figures_of(memory))
    await _yardsticks(place, wanted, found, python)
    if "P8" in wanted.measures:
        found.add(await calls.layers(place))
    if wanted.soak_minutes is not None:
        found.add(await soak.soak(place, wanted.soak_minutes))


async def _under_load(place: Arena, wanted: Wanted, found: Found) -> None:
    """What P7 looks at as well."""
    if "P1" in wanted.measures:
        found.add(await _throughput(place, throughput.in_batches(place)))
    if wanted.measures & {"P2", "P5"}:
        found.add(await _throughput(place, throughput.one_by_one(place)))
    if "P3" in wanted.measures:
        found.add(await calls.deductions(place))
    if "P5" in wanted.measures:
        found.add(await pickup.busy(place, found.figures["p2_jobs_per_second"] / 2))
    if "P7" in wanted.measures and not wanted.measures & _LOADING:
        await soak.load(place)


async def _throughput(place: Arena, way: throughput.Way) -> tuple[Figures, dict[str, Any]]:
    figures, runs = await throughput.measure(place, way)
    return figures, {f"{way.name}_jobs_per_second": runs}


async def _yardsticks(place: Arena, wanted: Wanted, found: Found, python: Path | None) -> None:
    """What P1 and P2 are compared with, on the same servers, while the services have nothing to do."""
    if "P1" in wanted.measures:
        found.add(await reference.measure(place))
    if python is not None:
        found.add(await contest.measure(place, python))
    figures = found.figures
    sql, dramatiq = figures.get("sql_jobs_per_second"), figures.get("dramatiq_jobs_per_second")
    figures.update(ratios(figures, sql=sql, dramatiq=dramatiq))


async def _note(place: Arena, found: Found) -> None:
    found.versions = await machine.versions(place.databases["jobs"], str(place.settings["REDIS_URL"]))
    found.services = machine.tuned(place.settings)
