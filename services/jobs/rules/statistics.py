"""Queue statistics, computed from counts for both repositories."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from services.jobs.rules.entities import QueueStats
from services.jobs.rules.job_types import Priority


def queue_stats(counted: Iterable[Mapping[Any, Any]], queues: Collection[str], window_seconds: int) -> list[QueueStats]:
    """Return statistics for all priorities of the queues asked for or found, ordered by queue and priority.

    Args:
        counted: Rows of queue, priority, waiting, withheld, running, scheduled, paused, oldest_age, submitted,
            completed.
        queues: The queues asked for; if empty, those found.
        window_seconds: The period over which submitted and completed jobs were counted.
    """
    rows = {(row["queue"], row["priority"]): row for row in counted}
    names = sorted(set(queues) or {queue for queue, _ in rows})
    return [
        _stats(queue, priority, rows.get((queue, priority.value), {}), window_seconds)
        for queue in names
        for priority in Priority
    ]


def _stats(queue: str, priority: Priority, row: Mapping[Any, Any], window_seconds: int) -> QueueStats:
    waiting = row.get("waiting", 0)
    return QueueStats(
        queue=queue,
        priority=priority,
        waiting=waiting,
        dispatched=waiting - row.get("withheld", 0),
        running=row.get("running", 0),
        scheduled=row.get("scheduled", 0),
        paused=bool(row.get("paused")),
        oldest_age=row.get("oldest_age"),
        submitted_per_second=row.get("submitted", 0) / window_seconds,
        completed_per_second=row.get("completed", 0) / window_seconds,
    )
