"""The tables of the jobs database."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Interval,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.kit.data.tables import (
    JsonText,
    audit_log,
    bytes_column,
    created_at,
    make_metadata,
    time_column,
    updated_at,
)

metadata = make_metadata()

audit_log.to_metadata(metadata)

job_types = Table(
    "job_types",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text(collation="C"), nullable=False),
    Column("description", Text, nullable=False, server_default=text("''")),
    Column("processing_logic_id", Text(collation="C"), nullable=False),
    # No CHECK: a later release may have more types, and a row is validated when it is read.
    Column("processor_type", Text, nullable=False),
    # Not NULL in the column above: release 0.1.0 reads these rows during an upgrade, and after a return to it.
    Column("processor_type_named", Boolean, nullable=False, server_default=text("true")),
    Column("standard_cost_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("currency", Text(collation="C"), nullable=False, server_default=text("'EUR'")),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("queue", Text(collation="C"), nullable=False, server_default=text("'default'")),
    Column("default_priority", Integer, nullable=False, server_default=text("1")),
    Column("max_attempts", Integer, nullable=False, server_default=text("1")),
    Column("timeout", Interval, nullable=False),
    Column("expires_after", Interval, nullable=False),
    Column("retry_initial_backoff", Interval, nullable=False),
    Column("retry_max_backoff", Interval, nullable=False),
    Column("retry_multiplier", Double, nullable=False),
    Column("input_schema", JsonText, nullable=True),
    # The price by usage; null if jobs are not metered.
    Column("metering_unit", Text, nullable=True),
    Column("unit_price_micro_cents", BigInteger, nullable=True),
    Column("max_cost_cents", BigInteger, nullable=True),
    Column("external_api", JsonText, nullable=True),
    Column("webhook_url", Text, nullable=True),
    Column("webhook_headers", JSONB, nullable=False, server_default=text("'{}'")),
    Column("webhook_signing_secret", Text, nullable=True),
    Column("webhook_callback_timeout", Interval, nullable=True),
    bytes_column("request_digest", nullable=False),
    created_at(),
    updated_at(),
    Column("version", Integer, nullable=False, server_default=text("1")),
    UniqueConstraint("name"),
    CheckConstraint("standard_cost_cents >= 0", name="standard_cost_not_negative"),
    CheckConstraint(
        "CASE WHEN unit_price_micro_cents IS NULL THEN metering_unit IS NULL AND max_cost_cents IS NULL"
        " ELSE unit_price_micro_cents > 0 AND metering_unit IS NOT NULL AND max_cost_cents IS NOT NULL"
        " AND max_cost_cents > 0 AND standard_cost_cents <= max_cost_cents END",
        name="metering_whole",
    ),
    CheckConstraint("default_priority BETWEEN 0 AND 2", name="default_priority_known"),
    CheckConstraint("max_attempts BETWEEN 1 AND 100", name="max_attempts_in_range"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("job_type_id", Uuid, ForeignKey("job_types.id", ondelete="RESTRICT"), nullable=False),
    Column("status", Text, nullable=False),
    Column("billing_status", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("queue", Text(collation="C"), nullable=False),
    Column("input_data", JsonText, nullable=False),
    Column("input_bytes", Integer, nullable=False),
    Column("output_data", JsonText, nullable=True),
    Column("output_bytes", Integer, nullable=False, server_default=text("0")),
    Column("error", JSONB(none_as_null=True), nullable=True),
    Column("estimated_cost_cents", BigInteger, nullable=False),
    Column("cost_cents", BigInteger, nullable=True),
    # The frozen price by usage; null if the job is not metered. estimated_cost_cents is the maximum.
    Column("metering_unit", Text, nullable=True),
    Column("unit_price_micro_cents", BigInteger, nullable=True),
    Column("standard_cost_cents", BigInteger, nullable=True),
    # As the handler has reported it.
    Column("usage_units", BigInteger, nullable=True),
    Column("currency", Text(collation="C"), nullable=False),
    Column("hold_id", Uuid, nullable=True),
    Column("hold_generation", Integer, nullable=False, server_default=text("0")),
    Column("transaction_id", Uuid, nullable=True),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False),
    Column("rescue_count", Integer, nullable=False, server_default=text("0")),
    Column("snooze_count", Integer, nullable=False, server_default=text("0")),
    # The rescues, and the deaths of its own process, that count against the job (rules/transitions/rescue.py).
    Column("deaths", Integer, nullable=False, server_default=text("0")),
    # The rescues of runs that had just begun. From the second on the job runs alone.
    Column("early_losses", Integer, nullable=False, server_default=text("0")),
    # The number of retries. A RetryJob call that names a smaller number has been done before.
    Column("retry_count", Integer, nullable=False, server_default=text("0")),
    Column("labels", JSONB, nullable=False, server_default=text("'{}'")),
    Column("request_id", Text, nullable=False, server_default=text("''")),
    bytes_column("request_digest", nullable=False),
    time_column("run_at", nullable=True),
    time_column("expires_at", nullable=False),
    created_at(),
    time_column("queued_at", nullable=False, default_now=True),
    time_column("dispatched_at", nullable=True),
    time_column("started_at", nullable=True),
    time_column("completed_at", nullable=True),
    Column("runner_id", Uuid, nullable=True),
    Column("lease_id", Uuid, nullable=True),
    time_column("lease_expires_at", nullable=True),
    # Set while a RUNNING job waits for the result of its endpoint: no runner has it.
    time_column("callback_expires_at", nullable=True),
    Column("completed_lease_id", Uuid, nullable=True),
    bytes_column("completion_digest", nullable=True),
    # When the settler tries next.
    time_column("next_try_at", nullable=True),
    Column("settle_attempts", Integer, nullable=False, server_default=text("0")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    CheckConstraint(
        "status IN ('SCHEDULED', 'PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')",
        name="status_known",
    ),
    CheckConstraint(
        "billing_status IN ('NOT_BILLABLE', 'HELD', 'UNHELD', 'CHARGE_DUE', 'CHARGED',"
        " 'RELEASE_DUE', 'RELEASED', 'DECLINED', 'CHARGE_BLOCKED')",
        name="billing_status_known",
    ),
    CheckConstraint("priority BETWEEN 0 AND 2", name="priority_known"),
    CheckConstraint("estimated_cost_cents >= 0", name="estimated_cost_not_negative"),
    # Architecture, invariant 5: the columns of a job agree with each other.
    CheckConstraint(
        "(completed_at IS NOT NULL) = (status IN ('SUCCEEDED', 'FAILED', 'CANCELLED'))",
        name="completed_when_final",
    ),
    CheckConstraint("(output_data IS NOT NULL) = (status = 'SUCCEEDED')", name="output_when_done"),
    CheckConstraint("(cost_cents IS NOT NULL) = (status = 'SUCCEEDED')", name="cost_when_done"),
    CheckConstraint(
        "started_at IS NOT NULL OR status NOT IN ('RUNNING', 'SUCCEEDED')",
        name="started_when_run",
    ),
    CheckConstraint(
        "(status = 'RUNNING') = (lease_id IS NOT NULL) AND (lease_id IS NULL) = (lease_expires_at IS NULL)",
        name="leased_when_running",
    ),
    CheckConstraint(
        "billing_status NOT IN ('CHARGE_DUE', 'CHARGED', 'DECLINED', 'CHARGE_BLOCKED')"
        " OR (status = 'SUCCEEDED' AND cost_cents > 0)",
        name="charged_when_done",
    ),
    CheckConstraint(
        "(billing_status = 'CHARGED') = (transaction_id IS NOT NULL)",
        name="transaction_when_charged",
    ),
    CheckConstraint("billing_status NOT IN ('HELD', 'RELEASE_DUE') OR hold_id IS NOT NULL", name="hold_when_held"),
    # In both directions: finished work that costs something is charged, or a charge is due.
    CheckConstraint(
        "CASE"
        " WHEN billing_status = 'NOT_BILLABLE' THEN estimated_cost_cents = 0 AND coalesce(cost_cents, 0) = 0"
        " WHEN billing_status IN ('HELD', 'UNHELD') THEN status IN ('SCHEDULED', 'PENDING', 'RUNNING')"
        " WHEN billing_status IN ('RELEASE_DUE', 'RELEASED') THEN status IN ('FAILED', 'CANCELLED')"
        " OR (status = 'SUCCEEDED' AND cost_cents = 0 AND unit_price_micro_cents IS NOT NULL)"
        " WHEN billing_status IN ('CHARGE_DUE', 'CHARGED', 'DECLINED', 'CHARGE_BLOCKED') THEN status = 'SUCCEEDED'"
        " ELSE true END",
        name="billing_fits_status",
    ),
    CheckConstraint(
        "CASE WHEN unit_price_micro_cents IS NULL THEN metering_unit IS NULL AND standard_cost_cents IS NULL"
        " ELSE unit_price_micro_cents > 0 AND metering_unit IS NOT NULL AND standard_cost_cents IS NOT NULL"
        " AND standard_cost_cents BETWEEN 0 AND estimated_cost_cents END",
        name="metering_whole",
    ),
    CheckConstraint("usage_units IS NULL OR (usage_units >= 0 AND status = 'SUCCEEDED')", name="usage_when_done"),
    # What rules/prices/metering.py says, so that no release that does not know metered jobs charges one its maximum.
    CheckConstraint(
        "CASE WHEN unit_price_micro_cents IS NULL THEN coalesce(cost_cents, 0) <= estimated_cost_cents"
        " WHEN cost_cents IS NULL THEN true"
        " WHEN usage_units IS NULL THEN cost_cents = standard_cost_cents"
        " ELSE cost_cents = least(estimated_cost_cents,"
        " div(usage_units::numeric * unit_price_micro_cents + 500000, 1000000)) END",
        name="cost_fits_usage",
    ),
    postgresql_with={
        # A renewal writes a new version of the row, but no index entry if the page has room: of 1,600 renewals of 400
        # jobs that was so for 83 % with this fill factor, and for 30 % with full pages.
        "fillfactor": 70,
        # Each job is written five times, each time with all values that are stored in line. From a row above 2 kB, long
        # values are moved out of line until no more than this is left: the size of a row without payloads, so that no
        # payload stays. With the default, a payload that compression brings below 2 kB would stay.
        "toast_tuple_target": 768,
        # Each job leaves four dead rows, also in the indexes of live jobs, which all searches for work read: vacuumed
        # after a fiftieth of the table instead of a fifth, which would be a million of five million rows.
        "autovacuum_vacuum_scale_factor": 0.02,
        "autovacuum_vacuum_threshold": 5000,
        # With the default, a vacuum of a big table with its ten indexes takes so long that more rows are dead after it.
        "autovacuum_vacuum_cost_limit": 1000,
        # The number of waiting jobs changes by orders of magnitude while the table grows by little.
        "autovacuum_analyze_scale_factor": 0.01,
        "autovacuum_analyze_threshold": 1000,
    },
)

# ListJobs in its default order, and the submissions of the last minute.
Index("ix_jobs_created_at", jobs.c.created_at, jobs.c.id)
# ListJobs of one customer, the most common list.
Index("ix_jobs_customer_id", jobs.c.customer_id, jobs.c.created_at, jobs.c.id)
# Jobs in Redis and at runners, for the reconciler, the rescuer and GetQueueStats. A live job is in this index or in the
# next, so neither history nor a long queue slows down these searches.
Index(
    "ix_jobs_active",
    jobs.c.status,
    jobs.c.queue,
    jobs.c.priority,
    jobs.c.queued_at,
    jobs.c.id,
    postgresql_where=text("status = 'RUNNING' OR (status = 'PENDING' AND dispatched_at IS NOT NULL)"),
)
# The dispatcher: withheld jobs, in each lane the oldest first. The job type comes first, so that the jobs of a paused
# type are skipped in one step, for all customers.
Index(
    "ix_jobs_lanes",
    jobs.c.queue,
    jobs.c.priority,
    jobs.c.job_type_id,
    jobs.c.customer_id,
    jobs.c.queued_at,
    jobs.c.id,
    postgresql_where=text("status = 'PENDING' AND dispatched_at IS NULL"),
)
# The dispatcher of the previous release. The next release drops it.
Index(
    "ix_jobs_withheld",
    jobs.c.queue,
    jobs.c.priority,
    jobs.c.customer_id,
    jobs.c.queued_at,
    jobs.c.id,
    postgresql_where=text("status = 'PENDING' AND dispatched_at IS NULL"),
)
# The scheduler: SCHEDULED jobs.
Index("ix_jobs_scheduled", jobs.c.run_at, postgresql_where=text("status = 'SCHEDULED'"))
# Their number, for GetQueueStats and the limits of customers, from the index alone. Scheduled jobs may be millions, and
# only a change of status touches it.
Index(
    "ix_jobs_scheduled_lists",
    jobs.c.queue,
    jobs.c.priority,
    jobs.c.customer_id,
    postgresql_where=text("status = 'SCHEDULED'"),
)
# The expiry of jobs that were never started.
Index(
    "ix_jobs_expiring",
    jobs.c.expires_at,
    postgresql_where=text("status IN ('SCHEDULED', 'PENDING') AND started_at IS NULL"),
)
# The settler. Null is due: rows of releases without a settler have no time.
Index(
    "ix_jobs_unsettled",
    jobs.c.next_try_at.asc().nulls_first(),
    postgresql_where=text("billing_status IN ('CHARGE_DUE', 'RELEASE_DUE', 'DECLINED')"),
)
# Charges that need an operator. There should be none.
Index("ix_jobs_blocked", jobs.c.id, postgresql_where=text("billing_status = 'CHARGE_BLOCKED'"))
# The dead letters. Jobs that succeed never enter it.
Index(
    "ix_jobs_dead",
    jobs.c.status,
    jobs.c.created_at,
    jobs.c.id,
    postgresql_where=text("status IN ('FAILED', 'CANCELLED')"),
)
# GetQueueStats: the completions of the last minute; and retention: the oldest.
Index("ix_jobs_completed_at", jobs.c.completed_at, postgresql_where=text("completed_at IS NOT NULL"))

# What handlers say during their runs (rules/transitions/progress.py). Apart from the jobs: a report must not write a
# new version of the wide row of a job, with entries in its indexes.
job_progress = Table(
    "job_progress",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # The last report that was stored. A repeated or late one changes nothing.
    Column("lease_id", Uuid, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("percent", Double, nullable=True),
    Column("message", Text, nullable=False, server_default=text("''")),
    # When `percent` and `message` were reported.
    time_column("reported_at", nullable=True),
    Column("checkpoint", JsonText, nullable=True),
    Column("checkpoint_bytes", Integer, nullable=False, server_default=text("0")),
    CheckConstraint("percent BETWEEN 0 AND 100", name="percent_in_range"),
    CheckConstraint("(percent IS NULL) = (reported_at IS NULL)", name="reported_with_percent"),
    # As for runners: a report writes a new version of the row into the same page. Checkpoints are stored out of line.
    postgresql_with={"fillfactor": 50},
)

# Queues that have been paused or resumed; all others are not paused.
queues = Table(
    "queues",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    Column("paused", Boolean, nullable=False),
    updated_at(),
)

# Types whose waiting jobs a runner refused because it lacks their handler, by queue: they are fed to the queue a few at
# a time until runners take them all (rules/backlogs.py). The row exists only until then.
unserved_types = Table(
    "unserved_types",
    metadata,
    Column("queue", Text(collation="C"), primary_key=True),
    Column("job_type_id", Uuid, ForeignKey("job_types.id", ondelete="CASCADE"), primary_key=True),
    time_column("refused_at", nullable=False, default_now=True),
    # When a runner was last seen that has the handler.
    time_column("served_at", nullable=True),
    # When jobs are fed next, and the wait before they were last fed.
    time_column("feed_at", nullable=False, default_now=True),
    Column("wait", Interval, nullable=False, server_default=text("'0'")),
    # How many jobs have been refused and granted since.
    Column("refused", Integer, nullable=False, server_default=text("0")),
    Column("granted", Integer, nullable=False, server_default=text("0")),
)

# How many jobs were rescued from a lost runner, for an hour: the leases of one runner do not all end at the same time,
# and a job that is found late must not seem to have been alone. The table is too small to need an index.
lost_runs = Table(
    "lost_runs",
    metadata,
    Column("runner_id", Uuid, nullable=False),
    Column("jobs", Integer, nullable=False),
    time_column("lost_at", nullable=False, default_now=True),
)

# Runners, as they describe themselves every ten seconds (rules/runners.py).
runners = Table(
    "runners",
    metadata,
    Column("id", Uuid, primary_key=True),
    # A number of RunnerState; a later release may have more.
    Column("announced_state", Integer, nullable=False),
    Column("host", Text(collation="C"), nullable=False),
    Column("process_id", BigInteger, nullable=False),
    Column("version", Text(collation="C"), nullable=False),
    Column("language", Text(collation="C"), nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    Column("handlers", ARRAY(Text), nullable=False),
    Column("slots", Integer, nullable=False),
    Column("busy", Integer, nullable=False),
    Column("processes", Integer, nullable=False),
    time_column("started_at", nullable=False, default_now=True),
    time_column("last_seen_at", nullable=False, default_now=True),
    # The first authenticated caller that described it. Announcements by other callers are ignored.
    Column("announced_by", Text(collation="C"), nullable=False, server_default=text("''")),
    # No column that changes is indexed, and pages are half empty: an announcement writes a new version of the row into
    # the same page, whose space the next ones use again without a vacuum.
    postgresql_with={"fillfactor": 50},
)

# The time until which all holds have been audited for jobs that were never stored. It has one row.
hold_audit = Table(
    "hold_audit",
    metadata,
    Column("id", Boolean, CheckConstraint("id", name="one_row"), primary_key=True, server_default=text("true")),
    time_column("done_until", nullable=False),
)

# Holds that no job needs and that the hold auditor could not release yet: it tries again.
unreleased_holds = Table(
    "unreleased_holds",
    metadata,
    Column("hold_id", Uuid, primary_key=True),
    Column("job_id", Uuid, nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    time_column("next_try_at", nullable=False),
)
Index("ix_unreleased_holds_next_try_at", unreleased_holds.c.next_try_at)

# The part of a charged job that is kept when the job is deleted, so that the books can always be compared.
receipts = Table(
    "receipts",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("currency", Text(collation="C"), nullable=False),
    Column("cost_cents", BigInteger, nullable=False),
    Column("transaction_id", Uuid, nullable=False),
    time_column("completed_at", nullable=False),
)
