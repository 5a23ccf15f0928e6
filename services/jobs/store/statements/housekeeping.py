"""The statements of the housekeeping: each finds a bounded number of jobs by an index of its own.

Rows that another replica is at are passed by (SKIP LOCKED), so all replicas may work at once and none waits. What is to
be changed is chosen once (MATERIALIZED): a subquery may be run again for each row, and would then take more than its
limit. It is changed by an array of its keys: the planner, which can't know how few are chosen, would read the whole
table to join it with them (of a million waiting jobs a feed of a thousand took 0.3 s).

A job with a value that this release does not know, because a later one wrote it, is left alone until that one is back:
no chore takes it (`_KNOWN`), and `LEFT_ALONE` finds those that it keeps waiting.
"""

# ruff: noqa: S608 - what is put in are constants of this module

from sqlalchemy import text

from services.jobs.rules.entities import BillingStatus, JobStatus
from services.jobs.rules.job_types import Priority


def _one_of(column: str, values: list[str]) -> str:
    return f"{column} IN ({', '.join(values)})"


_KNOWN = " AND ".join(
    (
        _one_of("status", [f"'{one.value}'" for one in JobStatus]),
        _one_of("billing_status", [f"'{one.value}'" for one in BillingStatus]),
        _one_of("priority", [str(one.value) for one in Priority]),
    )
)
_LOST = "status = 'RUNNING' AND lease_expires_at < now()"
_EXPIRED = "status IN ('SCHEDULED', 'PENDING') AND started_at IS NULL AND expires_at <= now()"
_DUE = "billing_status IN ('CHARGE_DUE', 'RELEASE_DUE', 'DECLINED') AND (next_try_at IS NULL OR next_try_at <= now())"

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

# Turns are taken by lanes: the jobs of one customer and job type. A walk steps from lane to lane along ix_jobs_lanes,
# whatever their number and however many jobs wait in each, and steps over all lanes of a type that is not to be fed at
# once. It ends with the lane that the next walk begins with. If it has seen all there are, each has as many turns as
# there is room for; else each has one, and the others follow in the next walks.
TAKE_WITHHELD = text(
    """
    WITH RECURSIVE lanes AS (
        (SELECT job_type_id, customer_id, CAST(job_type_id <> ALL(CAST(:excluded AS uuid[])) AS int) AS number
         FROM jobs
         WHERE status = 'PENDING' AND dispatched_at IS NULL AND queue = :queue AND priority = :priority
             AND (job_type_id, customer_id) >= (CAST(:first_type AS uuid), CAST(:first_customer AS uuid))
             AND job_type_id <= CAST(:last_type AS uuid)
         ORDER BY job_type_id, customer_id LIMIT 1)
        UNION ALL
        SELECT following.job_type_id, following.customer_id,
            lanes.number + CAST(following.job_type_id <> ALL(CAST(:excluded AS uuid[])) AS int)
        FROM lanes, LATERAL (
            SELECT job_type_id, customer_id FROM jobs
            WHERE status = 'PENDING' AND dispatched_at IS NULL AND queue = :queue AND priority = :priority
                AND (job_type_id, customer_id) > (
                    lanes.job_type_id,
                    CASE WHEN lanes.job_type_id = ANY(CAST(:excluded AS uuid[]))
                        THEN uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff' ELSE lanes.customer_id END)
                AND job_type_id <= CAST(:last_type AS uuid)
            ORDER BY job_type_id, customer_id LIMIT 1) AS following
        WHERE lanes.number <= CAST(:limit AS int)
    ), live AS MATERIALIZED (
        SELECT job_type_id, customer_id, number FROM lanes WHERE job_type_id <> ALL(CAST(:excluded AS uuid[]))
    ), following AS (
        SELECT job_type_id, customer_id FROM live WHERE number > CAST(:limit AS int)
    ), share AS MATERIALIZED (
        SELECT CASE WHEN CAST(:whole AS bool) AND NOT EXISTS (SELECT 1 FROM following)
            THEN greatest(CAST(:limit AS int) / greatest(count(*), 1), 1) ELSE 1 END AS turns
        FROM live
    ), chosen AS MATERIALIZED (
        SELECT mine.id, row_number() OVER (PARTITION BY live.number ORDER BY mine.queued_at, mine.id) AS turn
        FROM live, LATERAL (
            SELECT id, queued_at FROM jobs
            WHERE status = 'PENDING' AND dispatched_at IS NULL AND queue = :queue AND priority = :priority
                -- Not "=": ordered like this by no other index, all jobs of a customer are not read for one type.
                AND (job_type_id, customer_id) >= (live.job_type_id, live.customer_id)
                AND (job_type_id, customer_id) <= (live.job_type_id, live.customer_id)
            ORDER BY job_type_id, customer_id, queued_at, id
            LIMIT (SELECT turns FROM share) FOR UPDATE SKIP LOCKED) AS mine
        WHERE live.number <= CAST(:limit AS int)
    ), taken AS (
        UPDATE jobs SET dispatched_at = now() WHERE id = ANY(ARRAY(SELECT id FROM chosen))
        RETURNING id, queue, priority, queued_at
    )
    SELECT taken.id, taken.queue, taken.priority, taken.queued_at, seen.lanes,
        following.job_type_id AS following_type, following.customer_id AS following_customer
    FROM (SELECT count(*) FILTER (WHERE number <= CAST(:limit AS int)) AS lanes FROM live) AS seen
        LEFT JOIN following ON true LEFT JOIN taken ON true LEFT JOIN chosen ON chosen.id = taken.id
    ORDER BY chosen.turn, taken.queued_at
    """
)

HANDED_OVER = text(
    f"""
    SELECT id FROM jobs
    WHERE status = 'PENDING' AND queue = :queue AND priority = :priority AND dispatched_at < now() - :before
        AND {_KNOWN}
    ORDER BY queued_at, id
    LIMIT :limit
    """
)
STILL_HANDED_OVER = text(
    f"SELECT id FROM jobs WHERE id = ANY(:ids) AND status = 'PENDING' AND dispatched_at IS NOT NULL AND {_KNOWN}"
)

RELEASE_SCHEDULED = text(
    f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs WHERE status = 'SCHEDULED' AND run_at <= now() AND {_KNOWN}
        ORDER BY run_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    -- It has waited since its time came: with the time of now, jobs that are released together would lose their order.
    UPDATE jobs SET status = 'PENDING',
        -- One whose runner was lost has its place in the queue.
        queued_at = CASE WHEN rescue_count > 0 THEN queued_at ELSE run_at END,
        dispatched_at = NULL, version = version + 1
    WHERE id = ANY(ARRAY(SELECT id FROM due))
    RETURNING id
    """
)
NEXT_SCHEDULED = text(f"SELECT min(run_at) - now() FROM jobs WHERE status = 'SCHEDULED' AND {_KNOWN}")


# The jobs that run are few: what runners have in their hands.
LOST = text(
    f"""
    SELECT id FROM jobs WHERE {_LOST} AND {_KNOWN} AND id <> ALL(:without)
    ORDER BY lease_expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
EXPIRED = text(
    f"""
    SELECT id FROM jobs WHERE {_EXPIRED} AND {_KNOWN} AND id <> ALL(:without)
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
# What chores would be at if this release knew all values. Each part is a bounded look at an index of its own.
LEFT_ALONE = text(
    " UNION ".join(
        f"(SELECT id, status, billing_status, priority FROM jobs WHERE {due} AND NOT ({_KNOWN}) LIMIT :limit)"
        for due in (_LOST, _EXPIRED, _DUE)
    )
)

TAKE_UNSETTLED = text(
    f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs WHERE {_DUE} AND {_KNOWN}
        ORDER BY next_try_at NULLS FIRST LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET settle_attempts = settle_attempts + 1,
        next_try_at = now() + least(:settle_after * power(2, least(settle_attempts, 30)), :longest)
    WHERE id = ANY(ARRAY(SELECT id FROM due))
    RETURNING id, billing_status, customer_id, currency, cost_cents, hold_id
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

FINISHED = text(
    f"""
    SELECT id FROM jobs
    WHERE completed_at < now() - :age AND billing_status IN ('NOT_BILLABLE', 'CHARGED', 'RELEASED') AND {_KNOWN}
        AND id <> ALL(:without)
    ORDER BY completed_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
DELETE_FINISHED = text(
    """
    WITH deleted AS (
        DELETE FROM jobs WHERE id = ANY(:ids) RETURNING jobs.*
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

KEEP_UNRELEASED = text(
    """
    INSERT INTO unreleased_holds (hold_id, job_id, next_try_at)
    SELECT hold_id, job_id, now() + :wait FROM unnest(CAST(:hold_ids AS uuid[]), CAST(:job_ids AS uuid[]))
        AS left_over (hold_id, job_id)
    ON CONFLICT (hold_id) DO NOTHING
    """
)
TAKE_UNRELEASED = text(
    """
    WITH due AS MATERIALIZED (
        SELECT hold_id FROM unreleased_holds WHERE next_try_at <= now()
        ORDER BY next_try_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE unreleased_holds SET tries = tries + 1,
        next_try_at = now() + least(:wait * power(2, least(tries, 30)), :longest)
    WHERE hold_id = ANY(ARRAY(SELECT hold_id FROM due))
    RETURNING hold_id, job_id
    """
)
FORGET_UNRELEASED = text("DELETE FROM unreleased_holds WHERE hold_id = ANY(:hold_ids)")
COUNT_UNRELEASED = text("SELECT count(*) FROM unreleased_holds")
LOSE_RUNS = text(
    """
    WITH old AS MATERIALIZED (
        SELECT ctid FROM lost_runs WHERE lost_at < now() - interval '1 hour' LIMIT 1000 FOR UPDATE SKIP LOCKED
    ), forgotten AS (
        DELETE FROM lost_runs WHERE ctid IN (SELECT ctid FROM old)
    )
    INSERT INTO lost_runs (runner_id, jobs)
    SELECT * FROM unnest(CAST(:runner_ids AS uuid[]), CAST(:jobs AS int[]))
    """
)

SET_QUEUE = text(
    """
    INSERT INTO queues (name, paused) VALUES (:name, :paused)
    ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, updated_at = now()
    -- A repeated call says nothing new, also not that something has changed now.
    WHERE queues.paused <> excluded.paused
    """
)
PAUSED_QUEUES = text("SELECT name FROM queues WHERE paused")
PAUSED_TYPES = text("SELECT id FROM job_types WHERE paused")
UNSERVED = text("SELECT queue, job_type_id FROM unserved_types")

# Until the transaction ends: no lock outlives it, whatever becomes of its process or of a pooler in between.
TRY_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('reconciler:' || :name, 0))")
