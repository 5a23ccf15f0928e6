"""The handlers of a runner of the release before, in a test of a rolling upgrade."""

from typing import Any

from innosystem.runner import handler


@handler("e2e.old")
async def old(_: Any) -> Any:
    """Return nothing."""
    return None
