"""The statements that count waiting, scheduled and running jobs."""

from sqlalchemy import text

STATS_WINDOW_SECONDS = 60

# Each part reads an index of its own, and never history.
STATS = text(
    """
    SELECT queue, priority, sum(waiting)::bigint AS waiting, sum(withheld)::bigint AS withheld,
           sum(running)::bigint AS running, sum(scheduled)::bigint AS scheduled, now() - min(oldest) AS oldest_age,
           sum(submitted)::bigint AS submitted, sum(completed)::bigint AS completed,
           queue IN (SELECT name FROM queues WHERE paused) AS paused
    FROM (
        SELECT queue, priority, count(*) FILTER (WHERE status = 'PENDING') AS waiting, 0 AS withheld,
               count(*) FILTER (WHERE status = 'RUNNING') AS running, 0 AS scheduled,
               min(queued_at) FILTER (WHERE status = 'PENDING') AS oldest, 0 AS submitted, 0 AS completed
        FROM jobs WHERE status = 'RUNNING' OR (status = 'PENDING' AND dispatched_at IS NOT NULL)
        GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, count(*), count(*), 0, 0, min(queued_at), 0, 0
        FROM jobs WHERE status = 'PENDING' AND dispatched_at IS NULL GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, 0, 0, 0, count(*), NULL, 0, 0
        FROM jobs WHERE status = 'SCHEDULED' GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, 0, 0, 0, 0, NULL, count(*), 0
        FROM jobs WHERE created_at > now() - make_interval(secs => :window) GROUP BY queue, priority
        UNION ALL
        SELECT queue, priority, 0, 0, 0, 0, NULL, 0, count(*)
        FROM jobs WHERE completed_at > now() - make_interval(secs => :window) GROUP BY queue, priority
        UNION ALL
        SELECT name, priority, 0, 0, 0, 0, NULL, 0, 0
        FROM queues, generate_series(0, 2) AS priority WHERE paused
    ) AS parts
    WHERE cardinality(CAST(:queues AS text[])) = 0 OR queue = ANY(CAST(:queues AS text[]))
    GROUP BY queue, priority
    """
)

# By the same indexes, of which only that of jobs in Redis and at runners lacks the customer.
COUNT_UNFINISHED = text(
    """
    SELECT customer_id, sum(jobs)::bigint AS jobs
    FROM (
        SELECT customer_id, count(*) AS jobs FROM jobs
        WHERE status = 'RUNNING' OR (status = 'PENDING' AND dispatched_at IS NOT NULL) GROUP BY customer_id
        UNION ALL
        SELECT customer_id, count(*) FROM jobs WHERE status = 'PENDING' AND dispatched_at IS NULL GROUP BY customer_id
        UNION ALL
        SELECT customer_id, count(*) FROM jobs WHERE status = 'SCHEDULED' GROUP BY customer_id
    ) AS parts
    GROUP BY customer_id ORDER BY jobs DESC LIMIT :limit
    """
)
