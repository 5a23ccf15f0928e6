"""P7: memory at full load, and, when there is time to see it, how it grows."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tools.bench.platform.processes import Memory, require_proc
from tools.bench.platform.stack_under_test import Arena
from tools.bench.report.figures import Figures
from tools.errors import CommandError

_LOOK_SECONDS = 1.0
_SKIP_PART = 0.2
_MB_KEY = "p7_mb"


@asynccontextmanager
async def memory_of(arena: Arena) -> AsyncIterator[Memory]:
    """Looks each second, during the block and once at its end, at what the stack's processes have in memory."""
    require_proc()
    memory = Memory({child.name: child.pid for child in arena.stack.children if child.pid is not None})

    async def look() -> None:
        while True:
            memory.look()
            await asyncio.sleep(_LOOK_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield memory
    finally:
        looking.cancel()
        await asyncio.wait([looking])
    memory.look()


def figures_of(memory: Memory) -> tuple[Figures, dict[str, Any]]:
    """What was seen: the largest process, and all of them."""
    largest = memory.largest()
    return {"p7_mb_max": max(largest.values())}, {_MB_KEY: largest}


async def load(arena: Arena) -> None:
    """Full load once: jobs in batches and one by one. What P7 looks at when nothing else is measured."""
    plan = arena.plan
    arena.say("P7: full load")
    await arena.finish(plan.batch_jobs, batch=plan.batch)
    await arena.finish(plan.unary_jobs, callers=plan.callers)


async def soak(arena: Arena, minutes: float) -> tuple[Figures, dict[str, Any]]:
    """Full load for a while: rounds of jobs in batches and one by one.

    Returns:
        The figures, and what each process had at most and how it grew, without the first fifth of the time.
    """
    arena.say(f"soak: full load for {minutes:g} minutes")
    began = time.monotonic()
    async with memory_of(arena) as memory:
        rounds = 0
        while time.monotonic() - began < 60 * minutes:
            await load(arena)
            rounds += 1
            seconds = time.monotonic() - began
            arena.say(f"{seconds / 60:.1f} minutes, {rounds} rounds, {max(memory.largest().values()):.0f} MB at most")
    slopes = memory.slopes(_SKIP_PART * (time.monotonic() - began))
    if not slopes:
        raise CommandError(f"{minutes:g} minutes are too short to see how memory grows")
    figures, details = figures_of(memory)
    return {**figures, "p7_mb_per_minute": max(slopes.values())}, {**details, "p7_mb_per_minute": slopes}
