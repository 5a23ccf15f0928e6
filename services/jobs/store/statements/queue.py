"""The statements of the queue: which jobs are dispatched to which list, and when."""

# ruff: noqa: S608 - only constants of this package are inserted

from sqlalchemy import text

from services.jobs.store.statements.housekeeping import KNOWN

# Walk from list to list along the index, however many jobs wait in each.
DISPATCHED_LISTS = text(
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

# Lanes take turns; a lane has the jobs of one customer and job type. A walk goes from lane to lane along ix_jobs_lanes,
# whatever their number and however many jobs wait in each, and skips all lanes of an excluded type in one step. It ends
# with the lane that the next walk begins with. If it has seen all lanes, each has as many turns as there is room for;
# otherwise each has one, and the other lanes follow in the next walks.
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
                -- Not "=": no other index has this order, so the jobs of a customer are not all read for one type.
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

DISPATCHED = text(
    f"""
    SELECT id FROM jobs
    WHERE status = 'PENDING' AND queue = :queue AND priority = :priority AND dispatched_at < now() - :before
        AND {KNOWN}
    ORDER BY queued_at, id
    LIMIT :limit
    """
)
STILL_DISPATCHED = text(
    f"SELECT id FROM jobs WHERE id = ANY(:ids) AND status = 'PENDING' AND dispatched_at IS NOT NULL AND {KNOWN}"
)

RELEASE_SCHEDULED = text(
    f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs WHERE status = 'SCHEDULED' AND run_at <= now() AND {KNOWN}
        ORDER BY run_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    -- The job has waited since it was due: with the present time, jobs released together would lose their order.
    UPDATE jobs SET status = 'PENDING',
        -- A job whose runner was lost keeps its place in the queue.
        queued_at = CASE WHEN rescue_count > 0 THEN queued_at ELSE run_at END,
        dispatched_at = NULL, version = version + 1
    WHERE id = ANY(ARRAY(SELECT id FROM due))
    RETURNING id
    """
)
NEXT_SCHEDULED = text(f"SELECT min(run_at) - now() FROM jobs WHERE status = 'SCHEDULED' AND {KNOWN}")


# Until the transaction ends: no lock outlives it, whatever happens to its process or to a pooler in between.
TRY_TURN = text("SELECT pg_try_advisory_xact_lock(hashtextextended('reconciler:' || :name, 0))")
