"""The statements of the hold auditor's progress."""

from sqlalchemy import text

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
