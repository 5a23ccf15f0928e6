"""The leases that the runner holds, and the requests that renew them."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from innosystem.runner.flight import FlyingJob

LEASES_MAX: Final = 1_000
JOBS_MAX: Final = 10_000


class Leases:
    """The jobs that run at the server under a lease of this runner, as far as the runner knows.

    The event loop writes, and the thread that renews reads.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, FlyingJob] = {}
        self._lock = threading.Lock()

    def add(self, job: "FlyingJob") -> None:
        """Note a job that was claimed; it takes the place of an earlier run of the same job."""
        with self._lock:
            self._jobs[job.job_id] = job

    def remove(self, job: "FlyingJob") -> None:
        """Forget a job that does not run at the server any more. It may be forgotten already."""
        with self._lock:
            if self._jobs.get(job.job_id) is job:
                del self._jobs[job.job_id]

    def get(self, job_id: str) -> "FlyingJob | None":
        """Find the run of a job that has its lease."""
        with self._lock:
            return self._jobs.get(job_id)

    def snapshot(self) -> "list[FlyingJob]":
        """Answer all jobs as they are now."""
        with self._lock:
            return list(self._jobs.values())


@dataclass(frozen=True, slots=True)
class Renewal:
    """What one RenewLeases asks for.

    Attributes:
        lease_ids: The leases, each once.
        jobs: The jobs under them.
    """

    lease_ids: list[str]
    jobs: "list[FlyingJob]"


def renewals(jobs: "Iterable[FlyingJob]") -> Iterator[Renewal]:
    """Split jobs into as few requests as the contract's bounds allow. A lease may be in two of them."""
    leases: dict[str, None] = {}
    chosen: list[FlyingJob] = []
    for job in sorted(jobs, key=lambda job: job.lease_id):
        if len(chosen) == JOBS_MAX or (len(leases) == LEASES_MAX and job.lease_id not in leases):
            yield Renewal(list(leases), chosen)
            leases, chosen = {}, []
        leases[job.lease_id] = None
        chosen.append(job)
    if chosen:
        yield Renewal(list(leases), chosen)
