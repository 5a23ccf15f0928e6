"""Prometheus metrics of the jobs service."""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from services.jobs.rules.entities import FINAL, Job, JobStatus, QueueStats
from services.jobs.rules.transitions.changes import Change
from services.jobs.rules.transitions.completion import Ending

JOBS = Counter("innosystem_jobs_housekeeping_jobs", "Jobs that background work has processed.", ["chore", "done"])
UNSETTLED = Gauge(
    "innosystem_jobs_unsettled", "Jobs whose charge or release is due, declined or blocked.", ["billing_status"]
)
OVERDUE = Gauge("innosystem_jobs_settlements_overdue", "Charges and releases that have been due for over a minute.")
LEFT_ALONE = Gauge(
    "innosystem_jobs_left_alone",
    "Jobs that are due for background work and have a value unknown to this release (up to 100 of each kind of work).",
)
UNRELEASED = Gauge("innosystem_jobs_unreleased_holds", "Holds that the hold auditor could not release yet.")
STALLED = Gauge(
    "innosystem_jobs_dispatch_stalled_seconds",
    "How long jobs have waited for dispatch although their list has room and they are not paused.",
    ["queue", "priority"],
)
LOST_NOTES = Counter(
    "innosystem_jobs_dispatch_lost_notes",
    "Jobs that were not pushed because too many were waiting; the reconciler pushes them.",
)
LIST_FAILURES = Counter(
    "innosystem_jobs_list_failures",
    "How often Redis refused a list, because its key holds a value of another type.",
    ["queue", "priority"],
)
UNSERVED = Gauge(
    "innosystem_jobs_unserved", "Waiting jobs for which all runners lack the handler.", ["queue", "handler"]
)

# What happens to jobs, by queue and job type. Each process counts what it did itself.
SUBMITTED = Counter("innosystem_jobs_submitted", "Jobs that were accepted.", ["queue", "job_type"])
ENDED = Counter("innosystem_jobs_ended", "Jobs that became final.", ["queue", "job_type", "status"])
FAILED_RUNS = Counter(
    "innosystem_jobs_failed_runs", "Runs that failed, also if another attempt follows.", ["queue", "job_type"]
)
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400)
WAIT_SECONDS = Histogram(
    "innosystem_jobs_wait_seconds",
    "From when a job was due until it was claimed.",
    ["queue", "priority"],
    buckets=_SECONDS,
)
RUN_SECONDS = Histogram(
    "innosystem_jobs_run_seconds",
    "From the claim of a job until the end of its run was stored.",
    ["queue", "job_type"],
    buckets=_SECONDS,
)
LIFETIME_SECONDS = Histogram(
    "innosystem_jobs_lifetime_seconds",
    "From when a job was accepted until it was final.",
    ["queue", "status"],
    buckets=_SECONDS,
)
_OTHER = "other"


class JobTypeNames:
    """The names of job types, for labels. Jobs of a type that is not known yet are counted as `other`.

    Args:
        size_max: How many names are known at most, which bounds the number of time series.

    Attributes:
        missing: Types that were counted without a name, to be noted by `know`.
    """

    def __init__(self, size_max: int = 500) -> None:
        self.missing: set[UUID] = set()
        self._size_max = size_max
        self._names: dict[UUID, str] = {}

    def know(self, names: Mapping[UUID, str]) -> None:
        """Note names, as long as there is room."""
        for job_type_id, name in names.items():
            if job_type_id in self._names or len(self._names) < self._size_max:
                self._names[job_type_id] = name

    def __call__(self, job_type_id: UUID) -> str:
        """Return the label of a job type."""
        name = self._names.get(job_type_id)
        if name is None and len(self._names) < self._size_max:
            self.missing.add(job_type_id)
        return name or _OTHER


JOB_TYPE_NAMES = JobTypeNames()


def count_submitted(jobs: Iterable[Job], names: Mapping[UUID, str]) -> None:
    """Count jobs that were accepted.

    Args:
        jobs: The jobs.
        names: The names of their types.
    """
    JOB_TYPE_NAMES.know(names)
    counted = collections.Counter((job.queue, job.job_type_id) for job in jobs)
    for (queue, job_type_id), jobs_of_type in counted.items():
        SUBMITTED.labels(queue, JOB_TYPE_NAMES(job_type_id)).inc(jobs_of_type)


def count_claimed(jobs: Iterable[Job]) -> None:
    """Count how long claimed jobs have waited. A repeated claim counts again."""
    for job in jobs:
        if job.started_at is not None:
            waited = (job.started_at - job.queued_at).total_seconds()
            WAIT_SECONDS.labels(job.queue, job.priority.name).observe(max(waited, 0))


def count_changed(jobs: Mapping[UUID, Job], changes: Iterable[Change]) -> None:
    """Count runs that have ended or failed, and jobs that became final.

    Durations are from a time of the database until now, by the clock of this process.

    Args:
        jobs: The jobs before the changes.
        changes: The changes. Those that end no run and no job count nothing.
    """
    now = datetime.now(UTC)
    for change in changes:
        job = jobs[change.job_id]
        status: JobStatus = getattr(change, "status", job.status)
        labels = (job.queue, JOB_TYPE_NAMES(job.job_type_id))
        if isinstance(change, Ending):
            if change.error is not None:
                FAILED_RUNS.labels(*labels).inc()
            if job.started_at is not None:
                RUN_SECONDS.labels(*labels).observe(max((now - job.started_at).total_seconds(), 0))
        if status in FINAL and status is not job.status:
            ENDED.labels(*labels, status.value).inc()
            LIFETIME_SECONDS.labels(job.queue, status.value).observe(max((now - job.created_at).total_seconds(), 0))


class BacklogCollector(Collector):
    """The waiting and running jobs of all queues, as a background loop last counted them; the same in each replica."""

    def __init__(self) -> None:
        self.counted: Sequence[QueueStats] = ()

    @override
    def collect(self) -> Iterator[Metric]:
        labels = ["queue", "priority"]
        waiting = GaugeMetricFamily("innosystem_jobs_waiting", "Jobs that wait for a runner.", labels=labels)
        running = GaugeMetricFamily("innosystem_jobs_running", "Jobs that are running.", labels=labels)
        oldest = GaugeMetricFamily(
            "innosystem_jobs_oldest_waiting_seconds", "How long the oldest waiting job has waited.", labels=labels
        )
        paused = GaugeMetricFamily(
            "innosystem_jobs_queue_paused", "1 while the queue is paused, else 0.", labels=labels[:1]
        )
        paused_queues: dict[str, bool] = {}
        for one in self.counted:
            names = [one.queue, one.priority.name]
            waiting.add_metric(names, one.waiting)
            running.add_metric(names, one.running)
            oldest.add_metric(names, one.oldest_age.total_seconds() if one.oldest_age is not None else 0)
            paused_queues[one.queue] = one.paused
        for queue, is_paused in paused_queues.items():
            paused.add_metric([queue], is_paused)
        yield from (waiting, running, oldest, paused)


BACKLOG = BacklogCollector()
REGISTRY.register(BACKLOG)
