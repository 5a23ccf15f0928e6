"""Does nothing: what is left is the platform, so this is what benchmarks run.

Run it with `python -m innosystem.runner --handlers innosystem.runner.examples.noop`.
"""

from typing import Any

from innosystem.runner import handler


@handler("noop")
async def noop(input: Any) -> dict[str, bool]:
    """Answers 12 bytes, whatever the input is."""
    return {"ok": True}
