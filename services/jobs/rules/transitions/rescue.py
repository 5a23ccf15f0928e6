"""Jobs whose runner is lost: pure decisions on locked jobs.

A runner that dies takes all its jobs down, and it is unknown which of them has killed it, if any has. So a rescue costs
a job nothing. A job that keeps losing its runner soon after its start waits longer each time, for a time of its own, so
that the same jobs do not meet again. The death of a runner counts against a job only if hardly any other job had just
begun in that runner. A job that runs for long is above suspicion, however often it loses its runner.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.transitions.changes import Requeueing, requeued
from services.jobs.rules.transitions.control import RUNNER_LOST, Removal, removal
from services.jobs.rules.transitions.deaths import DeathRules

# Rescued this often soon after its start, a job is not merely unlucky with its neighbours.
_MANY = 50
_FEW = 2
# The loss of one node makes none of its jobs a suspect.
_SUSPECTED_FROM = 2


@dataclass(frozen=True, kw_only=True)
class Rescue(Requeueing):
    """A job that is run again because its runner was lost.

    Attributes:
        deaths: The number of deaths that count against it now.
        early_losses: How often it has lost its runner soon after its start.
    """

    rescue_count: int
    deaths: int
    early_losses: int

    @classmethod
    def of(cls, job: Job, *, deaths: int, early_losses: int, wait: timedelta | None = None) -> "Rescue":
        """Return the rescue of a RUNNING job, which is run again after a wait if there is one."""
        return cls(**requeued(job, wait), rescue_count=job.rescue_count + 1, deaths=deaths, early_losses=early_losses)


def was_short(job: Job, rules: DeathRules) -> bool:
    """Return whether a lost run was short, measured to the end of its lease: its true end is unknown."""
    if job.started_at is None or job.lease_expires_at is None:
        return False
    return job.lease_expires_at - job.started_at < rules.short


def is_suspect(job: Job) -> bool:
    """Return whether a job may be the cause of its runners' deaths, and must not run beside others."""
    return job.deaths > 0 or job.early_losses >= _SUSPECTED_FROM


def short_losses(lost: Iterable[Job], rules: DeathRules) -> Counter[UUID]:
    """Return how many jobs that had just begun each runner has lost."""
    return Counter(job.runner_id for job in lost if job.runner_id is not None and was_short(job, rules))


def rescued(lost: Sequence[Job], begun: Mapping[UUID, int], rules: DeathRules) -> tuple[list[Rescue], list[Removal]]:
    """Decide which jobs are run again, and which have ended too many runners.

    Args:
        lost: RUNNING jobs whose lease has ended, locked.
        begun: By runner, how many of its jobs had just begun when it was lost, counted in this and earlier rounds.
        rules: The limits and waits.

    Returns:
        The rescues, and the ends of those that are FAILED.
    """
    most: dict[UUID | None, int] = {}
    for job in lost:
        if was_short(job, rules):
            most[job.runner_id] = max(most.get(job.runner_id, 0), job.rescue_count)
    rescues: list[Rescue] = []
    removals: list[Removal] = []
    for job in lost:
        short = was_short(job, rules)
        # Of two jobs, the one that was present at more deaths: the other one has joined it.
        one_of_few = begun.get(job.runner_id or job.id, 1) <= _FEW and job.rescue_count >= most.get(job.runner_id, 0)
        deaths = job.deaths + (short and (one_of_few or job.rescue_count >= _MANY))
        if deaths > rules.deaths_max:
            message = (
                f"its runner was lost {deaths} times soon after the job had begun, with hardly any other job in it"
            )
            removals.append(removal(job, JobStatus.FAILED, RUNNER_LOST, message))
        else:
            again = short and job.rescue_count > 0
            wait = rules.pause(job.rescue_count) if again else None
            rescues.append(Rescue.of(job, deaths=deaths, early_losses=job.early_losses + short, wait=wait))
    return rescues, removals
