"""Claims: a pure decision on which jobs a claim gets, and what they become."""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from services.jobs.rules.entities import FIXED_BYTES_MAX, Backlog, ClaimedJob, Job, JobStatus
from services.jobs.rules.job_types import RESERVED_HANDLERS, JobType
from services.jobs.rules.transitions.changes import J
from services.jobs.rules.transitions.completion import holds_lease
from services.jobs.rules.transitions.rescue import is_suspect
from services.kit.errors import DataCorrupt
from services.kit.fast_dataclasses import made

_NOTHING: Mapping[UUID, int] = MappingProxyType({})


@dataclass(frozen=True)
class Claim:
    """A runner's request for jobs.

    Attributes:
        bytes_max: The largest number of bytes of input and labels; the first job is granted whatever its size.
        handlers: The handlers that the runner has; if it names none, it receives any job.
        queues: The queues that it takes jobs from; it may name none.
    """

    job_ids: Sequence[UUID]
    runner_id: UUID
    lease_id: UUID
    lease: timedelta
    bytes_max: int
    handlers: Set[str] = frozenset()
    queues: Set[str] = frozenset()

    def serves(self, handler: str) -> bool:
        """Return whether the runner may receive jobs of this handler."""
        return handler in self.handlers or not (self.handlers or handler in RESERVED_HANDLERS)

    def has(self, handler: str, queue: str) -> bool:
        """Return whether the runner has named this handler, and takes jobs from this queue."""
        return handler in self.handlers and (not self.queues or queue in self.queues)


@dataclass(frozen=True)
class Claimed:
    """The result of a claim: the claimed jobs in the order of the request, and those that did not fit.

    Attributes:
        corrupt: Why jobs were left unchanged: their row, or that of their job type, is not understood.
        unserved: The backlogs of jobs left PENDING because the runner lacks their handler, one for each job.
    """

    jobs: tuple[ClaimedJob, ...]
    deferred: tuple[UUID, ...]
    corrupt: tuple[DataCorrupt, ...] = ()
    unserved: tuple[Backlog, ...] = ()


@dataclass(frozen=True)
class Renewal:
    """A runner's request to keep its jobs for longer."""

    lease_ids: Sequence[UUID]
    job_ids: Sequence[UUID]
    lease: timedelta


@dataclass(frozen=True)
class Renewed:
    """The result of a renewal: the jobs that the runner keeps, and until when; None if it keeps none."""

    job_ids: frozenset[UUID]
    lease_expires_at: datetime | None


@dataclass(frozen=True)
class Choice:
    """The decision on the jobs that a claim names. Jobs that appear in no field are not available.

    Attributes:
        granted: PENDING jobs that the runner gets.
        repeated: Jobs that already run under the lease, because the call is repeated.
        deferred: PENDING jobs that do not fit into the response.
        withheld: PENDING jobs of paused queues and types.
        unserved: PENDING jobs whose handler the runner lacks.
    """

    granted: tuple[UUID, ...]
    repeated: tuple[UUID, ...]
    deferred: tuple[UUID, ...]
    withheld: tuple[UUID, ...]
    unserved: tuple[UUID, ...] = ()


def choose(
    claim: Claim,
    jobs: Mapping[UUID, Job],
    paused: Collection[UUID],
    now: datetime,
    foreign: Collection[UUID] = (),
    *,
    left: Mapping[UUID, int] = _NOTHING,
) -> Choice:
    """Choose jobs in the order of the claim until the response is full; one job always fits.

    Args:
        claim: The runner's request.
        jobs: The jobs that exist, locked.
        paused: The jobs whose queue or type is paused.
        now: The database's time: an expired job is not started any more.
        foreign: The job types whose handler the runner lacks. It keeps a job that already runs under the lease.
        left: The sizes of the checkpoints that earlier runs have left, in bytes.
    """
    granted: list[UUID] = []
    repeated: list[UUID] = []
    deferred: list[UUID] = []
    withheld: list[UUID] = []
    unserved: list[UUID] = []
    room = claim.bytes_max
    for job_id in dict.fromkeys(claim.job_ids):
        job = jobs.get(job_id)
        if job is None or not (job.status is JobStatus.PENDING or holds_lease(job, claim.lease_id)):
            continue
        if job.status is JobStatus.PENDING and job_id in paused:
            withheld.append(job_id)
            continue
        if job.status is JobStatus.PENDING and job.started_at is None and job.expires_at <= now:
            continue
        if job.status is JobStatus.PENDING and job.job_type_id in foreign:
            unserved.append(job_id)
            continue
        size = FIXED_BYTES_MAX + job.input_bytes + job.notes_bytes + left.get(job_id, 0)
        if job.status is JobStatus.RUNNING:
            repeated.append(job_id)
        elif size <= room or not (granted or repeated):
            granted.append(job_id)
        else:
            deferred.append(job_id)
            continue
        room -= size
    return Choice(tuple(granted), tuple(repeated), tuple(deferred), tuple(withheld), tuple(unserved))


def foreign_types(claim: Claim, job_types: Mapping[UUID, JobType]) -> set[UUID]:
    """Return the job types among these whose handler the claiming runner lacks."""
    return {key for key, kind in job_types.items() if not claim.serves(kind.processing_logic_id)}


def started(job: J, claim: Claim, now: datetime, **read: Any) -> J:
    """Return a PENDING job as it is after a claim.

    Args:
        job: The job before the claim.
        claim: The claim.
        now: The time of the transaction.
        read: Fields that were not read before the claim.
    """
    values = {
        **vars(job),
        **read,
        "status": JobStatus.RUNNING,
        "started_at": now,
        "attempt": job.attempt + 1,
        "runner_id": claim.runner_id,
        "lease_id": claim.lease_id,
        "lease_expires_at": now + claim.lease,
        "callback_expires_at": None,
        "version": job.version + 1,
    }
    return made(type(job), values)


def claimed_job(job: Job, job_type: JobType, checkpoint: str | None = None) -> ClaimedJob:
    """Return a claimed job with all that the runner needs to run it."""
    return ClaimedJob(
        job=job,
        processing_logic_id=job_type.processing_logic_id,
        processor_type=job_type.processor_type,
        processor_type_named=job_type.processor_type_named,
        timeout=job_type.timeout,
        external_api=job_type.external_api,
        webhook=job_type.webhook,
        isolated=is_suspect(job),
        checkpoint=checkpoint,
    )
