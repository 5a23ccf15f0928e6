"""P3 and P8: unary calls, against an echo on the same chassis, and what the layers around them cost."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from tools.bench.platform.processes import cpu_seconds
from tools.bench.platform.stack_under_test import Arena
from tools.bench.report.figures import Figures
from tools.local.child import Child
from tools.local.environment import environment

_STOP_SECONDS_MAX = 10.0
# Of P8's servers in each run.
_TURNS = 5


@dataclass(frozen=True)
class EchoServer:
    """An echo server in a process of its own."""

    address: str
    pid: int


@asynccontextmanager
async def echo_server(arena: Arena, *arguments: str) -> AsyncIterator[EchoServer]:
    """Runs one for the time of the block."""
    name = "-".join(("echo", *arguments))
    # As the services of the stack are run: a line of log a call.
    settings = {**environment(), "LOG_LEVEL": "INFO", "LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
    child = Child(name, "tools.bench.platform.echo", arguments, settings, arena.folder / f"{name}.log")
    try:
        await child.start()
        address = str((await child.logged("serving"))["address"])
        if child.pid is None:
            raise child.ended()
        yield EchoServer(address, child.pid)
    finally:
        await child.stop(_STOP_SECONDS_MAX)


async def deductions(arena: Arena) -> tuple[Figures, dict[str, Any]]:
    """P3: Deduct over many wallets, over one, and the echo, in turns.

    Returns:
        The figures (medians), and the calls a second of each run.
    """
    plan = arena.plan
    arena.say(f"P3: {plan.deducts} deductions from {plan.callers} callers, {plan.runs} times; one wallet; echo")
    real = arena.stack.addresses["wallets"]
    hot = arena.customers[:1]
    async with echo_server(arena) as echo:
        places: dict[str, tuple[str, Sequence[str]]] = {
            "deducts": (real, arena.customers),
            "hot_deducts": (real, hot),
            "echoes": (echo.address, arena.customers),
        }
        for address, customers in places.values():
            await _rate(arena, address, customers, plan.warm_up)
        runs: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(plan.runs):
            for name, (address, customers) in places.items():
                runs[name].append(await _rate(arena, address, customers, plan.deducts))
    rates = {name: median(found) for name, found in runs.items()}
    figures = {
        "p3_deducts_per_second": rates["deducts"],
        "p3_hot_deducts_per_second": rates["hot_deducts"],
        "p3_echoes_per_second": rates["echoes"],
        "p3_over_echo": rates["deducts"] / rates["echoes"],
        "p3_hot_over_p3": rates["hot_deducts"] / rates["deducts"],
    }
    return figures, {f"p3_{name}_per_second": found for name, found in runs.items()}


async def layers(arena: Arena) -> tuple[Figures, dict[str, Any]]:
    """P8: the echo with all layers and with none, in turns: what CPU time a call costs the server.

    CPU time and not time, because that is what the layers take from others: the client's share is not in it.

    Returns:
        The figures (medians), and the microseconds of each run.
    """
    plan = arena.plan
    arena.say(f"P8: {plan.echoes} echoes from {plan.callers} callers, with layers and without, {plan.runs} times")
    async with echo_server(arena) as layered, echo_server(arena, "bare") as bare:
        for server in (layered, bare):
            await _cost(arena, server, plan.warm_up)
        costs = [await _costs(arena, (layered, bare)) for _ in range(plan.runs)]
    figures = {
        "p8_us": median(with_layers - without for with_layers, without in costs),
        "p8_layered_us": median(with_layers for with_layers, _ in costs),
        "p8_bare_us": median(without for _, without in costs),
    }
    return figures, {"p8_us": [with_layers - without for with_layers, without in costs]}


async def _rate(arena: Arena, address: str, customers: Sequence[str], calls: int) -> float:
    done = await arena.load(
        "deductions",
        addresses={**arena.stack.addresses, "wallets": address},
        customers=list(customers),
        calls=calls,
        callers=arena.plan.callers,
    )
    return calls / float(done["ended"] - done["began"])


async def _costs(arena: Arena, servers: Sequence[EchoServer]) -> tuple[float, ...]:
    """Microseconds a call of each server, in short turns: a machine's speed changes from second to second."""
    turns = [[await _cost(arena, server, arena.plan.echoes // _TURNS) for server in servers] for _ in range(_TURNS)]
    return tuple(map(mean, zip(*turns, strict=True)))


async def _cost(arena: Arena, server: EchoServer, calls: int) -> float:
    before = cpu_seconds(server.pid)
    await _rate(arena, server.address, arena.customers, calls)
    return (cpu_seconds(server.pid) - before) * 1e6 / calls
