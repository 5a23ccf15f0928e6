"""What Prometheus gets to know of the housekeeping."""

from prometheus_client import Counter, Gauge

JOBS = Counter("innosystem_jobs_housekeeping_jobs", "Jobs that a chore did something for.", ["chore", "done"])
ROUNDS = Counter("innosystem_jobs_housekeeping_rounds", "Rounds of a chore.", ["chore"])
FAILURES = Counter("innosystem_jobs_housekeeping_failures", "Rounds of a chore that failed.", ["chore"])
UNSETTLED = Gauge(
    "innosystem_jobs_unsettled", "Jobs whose charge or release is due, declined or blocked.", ["billing_status"]
)
OVERDUE = Gauge("innosystem_jobs_settlements_overdue", "Charges and releases that should have been tried a minute ago.")
