"""What Prometheus gets to know of the housekeeping."""

from prometheus_client import Counter, Gauge

JOBS = Counter("innosystem_jobs_housekeeping_jobs", "Jobs that a chore did something for.", ["chore", "done"])
UNSETTLED = Gauge(
    "innosystem_jobs_unsettled", "Jobs whose charge or release is due, declined or blocked.", ["billing_status"]
)
OVERDUE = Gauge("innosystem_jobs_settlements_overdue", "Charges and releases that should have been tried a minute ago.")
