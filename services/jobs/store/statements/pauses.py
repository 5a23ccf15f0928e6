"""The statements of pauses."""

from sqlalchemy import text

SET_QUEUE = text(
    """
    INSERT INTO queues (name, paused) VALUES (:name, :paused)
    ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, updated_at = now()
    -- A repeated call changes nothing, not even the time of the last change.
    WHERE queues.paused <> excluded.paused
    """
)
PAUSED_QUEUES = text("SELECT name FROM queues WHERE paused")
PAUSED_TYPES = text("SELECT id FROM job_types WHERE paused")
UNSERVED = text("SELECT queue, job_type_id FROM unserved_types")
