"""The handler that returns the time at which it was entered, for the measures of pickup."""

import time
from typing import Any

from innosystem.runner import handler


@handler("bench.pickup")
async def pickup(input: Any) -> dict[str, Any]:
    """Return the machine's monotonic clock, which all its processes share."""
    return {"entered_ns": time.monotonic_ns()}
