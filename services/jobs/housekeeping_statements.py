"""The statements of the housekeeping: each finds a bounded number of jobs by an index of its own.

Rows that another replica is at are passed by (SKIP LOCKED), so all replicas may work at once and none waits. What is to
be changed is chosen once (MATERIALIZED): a subquery may be run again for each row, and would then take more than its
limit.
"""

from sqlalchemy import text

# Walks from list to list along the index, however many jobs wait in each.
HANDED_OVER_LISTS = text(
    """
    WITH RECURSIVE lists AS (
        (SELECT queue, priority FROM jobs WHERE status = 'PENDING' AND dispatched_at IS NOT NULL
         ORDER BY queue, priority LIMIT 1)
        UNION ALL
        SELECT following.queue, following.priority FROM lists, LATERAL (
            SELECT queue, priority FROM jobs
            WHERE status = 'PENDING' AND dispatched_at IS NOT NULL
                AND (queue, priority) > (lists.queue, lists.priority)
            ORDER BY queue, priority LIMIT 1) AS following
    )
    SELECT queue, priority FROM lists
    """
)
WITHHELD_LISTS = text(
    """
    WITH RECURSIVE lists AS (
        (SELECT queue, priority FROM jobs WHERE status = 'PENDING' AND dispatched_at IS NULL
         ORDER BY queue, priority LIMIT 1)
        UNION ALL
        SELECT following.queue, following.priority FROM lists, LATERAL (
            SELECT queue, priority FROM jobs
            WHERE status = 'PENDING' AND dispatched_at IS NULL AND (queue, priority) > (lists.queue, lists.priority)
            ORDER BY queue, priority LIMIT 1) AS following
    )
    SELECT queue, priority FROM lists WHERE queue NOT IN (SELECT name FROM queues WHERE paused)
    """
)

# The customers take turns: the first job of each, then the second of each. A customer with many jobs waiting has no
# more turns than one with few, and only as many of its rows are read as it can have turns.
TAKE_WITHHELD = text(
    """
    WITH RECURSIVE customers AS (
        (SELECT customer_id FROM jobs
         WHERE status = 'PENDING' AND dispatched_at IS NULL AND queue = :queue AND priority = :priority
         ORDER BY customer_id LIMIT 1)
        UNION ALL
        SELECT following.customer_id FROM customers, LATERAL (
            SELECT customer_id FROM jobs
            WHERE status = 'PENDING' AND dispatched_at IS NULL AND queue = :queue AND priority = :priority
                AND customer_id > customers.customer_id
            ORDER BY customer_id LIMIT 1) AS following
    ), turns AS (
        SELECT mine.id, mine.queued_at,
            row_number() OVER (PARTITION BY customers.customer_id ORDER BY mine.queued_at, mine.id) AS turn
        FROM customers, LATERAL (
            SELECT id, queued_at FROM jobs
            WHERE status = 'PENDING' AND dispatched_at IS NULL AND queue = :queue AND priority = :priority
                AND customer_id = customers.customer_id
                AND job_type_id NOT IN (SELECT id FROM job_types WHERE paused)
            ORDER BY queued_at, id
            -- Some more than its share, because others may have nothing but paused jobs.
            LIMIT (SELECT greatest(ceil(CAST(:limit AS numeric) / count(*))::int,
                                   CASE WHEN EXISTS (SELECT 1 FROM job_types WHERE paused) THEN 10 ELSE 1 END)
                   FROM customers)) AS mine
    ), chosen AS MATERIALIZED (
        SELECT mine.id, turns.turn
        FROM (SELECT id, turn FROM turns ORDER BY turn, queued_at) AS turns, LATERAL (
            SELECT id FROM jobs
            -- One row by its key. Not "IS NULL", with which it could be looked for in ix_jobs_withheld: where the table
            -- was analysed while few were withheld, all that are withheld now would be read for each turn.
            WHERE id = turns.id AND status = 'PENDING' AND num_nonnulls(dispatched_at) = 0
            FOR UPDATE SKIP LOCKED) AS mine
        LIMIT :limit
    ), taken AS (
        UPDATE jobs SET dispatched_at = now() FROM chosen WHERE jobs.id = chosen.id
        RETURNING jobs.id, jobs.queue, jobs.priority, jobs.queued_at, chosen.turn
    )
    SELECT id, queue, priority, queued_at FROM taken ORDER BY turn, queued_at
    """
)

HANDED_OVER = text(
    """
    SELECT id FROM jobs
    WHERE status = 'PENDING' AND queue = :queue AND priority = :priority AND dispatched_at < now() - :before
    ORDER BY queued_at, id
    LIMIT :limit
    """
)
STILL_HANDED_OVER = text(
    "SELECT id FROM jobs WHERE id = ANY(:ids) AND status = 'PENDING' AND dispatched_at IS NOT NULL"
)

RELEASE_SCHEDULED = text(
    """
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs WHERE status = 'SCHEDULED' AND run_at <= now()
        ORDER BY run_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET status = 'PENDING', queued_at = now(), dispatched_at = NULL, version = version + 1
    FROM due WHERE jobs.id = due.id
    RETURNING jobs.id
    """
)
NEXT_SCHEDULED = text("SELECT min(run_at) - now() FROM jobs WHERE status = 'SCHEDULED'")


# The jobs that run are few: what runners have in their hands.
LOST = text(
    """
    SELECT id FROM jobs WHERE status = 'RUNNING' AND lease_expires_at < now()
    ORDER BY lease_expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
EXPIRED = text(
    """
    SELECT id FROM jobs WHERE status IN ('SCHEDULED', 'PENDING') AND started_at IS NULL AND expires_at <= now()
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)

TAKE_UNSETTLED = text(
    """
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE billing_status IN ('CHARGE_DUE', 'RELEASE_DUE', 'DECLINED')
            AND (next_try_at IS NULL OR next_try_at <= now())
        ORDER BY next_try_at NULLS FIRST LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET settle_attempts = settle_attempts + 1,
        next_try_at = now() + least(:settle_after * power(2, least(settle_attempts, 30)), :longest)
    FROM due WHERE jobs.id = due.id
    RETURNING jobs.id, billing_status, customer_id, currency, cost_cents, hold_id
    """
)

COUNT_UNSETTLED = text(
    """
    SELECT billing_status, count(*), count(*) FILTER (WHERE next_try_at < now() - interval '1 minute')
    FROM jobs WHERE billing_status IN ('CHARGE_DUE', 'RELEASE_DUE', 'DECLINED')
    GROUP BY billing_status
    UNION ALL
    SELECT billing_status, count(*), 0 FROM jobs WHERE billing_status = 'CHARGE_BLOCKED' GROUP BY billing_status
    """
)

DELETE_FINISHED = text(
    """
    WITH finished AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE completed_at < now() - :age AND billing_status IN ('NOT_BILLABLE', 'CHARGED', 'RELEASED')
        ORDER BY completed_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM jobs USING finished WHERE jobs.id = finished.id RETURNING jobs.*
    ), kept AS (
        INSERT INTO receipts (job_id, customer_id, currency, cost_cents, transaction_id, completed_at)
        SELECT id, customer_id, currency, cost_cents, transaction_id, completed_at FROM deleted
        WHERE billing_status = 'CHARGED'
        -- The job of a receipt was submitted again under its ID: it was charged once, under the same key.
        ON CONFLICT (job_id) DO NOTHING
    )
    SELECT count(*) FROM deleted
    """
)

AUDIT_WINDOW = text(
    """
    SELECT coalesce((SELECT done_until FROM hold_audit), timestamptz '2000-01-01Z') AS since, now() - :age AS until
    """
)
# Another replica may be ahead.
MOVE_AUDIT = text(
    """
    INSERT INTO hold_audit (done_until) VALUES (:until)
    ON CONFLICT (id) DO UPDATE SET done_until = greatest(hold_audit.done_until, excluded.done_until)
    """
)

SET_QUEUE = text(
    """
    INSERT INTO queues (name, paused) VALUES (:name, :paused)
    ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, updated_at = now()
    """
)
PAUSED_QUEUES = text("SELECT name FROM queues WHERE paused")
PAUSED_TYPES = text("SELECT id FROM job_types WHERE paused")

TRY_TURN = text("SELECT pg_try_advisory_lock(hashtextextended('reconciler:' || :name, 0))")
END_TURN = text("SELECT pg_advisory_unlock(hashtextextended('reconciler:' || :name, 0))")
