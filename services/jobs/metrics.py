"""What Prometheus gets to know of the housekeeping."""

from prometheus_client import Counter

JOBS = Counter("innosystem_jobs_housekeeping_jobs", "Jobs that a chore did something for.", ["chore", "done"])
ROUNDS = Counter("innosystem_jobs_housekeeping_rounds", "Rounds of a chore.", ["chore"])
FAILURES = Counter("innosystem_jobs_housekeeping_failures", "Rounds of a chore that failed.", ["chore"])
