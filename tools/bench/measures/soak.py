"""P7: memory at full load, and its growth if the load lasts long enough."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tools.bench.platform.processes import Memory, require_proc
from tools.bench.platform.stack_under_test import StackUnderTest
from tools.bench.report.figures import Figures
from tools.errors import CommandError

_SAMPLE_SECONDS = 1.0
_SKIP_PART = 0.2
_MB_KEY = "p7_mb"


@asynccontextmanager
async def memory_of(stack: StackUnderTest) -> AsyncIterator[Memory]:
    """Sample the memory of the stack's processes each second during the block, and once at its end."""
    require_proc()
    memory = Memory({child.name: child.pid for child in stack.processes.children if child.pid is not None})

    async def sample() -> None:
        while True:
            memory.sample()
            await asyncio.sleep(_SAMPLE_SECONDS)

    sampling = asyncio.create_task(sample())
    try:
        yield memory
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])
    memory.sample()


def figures_of(memory: Memory) -> tuple[Figures, dict[str, Any]]:
    """Return the memory of the largest process, and that of each process."""
    largest = memory.largest()
    return {"p7_mb_max": max(largest.values())}, {_MB_KEY: largest}


async def load(stack: StackUnderTest) -> None:
    """Run full load once, in batches and one by one: the load of P7 if no other measure runs."""
    plan = stack.plan
    stack.say("P7: full load")
    await stack.finish(plan.batch_jobs, batch=plan.batch)
    await stack.finish(plan.unary_jobs, callers=plan.callers)


async def soak(stack: StackUnderTest, minutes: float) -> tuple[Figures, dict[str, Any]]:
    """Run full load for a while: rounds of jobs in batches and one by one.

    Returns:
        The figures, and the maximum and the growth of each process, without the first fifth of the time.
    """
    stack.say(f"soak: full load for {minutes:g} minutes")
    began = time.monotonic()
    async with memory_of(stack) as memory:
        rounds = 0
        while time.monotonic() - began < 60 * minutes:
            await load(stack)
            rounds += 1
            seconds = time.monotonic() - began
            stack.say(f"{seconds / 60:.1f} minutes, {rounds} rounds, {max(memory.largest().values()):.0f} MB at most")
    slopes = memory.slopes(_SKIP_PART * (time.monotonic() - began))
    if not slopes:
        raise CommandError(f"{minutes:g} minutes are too short to see how memory grows")
    figures, details = figures_of(memory)
    return {**figures, "p7_mb_per_minute": max(slopes.values())}, {**details, "p7_mb_per_minute": slopes}
