"""What Prometheus gets to know of the housekeeping."""

from prometheus_client import Counter, Gauge

JOBS = Counter("innosystem_jobs_housekeeping_jobs", "Jobs that a chore did something for.", ["chore", "done"])
UNSETTLED = Gauge(
    "innosystem_jobs_unsettled", "Jobs whose charge or release is due, declined or blocked.", ["billing_status"]
)
OVERDUE = Gauge("innosystem_jobs_settlements_overdue", "Charges and releases that should have been tried a minute ago.")
LEFT_ALONE = Gauge(
    "innosystem_jobs_left_alone",
    "Jobs that are due for a chore and have a value this release does not know (up to a hundred of each kind of work).",
)
UNRELEASED = Gauge("innosystem_jobs_unreleased_holds", "Holds that the hold auditor could not release yet.")
STALLED = Gauge(
    "innosystem_jobs_dispatch_stalled_seconds",
    "For how long jobs have waited to be handed to a list although it has room and they are not paused.",
    ["queue", "priority"],
)
LOST_NOTES = Counter(
    "innosystem_jobs_dispatch_lost_notes",
    "Jobs that were not pushed because too many waited to be; the reconciler pushes them.",
)
LIST_FAILURES = Counter(
    "innosystem_jobs_list_failures",
    "How often Redis refused to use a list, because there is something else under its name.",
    ["queue", "priority"],
)
UNSERVED = Gauge("innosystem_jobs_unserved", "Waiting jobs whose handler no runner has.", ["queue", "handler"])
