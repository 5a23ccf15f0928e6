"""Names of the Redis lists through which the jobs service passes the IDs of queued jobs to runners."""

import re
from typing import Final

DEFAULT_QUEUE: Final = "default"
#: How many priorities a queue has; 0 is served first.
PRIORITIES: Final = 3

_NAME: Final = re.compile(rf"jobs:((?P<queue>[^:]+):)?p(?P<priority>[0-{PRIORITIES - 1}]):pending")


def list_name(queue: str, priority: int) -> str:
    """Return the name of the list of a queue and priority, such as `jobs:p0:pending`."""
    middle = "" if queue == DEFAULT_QUEUE else f"{queue}:"
    return f"jobs:{middle}p{priority}:pending"


def parse_list_name(name: str) -> tuple[str, int] | None:
    """Return the queue and the priority of a list, or None for another name."""
    found = _NAME.fullmatch(name)
    return (found["queue"] or DEFAULT_QUEUE, int(found["priority"])) if found else None
