"""What handlers say during their runs: how far they are, and checkpoints for the next run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.completion import holds_lease

CHECKPOINT_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one handler says about its job.

    Attributes:
        sequence: The number of the report under its lease.
        percent: How far the run is, from 0 to 100; None leaves the last progress, with its message.
        checkpoint: What the next run gets; None leaves the last checkpoint.
    """

    job_id: UUID
    lease_id: UUID
    sequence: int
    percent: float | None = None
    message: str = ""
    checkpoint: Payload | None = None


def stored(reports: Sequence[Report], jobs: Mapping[UUID, Job]) -> list[Report]:
    """Return what to store of some reports: one for each job that runs under the lease of its reports.

    Args:
        reports: The reports; of one job the later ones add to the earlier ones.
        jobs: The jobs that exist, locked.
    """
    chosen: dict[UUID, Report] = {}
    for one in reports:
        job = jobs.get(one.job_id)
        if job is None or not holds_lease(job, one.lease_id):
            continue
        before = chosen.get(one.job_id)
        chosen[one.job_id] = one if before is None else _joined(before, one)
    return [chosen[key] for key in sorted(chosen)]


def _joined(one: Report, other: Report) -> Report:
    before, after = sorted((one, other), key=lambda report: report.sequence)
    said = before if after.percent is None else after
    return replace(after, percent=said.percent, message=said.message, checkpoint=after.checkpoint or before.checkpoint)


def may_have_checkpoint(job: Job) -> bool:
    """Return whether an earlier run may have left something for the next one: a job that has never run has nothing."""
    return job.runner_id is not None and job.status in (JobStatus.PENDING, JobStatus.RUNNING)
