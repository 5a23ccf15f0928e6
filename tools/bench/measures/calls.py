"""P3 and P8: unary calls, against an echo on the same chassis, and what the layers around them cost."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from tools.bench.platform.processes import cpu_seconds
from tools.bench.platform.stack_under_test import StackUnderTest
from tools.bench.report.figures import Figures
from tools.local.child import Child
from tools.local.environment import environment

_STOP_SECONDS_MAX = 10.0
# The turns of P8's servers in each run.
_TURNS = 5


@dataclass(frozen=True)
class EchoServer:
    """An echo server in a separate process."""

    address: str
    pid: int


@asynccontextmanager
async def echo_server(stack: StackUnderTest, *arguments: str) -> AsyncIterator[EchoServer]:
    """Run an echo server for the time of the block."""
    name = "-".join(("echo", *arguments))
    # A log line a call, as the services of the stack write it.
    checks = stack.processes.caller_checks
    settings = {**environment(), **checks, "LOG_LEVEL": "INFO", "LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
    child = Child(name, "tools.bench.platform.echo", arguments, settings, stack.folder / f"{name}.log")
    try:
        await child.start()
        address = str((await child.wait_for_event("serving"))["address"])
        if child.pid is None:
            raise child.ended()
        yield EchoServer(address, child.pid)
    finally:
        await child.stop(_STOP_SECONDS_MAX)


async def deductions(stack: StackUnderTest) -> tuple[Figures, dict[str, Any]]:
    """Measure P3: Deduct over many wallets, over one, and the echo, in turns.

    Returns:
        The figures (medians), and the calls a second of each run.
    """
    plan = stack.plan
    stack.say(f"P3: {plan.deducts} deductions from {plan.callers} callers, {plan.runs} times; one wallet; echo")
    real = stack.processes.addresses["wallets"]
    hot = stack.customers[:1]
    async with echo_server(stack) as echo:
        targets: dict[str, tuple[str, Sequence[str]]] = {
            "deducts": (real, stack.customers),
            "hot_deducts": (real, hot),
            "echoes": (echo.address, stack.customers),
        }
        for address, customers in targets.values():
            await _rate(stack, address, customers, plan.warm_up)
        runs: dict[str, list[float]] = {name: [] for name in targets}
        for _ in range(plan.runs):
            for name, (address, customers) in targets.items():
                runs[name].append(await _rate(stack, address, customers, plan.deducts))
    rates = {name: median(found) for name, found in runs.items()}
    figures = {
        "p3_deducts_per_second": rates["deducts"],
        "p3_hot_deducts_per_second": rates["hot_deducts"],
        "p3_echoes_per_second": rates["echoes"],
        "p3_over_echo": rates["deducts"] / rates["echoes"],
        "p3_hot_over_p3": rates["hot_deducts"] / rates["deducts"],
    }
    return figures, {f"p3_{name}_per_second": found for name, found in runs.items()}


async def layers(stack: StackUnderTest) -> tuple[Figures, dict[str, Any]]:
    """Measure P8: the CPU time that a call costs the server, of an echo with all layers and with none, in turns.

    CPU time rather than elapsed time, because it excludes the client's share.

    Returns:
        The figures (medians), and the microseconds of each run.
    """
    plan = stack.plan
    stack.say(f"P8: {plan.echoes} echoes from {plan.callers} callers, with layers and without, {plan.runs} times")
    async with echo_server(stack) as layered, echo_server(stack, "bare") as bare:
        for server in (layered, bare):
            await _cost(stack, server, plan.warm_up)
        costs = [await _costs(stack, (layered, bare)) for _ in range(plan.runs)]
    figures = {
        "p8_us": median(with_layers - without for with_layers, without in costs),
        "p8_layered_us": median(with_layers for with_layers, _ in costs),
        "p8_bare_us": median(without for _, without in costs),
    }
    return figures, {"p8_us": [with_layers - without for with_layers, without in costs]}


async def _rate(stack: StackUnderTest, address: str, customers: Sequence[str], calls: int) -> float:
    done = await stack.load(
        "deductions",
        addresses={**stack.processes.addresses, "wallets": address},
        customers=list(customers),
        calls=calls,
        callers=stack.plan.callers,
    )
    return calls / float(done["ended"] - done["began"])


async def _costs(stack: StackUnderTest, servers: Sequence[EchoServer]) -> tuple[float, ...]:
    """Return the microseconds a call of each server, in short turns, because a machine's speed varies by the second."""
    turns = [[await _cost(stack, server, stack.plan.echoes // _TURNS) for server in servers] for _ in range(_TURNS)]
    return tuple(map(mean, zip(*turns, strict=True)))


async def _cost(stack: StackUnderTest, server: EchoServer, calls: int) -> float:
    before = cpu_seconds(server.pid)
    await _rate(stack, server.address, stack.customers, calls)
    return (cpu_seconds(server.pid) - before) * 1e6 / calls
