"""Prometheus metrics of the jobs service."""

from prometheus_client import Counter, Gauge

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
