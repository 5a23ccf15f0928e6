"""What services and runners say about the renewal of their TLS files: a line in the log, and a metric.

The SDK alone has neither structlog nor Prometheus, and does not import this module.
"""

from functools import cache
from typing import Literal

import structlog
from prometheus_client import Counter

from innosystem.shared.transport import Report

log = structlog.get_logger(__name__)

_RENEWALS = Counter(
    "innosystem_tls_renewals", "Changes of TLS files, by whether the new files are in use.", ["side", "outcome"]
)


@cache
def renewals(side: Literal["server", "client"]) -> Report:
    """Return the report on the files of one side of connections: the same one for all connections of a process.

    Args:
        side: The side of this process.
    """
    used, refused = _RENEWALS.labels(side, "used"), _RENEWALS.labels(side, "refused")

    def report(problem: str) -> None:
        if problem:
            refused.inc()
            log.error("tls_files_not_renewed", side=side, error=problem, note="the old ones stay in use")
        else:
            used.inc()
            log.info("tls_files_renewed", side=side)

    return report
