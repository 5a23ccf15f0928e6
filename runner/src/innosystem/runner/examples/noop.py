"""A handler that does nothing, for benchmarks of the platform itself.

Run it with `python -m innosystem.runner --handlers innosystem.runner.examples.noop`.
"""

from typing import Any

from innosystem.runner import handler


@handler("noop")
async def noop(input: Any) -> dict[str, Any]:
    """Return 12 bytes for any input."""
    return {"ok": True}
